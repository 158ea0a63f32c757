create function private.fuse_legs(
  vector_leg private.search_leg,
  text_leg private.search_leg,
  identifier_leg private.search_leg,
  fusion text,
  vector_weight float8,
  words_asked float8,
  identifiers_asked int,
  segment_items bigint,
  k1 float8,
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
  best_text constant float8 := text_leg.scores[1];
  -- An identifier tells twice what the rarest word does.
  identifier_idf constant float8 := 2 * ln(1 + (segment_items + 0.5) / 0.5);
  asked constant float8 := coalesce(words_asked, 0) + identifiers_asked * identifier_idf;
  possible constant float8 := (k1 + 1) * asked;
  -- A vote is factor * score ^ power / (base + slope * (rank - 1)). Plain reciprocal ranks (power 0, base 60, slope 1: Cormack,
  -- Clarke and Buettcher, SIGIR 2009) are nearly flat over sixty places, so a weak leg's first places outvote the good leg's.
  -- Here votes carry strength: of a text, its share of all that the query asks (to 1.5) and its BM25 over the best; of a vector,
  -- its cosine (to 4); of an identifier, its share of the query. Constants fitted with `npm run eval`; 0.3 to 0.5 for 0.4 hold.
  base float8 := 1;
  slope float8 := 0;
  vector_factor float8 := 1;
  vector_power float8 := 1;
  text_factor float8 := 1 / best_text;
  text_power float8 := 1;
  exact_vote float8 := 1;
  near_vote float8 := 0.5;
  least_cosine float8 := 0;
begin
  if fuse_legs.fusion = 'rrf' then
    base := 60;
    slope := 1;
    vector_factor := vector_weight * 0.4;
    vector_power := 4;
    text_factor := (1 - vector_weight) / (possible ^ 1.5 * best_text);
    text_power := 2.5;
  elsif fuse_legs.fusion = 'weighted' then
    vector_factor := vector_weight * 0.13;
    vector_power := 4;
    text_factor := (1 - vector_weight) / (possible ^ 1.5 * best_text ^ 2);
    text_power := 3.5;
  else
    least_cosine := -1;
  end if;
  if fuse_legs.fusion <> 'none' and identifiers_asked > 0 then
    exact_vote := (1 - vector_weight) * (identifier_idf / asked) ^ 2;
    -- A near spelling decides where the identifier is most of the query, and only hints in a sentence.
    near_vote := (1 - vector_weight) * (identifier_idf / asked) ^ 4;
  end if;
  return query
  select
    votes.item_id,
    sum(votes.part),
    max(votes.vector_rank), max(votes.vector_score), coalesce(max(votes.vector_part), 0),
    max(votes.text_rank), max(votes.text_score), coalesce(max(votes.text_part), 0),
    max(votes.identifier_score), coalesce(max(votes.identifier_part), 0)
  from (
    select
      near.item_id, vote.part,
      near.rank::int as vector_rank, near.score as vector_score, vote.part as vector_part,
      null::int as text_rank, null::float8 as text_score, null::float8 as text_part,
      null::float8 as identifier_score, null::float8 as identifier_part
    from unnest(vector_leg.item_ids, vector_leg.scores) with ordinality as near (item_id, score, rank)
    cross join lateral (
      select vector_factor * greatest(near.score, least_cosine) ^ vector_power / (base + slope * (near.rank - 1)) as part
    ) as vote
    union all
    select matched.item_id, vote.part, null, null, null, matched.rank::int, matched.score, vote.part, null, null
    from unnest(text_leg.item_ids, text_leg.scores) with ordinality as matched (item_id, score, rank)
    cross join lateral (
      select text_factor * matched.score ^ text_power / (base + slope * (matched.rank - 1)) as part
    ) as vote
    union all
    select identified.item_id, vote.part, null, null, null, null, null, null, identified.score, vote.part
    from unnest(identifier_leg.item_ids, identifier_leg.scores) as identified (item_id, score)
    cross join lateral (select case when identified.score = 1 then exact_vote else near_vote end / base as part) as vote
  ) as votes
  group by votes.item_id
  order by 2 desc, 3, votes.item_id
  limit item_limit;
end;
$$;

comment on function private.fuse_legs(private.search_leg, private.search_leg, private.search_leg, text, float8, float8, int, bigint, float8, int) is
  'One ranking of the three legs, best first. rrf: reciprocal ranks, each vote with its strength; weighted: strengths alone; none: scores as they are, for one leg. words_asked: the idf of all words of the query; segment_items: how many items were searched.';

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

revoke execute on function private.fuse_legs(private.search_leg, private.search_leg, private.search_leg, text, float8, float8, int, bigint, float8, int) from public;
revoke execute on function private.explain_hit(uuid, text, text[], text[]) from public;
grant execute on function private.fuse_legs(private.search_leg, private.search_leg, private.search_leg, text, float8, float8, int, bigint, float8, int) to authenticated;
grant execute on function private.explain_hit(uuid, text, text[], text[]) to authenticated;

