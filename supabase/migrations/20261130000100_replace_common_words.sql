-- As before, but where all words of a question are very common, BM25 ranks what the vectors found.
create function private.rank_near_items(
  item_ids uuid[],
  required tsquery,
  excluded tsquery,
  queries tsquery[],
  idf float8[],
  k1 float8,
  b float8,
  average_length float8,
  leg_limit int
)
returns private.search_leg
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = off -- by the ids: the keys of the policy are those of common words
set plan_cache_mode = force_generic_plan
as $$
declare
  ones constant float4[] := '{1,1,1,1}';
  leg private.search_leg;
begin
  select array_agg(best.item_id), array_agg(best.score)
  into leg
  from (
    select matched.item_id, (k1 + 1) * summed.score as score
    from private.search_lexemes as matched
    cross join lateral (
      select sum(counted.idf * counted.frequency / (counted.frequency + k1 * (1 - b + b * matched.term_count / average_length))) as score
      from (
        -- As in private.rank_by_6_words().
        select asked.idf, round(0.6079271 / (1 - ts_rank(ones, matched.lexemes, asked.query)::float8) - 0.5) as frequency
        from unnest(queries, rank_near_items.idf) as asked (query, idf)
        offset 0
      ) as counted
    ) as summed
    where matched.item_id = any (rank_near_items.item_ids)
      and (required is null or matched.lexemes operator(pg_catalog.@@) required)
      and (excluded is null or not matched.lexemes operator(pg_catalog.@@) excluded)
    order by score desc, matched.item_id
    limit leg_limit
  ) as best
  where best.score > 0;
  return leg;
end;
$$;

comment on function private.rank_near_items(uuid[], tsquery, tsquery, tsquery[], float8[], float8, float8, float8, int) is
  'BM25 of these items, of which search_terms() asks for some: those alone are ranked.';

revoke execute on function private.rank_near_items(uuid[], tsquery, tsquery, tsquery[], float8[], float8, float8, float8, int) from public;
grant execute on function private.rank_near_items(uuid[], tsquery, tsquery, tsquery[], float8[], float8, float8, float8, int) to authenticated;

drop function private.matching_items(private.query_terms, text[], int[], bigint, bigint, uuid[], tsquery, tsquery, float8, float8, int, int);

create function private.matching_items(
  weighed private.query_terms,
  anchor text[],
  segments int[],
  segment_items bigint,
  segment_terms bigint,
  sources uuid[],
  required tsquery,
  excluded tsquery,
  near_items uuid[],
  k1 float8,
  b float8,
  candidate_limit int,
  leg_limit int
)
returns private.search_leg
language plpgsql
stable
set search_path = ''
as $$
declare
  average_length constant float8 := greatest(segment_terms::float8 / greatest(segment_items, 1), 1);
  candidate_keys text := coalesce(weighed.rare_keys, weighed.first_keys);
  and_keys text;
begin
  -- Only common words: the two rarest together. With a phrase, every hit holds all its words: the rarest finds them.
  if weighed.rare_keys is null then
    and_keys := weighed.second_keys;
  end if;
  -- Even the rarest stands in very many more items than are ranked. To find them all is most of the work of such a search, and
  -- which of them are ranked is chance: what the vectors found is a better choice.
  if weighed.rare_keys is null
    and anchor is null
    and sources is null
    and near_items is not null
    and segment_items / exp(weighed.idf[1]) > 25 * candidate_limit then
    perform
      set_config('bulkhead.search_terms_1', candidate_keys, true),
      set_config('bulkhead.search_terms_2', coalesce(and_keys, candidate_keys), true);
    return private.rank_near_items(near_items, required, excluded, weighed.queries, weighed.idf, k1, b, average_length, leg_limit);
  end if;
  if anchor is not null then
    candidate_keys := private.search_keys(
      segments, '',
      coalesce(
        (select array[words.term] from unnest(weighed.terms) with ordinality as words (term, position) where words.term = any (anchor) order by words.position limit 1),
        anchor[1:1]
      )
    )::text;
    and_keys := null;
  end if;
  if sources is not null then
    and_keys := private.search_keys(segments, '@', sources::text[])::text;
  end if;
  perform
    set_config('bulkhead.search_terms_1', coalesce(candidate_keys, ''), true),
    set_config('bulkhead.search_terms_2', coalesce(and_keys, candidate_keys, ''), true);
  if cardinality(weighed.terms) <= 6 then
    return private.rank_by_6_words(
      sources, required, excluded, weighed.queries, weighed.idf, k1, b, average_length, candidate_limit, leg_limit
    );
  end if;
  return private.rank_by_16_words(
    sources, required, excluded, weighed.queries, weighed.idf, k1, b, average_length, candidate_limit, leg_limit
  );
end;
$$;

comment on function private.matching_items(private.query_terms, text[], int[], bigint, bigint, uuid[], tsquery, tsquery, uuid[], float8, float8, int, int) is
  'Text leg: BM25 by all the words of at most candidate_limit items that hold one of the rarest (or, if none is rare, the first two together; with a phrase, its rarest word). Where the first stands in more than 25 times candidate_limit items: of near_items, if they are given, those that hold the first two.';

revoke execute on function private.matching_items(private.query_terms, text[], int[], bigint, bigint, uuid[], tsquery, tsquery, uuid[], float8, float8, int, int) from public;
grant execute on function private.matching_items(private.query_terms, text[], int[], bigint, bigint, uuid[], tsquery, tsquery, uuid[], float8, float8, int, int) to authenticated;

create or replace function ai.search(
  query text,
  query_embedding extensions.vector default null,
  embedding_model text default null,
  knowledge_base_ids uuid[] default null,
  match_count int default 10,
  source_ids uuid[] default null,
  filter_metadata jsonb default null,
  method text default 'hybrid',
  vector_weight real default null,
  similarity_threshold real default 0,
  fusion text default 'rrf',
  max_per_source int default null,
  deduplicate boolean default false,
  bm25_k1 real default 1.2,
  bm25_b real default 0.75,
  explain boolean default false
)
returns table (
  chunk_id uuid,
  source_id uuid,
  source_name text,
  knowledge_base_id uuid,
  indexed_source_id uuid,
  text text,
  score float8,
  vector_score float8,
  text_score float8,
  chunk_index int,
  start_char int,
  end_char int,
  meta jsonb,
  explanation jsonb
)
language plpgsql
stable
security invoker
set search_path = ''
set enable_seqscan = off
set jit = off -- the plans that the settings leave have costs that would start the compiler
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  row_limit constant int := least(greatest(coalesce(match_count, 10), 1), 100);
  is_capped constant boolean := max_per_source is not null or coalesce(deduplicate, false);
  -- How many of each leg are fused: enough that a row low in one leg can still win by the other, or replace one that is cut.
  leg_limit constant int := case when is_capped then 200 else greatest(row_limit, 60) end;
  weight constant float8 := least(greatest(coalesce(nullif(vector_weight, 'NaN'), case when search.fusion = 'weighted' then 0.7 else 0.5 end), 0), 1);
  threshold constant float8 := coalesce(nullif(similarity_threshold, 'NaN'), 0);
  uses_vectors constant boolean := query_embedding is not null and search.method in ('hybrid', 'vector_search');
  uses_text constant boolean := search.method in ('hybrid', 'full_text');
  k1 constant float8 := least(greatest(coalesce(nullif(bm25_k1, 'NaN'), 1.2), 0.01), 10);
  candidate_budget constant int := 400;
  b constant float8 := least(greatest(coalesce(nullif(bm25_b, 'NaN'), 0.75), 0), 1);
  scope private.search_scope;
  sources uuid[];
  parsed private.parsed_query;
  weighed private.query_terms;
  vector_leg private.search_leg;
  text_leg private.search_leg;
  identifier_leg private.search_leg;
  exact record;
  asked_terms text[];
  fusing private.fusion;
  fused private.search_leg;
  -- What each leg adds to the scores, for explanations.
  vector_votes private.search_leg;
  text_votes private.search_leg;
  identifier_votes private.search_leg;
begin
  perform private.check_search(search.query, query_embedding, search.embedding_model, search.method, search.fusion);
  if search.filter_metadata is not null and jsonb_typeof(search.filter_metadata) <> 'object' then
    perform private.raise_error(400, 'invalid_request', 'filter_metadata must be a JSON object.', null);
  end if;
  if max_per_source < 1 then
    perform private.raise_error(400, 'invalid_request', 'max_per_source must be at least 1.', null);
  end if;

  -- Everything below is counted over these segments: what the caller may see of what is asked for.
  scope := private.caller_search_scope(
    'chunk', search.knowledge_base_ids, null, null, case when uses_vectors then search.embedding_model end
  );
  if scope.segments is null then
    return;
  end if;
  if search.source_ids is not null or search.filter_metadata is not null then
    sources := array(
      select sources.id
      from ai.sources
      where (search.source_ids is null or sources.id = any (search.source_ids))
        and (search.filter_metadata is null or sources.metadata @> search.filter_metadata)
    );
    if sources = '{}' then
      return;
    end if;
  end if;
  if uses_text then
    parsed := private.parse_query(search.query, scope.languages);
  end if;

  if not private.chunk_policies_are_shipped() then
    select * into exact
    from private.search_among_visible_chunks(
      search.knowledge_base_ids, sources, case when uses_vectors then query_embedding end, search.embedding_model,
      parsed.words, parsed.required, parsed.excluded, scope.segments, scope.languages, k1, b, leg_limit
    );
    vector_leg := exact.vector_leg;
    text_leg := exact.text_leg;
    fusing.words_asked := exact.possible;
  else
    if uses_vectors then
      vector_leg := private.nearest_items(
        scope, sources,
        case
          when parsed.required is not null then
            private.find_items(private.search_keys(scope.segments, '', parsed.anchor), scope.segments, sources, parsed.required, parsed.excluded, 10000)
        end,
        query_embedding, leg_limit
      );
      if parsed.excluded is not null and parsed.required is null then
        vector_leg := private.without_items(
          vector_leg,
          private.find_items(private.search_keys(scope.segments, '', parsed.unwanted), scope.segments, sources, parsed.excluded, null, 10000)
        );
      end if;
    end if;
    if uses_text then
      -- A budget of rows, taken from the rarest words up, bounds the work of this leg.
      weighed := private.weigh_terms(parsed.words, scope.segments, scope.languages, scope.items, 16, candidate_budget);
      if weighed.terms is not null then
        text_leg := private.matching_items(
          weighed, parsed.anchor, scope.segments, scope.items, scope.terms, sources,
          parsed.required, parsed.excluded, vector_leg.item_ids, k1, b, 2 * candidate_budget, leg_limit
        );
      end if;
      fusing.words_asked := weighed.possible;
      if parsed.identifiers <> '{}' then
        fusing.identifiers_asked := cardinality(parsed.identifiers);
        identifier_leg := private.identified_items(parsed.identifiers, scope.segments, sources, parsed.required, parsed.excluded, leg_limit);
      end if;
    end if;
  end if;

  if threshold > 0 and search.method = 'vector_search' then
    vector_leg := private.without_items(
      vector_leg, array(select found.item_id from unnest(vector_leg.item_ids, vector_leg.scores) as found (item_id, score) where found.score < threshold)
    );
  end if;
  fusing.method := case when search.method = 'hybrid' then search.fusion else 'none' end;
  fusing.vector_weight := weight;
  fusing.identifiers_asked := coalesce(fusing.identifiers_asked, 0);
  fusing.segment_items := scope.items;
  fusing.k1 := k1;
  fused := private.fuse_legs(vector_leg, text_leg, identifier_leg, fusing, case when is_capped then null else row_limit end);
  if is_capped then
    select array_agg(kept.item_id order by kept.place), array_agg(kept.score order by kept.place)
    into fused
    from (
      select numbered.item_id, numbered.score, numbered.place
      from (
        select
          unique_texts.item_id, unique_texts.score, unique_texts.place,
          row_number() over (partition by unique_texts.source_id order by unique_texts.score desc, unique_texts.item_id) as number_in_source
        from (
          select
            hit.item_id, hit.score, hit.place, chunks.source_id,
            row_number() over (partition by md5(chunks.text) order by hit.score desc, hit.item_id) as copy
          from unnest(fused.item_ids, fused.scores) with ordinality as hit (item_id, score, place)
          join ai.chunks on chunks.id = hit.item_id
        ) as unique_texts
        where unique_texts.copy = 1 or not coalesce(deduplicate, false)
      ) as numbered
      where max_per_source is null or numbered.number_in_source <= max_per_source
      order by numbered.score desc, numbered.item_id
      limit row_limit
    ) as kept;
  end if;
  if explain then
    vector_votes := private.fuse_legs(vector_leg, null, null, fusing, null);
    text_votes := private.fuse_legs(null, text_leg, null, fusing, null);
    identifier_votes := private.fuse_legs(null, null, identifier_leg, fusing, null);
  end if;
  if explain and uses_text then
    asked_terms := coalesce(weighed.terms, array(
      select distinct entry.lexeme
      from unnest(scope.languages) as spoken (language)
      cross join lateral unnest(private.lexemes_of(parsed.words, spoken.language)) as entry
    ));
    perform set_config('bulkhead.search_terms_1', coalesce(private.search_keys(scope.segments, '', asked_terms)::text, ''), true);
    perform set_config('bulkhead.search_terms_2', current_setting('bulkhead.search_terms_1'), true);
  end if;

  -- Rows come from the tables under row-level security, which has the last word.
  return query
  select
    chunks.id,
    chunks.source_id,
    sources.name,
    chunks.knowledge_base_id,
    chunks.indexed_source_id,
    chunks.text,
    case when search.method = 'vector_search' then hit.score else coalesce(hit.score / nullif(max(hit.score) over (), 0), 0) end,
    vector_leg.scores[found.vector_rank],
    text_leg.scores[found.text_rank],
    chunks.chunk_index,
    chunks.start_char,
    chunks.end_char,
    chunks.meta,
    case
      when explain then jsonb_build_object(
        'fusion', nullif(fusing.method, 'none'),
        'vector', case
          when found.vector_rank is not null then jsonb_build_object(
            'rank', found.vector_rank, 'score', vector_leg.scores[found.vector_rank],
            'contribution', vector_votes.scores[array_position(vector_votes.item_ids, hit.item_id)] / nullif(hit.score, 0),
            'model', search.embedding_model
          )
        end,
        'text', case
          when found.text_rank is not null then jsonb_build_object(
            'rank', found.text_rank, 'score', text_leg.scores[found.text_rank],
            'contribution', text_votes.scores[array_position(text_votes.item_ids, hit.item_id)] / nullif(hit.score, 0),
            'terms', (private.explain_hit(chunks.id, chunks.text, asked_terms, '{}')).matched_terms
          )
        end,
        'identifier', case
          when hit.item_id = any (identifier_leg.item_ids) then jsonb_build_object(
            'exact', identifier_leg.scores[array_position(identifier_leg.item_ids, hit.item_id)] = 1,
            'contribution', identifier_votes.scores[array_position(identifier_votes.item_ids, hit.item_id)] / nullif(hit.score, 0),
            'matched', (private.explain_hit(chunks.id, chunks.text, '{}', parsed.identifiers)).matched_identifiers
          )
        end
      )
    end
  from unnest(fused.item_ids, fused.scores) with ordinality as hit (item_id, score, place)
  cross join lateral (
    select array_position(vector_leg.item_ids, hit.item_id) as vector_rank, array_position(text_leg.item_ids, hit.item_id) as text_rank
  ) as found
  join ai.chunks on chunks.id = hit.item_id
  left join ai.sources on sources.id = chunks.source_id
  order by hit.place;
end;
$$;

create or replace function ai.search_memories(
  query text,
  query_embedding extensions.vector default null,
  embedding_model text default null,
  agent_id uuid default null,
  match_count int default 10,
  user_id uuid default null,
  method text default 'hybrid',
  vector_weight real default null,
  fusion text default 'rrf'
)
returns setof ai.found_memory
language plpgsql
stable
security invoker
set search_path = ''
set enable_seqscan = off
set jit = off -- as in ai.search
set plan_cache_mode = force_generic_plan
as $$
declare
  row_limit constant int := least(greatest(coalesce(match_count, 10), 1), 100);
  leg_limit constant int := greatest(row_limit, 60);
  weight constant float8 := least(greatest(coalesce(nullif(vector_weight, 'NaN'), case when search_memories.fusion = 'weighted' then 0.7 else 0.5 end), 0), 1);
  uses_vectors constant boolean := query_embedding is not null and search_memories.method in ('hybrid', 'vector_search');
  uses_text constant boolean := search_memories.method in ('hybrid', 'full_text');
  candidate_budget constant int := 400;
  k1 constant float8 := 1.2;
  b constant float8 := 0.75;
  scope private.search_scope;
  parsed private.parsed_query;
  weighed private.query_terms;
  vector_leg private.search_leg;
  text_leg private.search_leg;
  identifier_leg private.search_leg;
  fused private.search_leg;
begin
  perform private.check_search(search_memories.query, query_embedding, search_memories.embedding_model, search_memories.method, search_memories.fusion);

  -- As in ai.search: everything below is counted over what the caller may see of what is asked for.
  scope := private.caller_search_scope(
    'memory', null, search_memories.agent_id, search_memories.user_id, case when uses_vectors then search_memories.embedding_model end
  );
  if scope.segments is null then
    return;
  end if;

  parsed := private.parse_query(search_memories.query, scope.languages);
  if uses_vectors then
    vector_leg := private.nearest_items(
      scope, null,
      case
        when parsed.required is not null then
          private.find_items(private.search_keys(scope.segments, '', parsed.anchor), scope.segments, null, parsed.required, parsed.excluded, 10000)
      end,
      query_embedding, leg_limit
    );
    if parsed.excluded is not null and parsed.required is null then
      vector_leg := private.without_items(
        vector_leg,
        private.find_items(private.search_keys(scope.segments, '', parsed.unwanted), scope.segments, null, parsed.excluded, null, 10000)
      );
    end if;
  end if;
  if uses_text then
    weighed := private.weigh_terms(parsed.words, scope.segments, scope.languages, scope.items, 16, candidate_budget);
    if weighed.terms is not null then
      text_leg := private.matching_items(
        weighed, parsed.anchor, scope.segments, scope.items, scope.terms, null,
        parsed.required, parsed.excluded, vector_leg.item_ids, k1, b, 2 * candidate_budget, leg_limit
      );
    end if;
    if parsed.identifiers <> '{}' then
      identifier_leg := private.identified_items(parsed.identifiers, scope.segments, null, parsed.required, parsed.excluded, leg_limit);
    end if;
  end if;

  fused := private.fuse_legs(
    vector_leg, text_leg, identifier_leg,
    (
      case when search_memories.method = 'hybrid' then search_memories.fusion else 'none' end,
      weight, weighed.possible, coalesce(cardinality(parsed.identifiers), 0), scope.items, k1
    )::private.fusion,
    row_limit
  );

  -- Rows come from the table under row-level security, which has the last word.
  return query
  select
    memories.id,
    memories.body,
    memories.user_id,
    memories.agent_id,
    case when search_memories.method = 'vector_search' then hit.score else coalesce(hit.score / nullif(max(hit.score) over (), 0), 0) end,
    vector_leg.scores[array_position(vector_leg.item_ids, hit.item_id)],
    text_leg.scores[array_position(text_leg.item_ids, hit.item_id)],
    memories.created_at,
    memories.act
  from unnest(fused.item_ids, fused.scores) with ordinality as hit (item_id, score, place)
  join public.memories on memories.id = hit.item_id
  order by hit.place;
end;
$$;
