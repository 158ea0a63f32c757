create function private.fuse_legs(
  vector_leg private.search_leg,
  text_leg private.search_leg,
  identifier_leg private.search_leg,
  fusion text,
  vector_weight float8,
  possible float8,
  item_limit int
)
returns table (
  item_id uuid,
  score float8,
  vector_rank int,
  vector_score float8,
  vector_part float8,
  text_rank int,
  text_score float8,
  text_part float8,
  identifier_score float8,
  identifier_part float8
)
language plpgsql
immutable
rows 10
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  -- Of reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009).
  rrf_k constant float8 := 60;
  best_text constant float8 := text_leg.scores[1];
begin
  -- Plain reciprocal ranks are nearly flat over sixty places, so a weak leg's first places outvote the good leg's. Here a vote
  -- counts with the square of its strength: of the cosine, and of the share of all that the query asks that a text holds. 0.05
  -- makes cosine 1 as strong as a share of 0.22; from 0.04 to 0.07 nothing changes on the collections of `npm run eval`.
  return query
  select
    parts.item_id,
    parts.vector_part + parts.text_part + parts.identifier_part,
    parts.vector_rank, parts.vector_score, parts.vector_part,
    parts.text_rank, parts.text_score, parts.text_part,
    parts.identifier_score, parts.identifier_part
  from (
    select
      merged.*,
      coalesce(
        case fuse_legs.fusion
          when 'rrf' then vector_weight * 0.05 * greatest(merged.vector_score, 0) ^ 2 / (rrf_k + merged.vector_rank - 1)
          when 'weighted' then vector_weight * 0.034 * greatest(merged.vector_score, 0) ^ 3
          else merged.vector_score
        end,
        0
      ) as vector_part,
      coalesce(
        case fuse_legs.fusion
          when 'rrf' then (1 - vector_weight) * (merged.text_score / possible) ^ 2 / (rrf_k + merged.text_rank - 1)
          when 'weighted' then (1 - vector_weight) * (merged.text_score / possible) ^ 2 * (merged.text_score / best_text) ^ 2
          else merged.text_score / best_text
        end,
        0
      ) as text_part,
      coalesce(merged.identifier_score * case fuse_legs.fusion when 'rrf' then 1 / rrf_k else 1 end, 0) as identifier_part
    from (
      select
        legs.item_id,
        max(legs.position) filter (where legs.leg = 1)::int as vector_rank,
        max(legs.score) filter (where legs.leg = 1) as vector_score,
        max(legs.position) filter (where legs.leg = 2)::int as text_rank,
        max(legs.score) filter (where legs.leg = 2) as text_score,
        max(legs.score) filter (where legs.leg = 3) as identifier_score
      from (
        select 1 as leg, found.item_id, found.score, found.position
        from unnest(vector_leg.item_ids, vector_leg.scores) with ordinality as found (item_id, score, position)
        union all
        select 2, found.item_id, found.score, found.position
        from unnest(text_leg.item_ids, text_leg.scores) with ordinality as found (item_id, score, position)
        union all
        select 3, found.item_id, found.score, found.position
        from unnest(identifier_leg.item_ids, identifier_leg.scores) with ordinality as found (item_id, score, position)
      ) as legs
      group by legs.item_id
    ) as merged
  ) as parts
  order by 2 desc, parts.vector_rank, parts.item_id
  limit item_limit;
end;
$$;

comment on function private.fuse_legs(private.search_leg, private.search_leg, private.search_leg, text, float8, float8, int) is
  'One ranking of the three legs, best first. rrf: reciprocal ranks, each vote with its strength; weighted: cosine and BM25; none: scores as they are, for one leg alone. possible: the BM25 of a text that held all the query asks for, without end. An exact identifier outweighs everything else.';

create function private.explain_hit(
  item_id uuid,
  text text,
  terms text[],
  identifiers text[],
  out matched_terms text[],
  out matched_identifiers text[]
)
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
as $$
declare
  spellings constant text[] := identifiers || array(select private.shortened(listed.code) from unnest(identifiers) as listed (code));
begin
  matched_terms := array(
    select term.term
    from private.search_lexemes as words
    cross join unnest(terms) as term (term)
    where words.item_id = explain_hit.item_id and words.lexemes operator(pg_catalog.@@) private.term_query(term.term)
  );
  matched_identifiers := array(
    select spelled.code
    from unnest(private.identifiers_of(explain_hit.text)) as spelled (code)
    where spelled.code = any (spellings)
      or exists (select from private.shortened(spelled.code) as variant (code) where variant.code = any (spellings))
  );
end;
$$;

comment on function private.explain_hit(uuid, text, text[], text[]) is 'Which words and identifiers of a query an item holds. The words must be what search_terms() asks for.';

revoke execute on function private.fuse_legs(private.search_leg, private.search_leg, private.search_leg, text, float8, float8, int) from public;
revoke execute on function private.explain_hit(uuid, text, text[], text[]) from public;
grant execute on function private.fuse_legs(private.search_leg, private.search_leg, private.search_leg, text, float8, float8, int) to authenticated;
grant execute on function private.explain_hit(uuid, text, text[], text[]) to authenticated;

