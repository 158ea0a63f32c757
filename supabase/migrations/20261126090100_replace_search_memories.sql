-- As before, and through whom each memory was written.
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
  tenants uuid[];
  segments int[];
  languages text[];
  segment_items bigint;
  segment_terms bigint;
  shared_segments int[];
  own_segments int[];
  shared_items bigint;
  parsed private.parsed_query;
  weighed private.query_terms;
  vector_leg private.search_leg;
  text_leg private.search_leg;
  identifier_leg private.search_leg;
begin
  perform private.check_search(search_memories.query, query_embedding, search_memories.embedding_model, search_memories.method, search_memories.fusion);

  -- As in ai.search: everything below is counted over what the caller may see of what is asked for.
  select
    array_agg(segment.tenant_id), array_agg(segment.id), array_agg(segment.language),
    sum(segment.item_count), sum(segment.term_count),
    coalesce(array_agg(segment.id) filter (where segment.visibility = 'tenant'), '{}'),
    coalesce(array_agg(segment.id) filter (where segment.visibility <> 'tenant'), '{}'),
    coalesce(sum(segment.item_count) filter (where segment.visibility = 'tenant'), 0)
  into tenants, segments, languages, segment_items, segment_terms, shared_segments, own_segments, shared_items
  from private.search_segments as segment
  where segment.kind = 'memory'
    and segment.item_count > 0
    and (search_memories.agent_id is null or segment.agent_id is null or segment.agent_id = search_memories.agent_id)
    and (search_memories.user_id is null or segment.owner_id is null or segment.owner_id = search_memories.user_id);
  if segments is null then
    return;
  end if;

  parsed := private.parse_query(search_memories.query, languages);
  if uses_text then
    weighed := private.weigh_terms(parsed.words, segments, languages, segment_items, 16, candidate_budget);
    if weighed.terms is not null then
      text_leg := private.matching_items(
        weighed, parsed.anchor, segments, segment_items, segment_terms, null,
        parsed.required, parsed.excluded, k1, b, 2 * candidate_budget, leg_limit
      );
    end if;
    if parsed.identifiers <> '{}' then
      identifier_leg := private.identified_items(parsed.identifiers, segments, null, parsed.required, parsed.excluded, leg_limit);
    end if;
  end if;
  if uses_vectors then
    vector_leg := private.nearest_items(
      tenants, shared_segments, own_segments, shared_items, null,
      case
        when parsed.required is not null then
          private.find_items(private.search_keys(segments, '', parsed.anchor), segments, null, parsed.required, parsed.excluded, 10000)
      end,
      search_memories.embedding_model, query_embedding, leg_limit
    );
    if parsed.excluded is not null and parsed.required is null then
      vector_leg := private.without_items(
        vector_leg,
        private.find_items(private.search_keys(segments, '', parsed.unwanted), segments, null, parsed.excluded, null, 10000)
      );
    end if;
  end if;

  -- Rows come from the table under row-level security, which has the last word.
  return query
  select
    memories.id,
    memories.body,
    memories.user_id,
    memories.agent_id,
    case when search_memories.method = 'vector_search' then fused.score else coalesce(fused.score / nullif(max(fused.score) over (), 0), 0) end,
    fused.vector_score,
    fused.text_score,
    memories.created_at,
    memories.act
  from private.fuse_legs(
    vector_leg, text_leg, identifier_leg, case when search_memories.method = 'hybrid' then search_memories.fusion else 'none' end,
    weight, weighed.possible, coalesce(cardinality(parsed.identifiers), 0), segment_items, k1, row_limit
  ) as fused
  join public.memories on memories.id = fused.item_id
  order by fused.score desc, fused.vector_rank, memories.id;
end;
$$;
