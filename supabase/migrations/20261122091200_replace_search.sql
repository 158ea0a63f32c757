create function ai.search(
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
  tenants uuid[];
  segments int[];
  languages text[];
  segment_items bigint;
  segment_terms bigint;
  shared_segments int[];
  own_segments int[];
  shared_items bigint;
  sources uuid[];
  parsed private.parsed_query;
  weighed private.query_terms;
  vector_leg private.search_leg;
  text_leg private.search_leg;
  identifier_leg private.search_leg;
  exact record;
  asked_terms text[];
  fusion_used text;
  identifiers_asked int := 0;
  kept uuid[];
begin
  perform private.check_search(search.query, query_embedding, search.embedding_model, search.method, search.fusion);
  if search.filter_metadata is not null and jsonb_typeof(search.filter_metadata) <> 'object' then
    perform private.raise_error(400, 'invalid_request', 'filter_metadata must be a JSON object.', null);
  end if;
  if max_per_source < 1 then
    perform private.raise_error(400, 'invalid_request', 'max_per_source must be at least 1.', null);
  end if;

  -- Everything below is counted over these segments: what the caller may see of what is asked for.
  select
    array_agg(segment.tenant_id), array_agg(segment.id), array_agg(segment.language),
    sum(segment.item_count), sum(segment.term_count),
    coalesce(array_agg(segment.id) filter (where segment.visibility = 'tenant'), '{}'),
    coalesce(array_agg(segment.id) filter (where segment.visibility <> 'tenant'), '{}'),
    coalesce(sum(segment.item_count) filter (where segment.visibility = 'tenant'), 0)
  into tenants, segments, languages, segment_items, segment_terms, shared_segments, own_segments, shared_items
  from private.search_segments as segment
  where segment.kind = 'chunk'
    and segment.item_count > 0
    and (search.knowledge_base_ids is null or segment.knowledge_base_id = any (search.knowledge_base_ids));
  if segments is null then
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
    parsed := private.parse_query(search.query, languages);
  end if;

  if not private.chunk_policies_are_shipped() then
    select * into exact
    from private.search_among_visible_chunks(
      search.knowledge_base_ids, sources, case when uses_vectors then query_embedding end, search.embedding_model,
      parsed.words, parsed.required, parsed.excluded, segments, languages, k1, b, leg_limit
    );
    vector_leg := exact.vector_leg;
    text_leg := exact.text_leg;
    weighed.possible := exact.possible;
  else
    if uses_text then
      -- A budget of rows, taken from the rarest words up, bounds the work of this leg.
      weighed := private.weigh_terms(parsed.words, segments, languages, segment_items, 16, candidate_budget);
      if weighed.terms is not null then
        text_leg := private.matching_items(
          weighed, parsed.anchor, segments, segment_items, segment_terms, sources,
          parsed.required, parsed.excluded, k1, b, 2 * candidate_budget, leg_limit
        );
      end if;
      if parsed.identifiers <> '{}' then
        identifiers_asked := cardinality(parsed.identifiers);
        identifier_leg := private.identified_items(parsed.identifiers, segments, sources, parsed.required, parsed.excluded, leg_limit);
      end if;
    end if;
    if uses_vectors then
      vector_leg := private.nearest_items(
        tenants, shared_segments, own_segments, shared_items, sources,
        case
          when parsed.required is not null then
            private.find_items(private.search_keys(segments, '', parsed.anchor), segments, sources, parsed.required, parsed.excluded, 10000)
        end,
        search.embedding_model, query_embedding, leg_limit
      );
      if parsed.excluded is not null and parsed.required is null then
        vector_leg := private.without_items(
          vector_leg,
          private.find_items(private.search_keys(segments, '', parsed.unwanted), segments, sources, parsed.excluded, null, 10000)
        );
      end if;
    end if;
  end if;

  if threshold > 0 and search.method = 'vector_search' then
    vector_leg := private.without_items(
      vector_leg, array(select found.item_id from unnest(vector_leg.item_ids, vector_leg.scores) as found (item_id, score) where found.score < threshold)
    );
  end if;
  fusion_used := case when search.method = 'hybrid' then search.fusion else 'none' end;
  if is_capped then
    kept := array(
      select numbered.item_id
      from (
        select
          unique_texts.item_id, unique_texts.score,
          row_number() over (partition by unique_texts.source_id order by unique_texts.score desc, unique_texts.item_id) as number_in_source
        from (
          select
            fused.item_id, fused.score, chunks.source_id,
            row_number() over (partition by md5(chunks.text) order by fused.score desc, fused.item_id) as copy
          from private.fuse_legs(vector_leg, text_leg, identifier_leg, fusion_used, weight, weighed.possible, identifiers_asked, segment_items, k1, null) as fused
          join ai.chunks on chunks.id = fused.item_id
        ) as unique_texts
        where unique_texts.copy = 1 or not coalesce(deduplicate, false)
      ) as numbered
      where max_per_source is null or numbered.number_in_source <= max_per_source
      order by numbered.score desc, numbered.item_id
      limit row_limit
    );
  end if;
  if explain and uses_text then
    asked_terms := coalesce(weighed.terms, array(
      select distinct entry.lexeme
      from unnest(languages) as spoken (language)
      cross join lateral unnest(private.lexemes_of(parsed.words, spoken.language)) as entry
    ));
    perform set_config('bulkhead.search_terms_1', coalesce(private.search_keys(segments, '', asked_terms)::text, ''), true);
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
    case when search.method = 'vector_search' then fused.score else coalesce(fused.score / nullif(max(fused.score) over (), 0), 0) end,
    fused.vector_score,
    fused.text_score,
    chunks.chunk_index,
    chunks.start_char,
    chunks.end_char,
    chunks.meta,
    case
      when explain then jsonb_build_object(
        'fusion', nullif(fusion_used, 'none'),
        'vector', case
          when fused.vector_rank is not null then jsonb_build_object(
            'rank', fused.vector_rank, 'score', fused.vector_score, 'contribution', fused.vector_part / nullif(fused.score, 0),
            'model', search.embedding_model
          )
        end,
        'text', case
          when fused.text_rank is not null then jsonb_build_object(
            'rank', fused.text_rank, 'score', fused.text_score, 'contribution', fused.text_part / nullif(fused.score, 0),
            'terms', (private.explain_hit(chunks.id, chunks.text, asked_terms, '{}')).matched_terms
          )
        end,
        'identifier', case
          when fused.identifier_score is not null then jsonb_build_object(
            'exact', fused.identifier_score = 1, 'contribution', fused.identifier_part / nullif(fused.score, 0),
            'matched', (private.explain_hit(chunks.id, chunks.text, '{}', parsed.identifiers)).matched_identifiers
          )
        end
      )
    end
  from private.fuse_legs(
    vector_leg, text_leg, identifier_leg, fusion_used, weight, weighed.possible, identifiers_asked, segment_items, k1,
    case when is_capped then null else row_limit end
  ) as fused
  join ai.chunks on chunks.id = fused.item_id
  left join ai.sources on sources.id = chunks.source_id
  where not is_capped or chunks.id = any (kept)
  order by fused.score desc, fused.vector_rank, chunks.id;
end;
$$;

comment on function ai.search(text, extensions.vector, text, uuid[], int, uuid[], jsonb, text, real, real, text, int, boolean, real, real, boolean) is
  'Searches the chunks the caller can see. hybrid: cosine similarity, BM25 and identifiers, fused by reciprocal ranks weighed with the strength of each hit (rrf), or by scores (weighted); score is 1 for the best. '
  'vector_search: cosine similarity, at least similarity_threshold. full_text: BM25 (bm25_k1, bm25_b) of any of the words. "quoted phrases" must stand in a chunk, -words must not. '
  'Only vectors of embedding_model are compared. max_per_source caps chunks per source, deduplicate drops equal texts. With a vector and no threshold: min(match_count, visible) rows. '
  'match_count 1..100, query 1..4000 characters. explain: ranks, scores and matched terms of each leg. PT400 invalid_request or invalid_embedding.';

revoke execute on function ai.search(text, extensions.vector, text, uuid[], int, uuid[], jsonb, text, real, real, text, int, boolean, real, real, boolean) from public, anon, authenticated, service_role;
grant execute on function ai.search(text, extensions.vector, text, uuid[], int, uuid[], jsonb, text, real, real, text, int, boolean, real, real, boolean) to authenticated;
