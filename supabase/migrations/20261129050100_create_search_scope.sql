create type private.searched_set as (id int, dimensions int, shared_count int, graph_state text, graph_table text);

comment on type private.searched_set is 'What a search needs to know of one row of private.vector_sets.';

create type private.search_scope as (
  segments int[],
  languages text[],
  items bigint,
  terms bigint,
  shared_segments int[],
  shared_items bigint,
  vector_sets private.searched_set[]
);

comment on type private.search_scope is
  'What one search works on: segments with their languages, items and words in them; those of the segments that the whole tenant sees, and their items; the vectors of one model in the tenants of all. segments is null where there is nothing to search.';

create function private.caller_search_scope(
  kind text,
  knowledge_base_ids uuid[],
  agent_id uuid,
  user_id uuid,
  embedding_model text
)
returns private.search_scope
language plpgsql
stable
security definer -- one look at the caller's rights for two tables, whose policies would each ask for itself
set search_path = ''
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  scope private.search_scope;
begin
  select
    mine.segments, mine.languages, mine.items, mine.terms, mine.shared_segments, mine.shared_items,
    (
      select array_agg(row(sets.id, sets.dimensions, sets.shared_count, sets.graph_state, sets.graph_table)::private.searched_set)
      from private.vector_sets as sets
      where sets.tenant_id = any (mine.tenants) and sets.embedding_model = caller_search_scope.embedding_model
    )
  into scope
  from (
    select
      array_agg(segment.tenant_id) as tenants,
      array_agg(segment.id) as segments,
      array_agg(segment.language) as languages,
      sum(segment.item_count) as items,
      sum(segment.term_count) as terms,
      coalesce(array_agg(segment.id) filter (where segment.visibility = 'tenant'), '{}') as shared_segments,
      coalesce(sum(segment.item_count) filter (where segment.visibility = 'tenant'), 0) as shared_items
    from private.search_segments as segment
    -- The whole of what the caller may see, and nothing else: the tenants of these segments are the caller's.
    where segment.id = any ((select private.caller_segment_ids())::int[])
      and segment.kind = caller_search_scope.kind
      and segment.item_count > 0
      and (caller_search_scope.knowledge_base_ids is null or segment.knowledge_base_id = any (caller_search_scope.knowledge_base_ids))
      and (caller_search_scope.agent_id is null or segment.agent_id is null or segment.agent_id = caller_search_scope.agent_id)
      and (caller_search_scope.user_id is null or segment.owner_id is null or segment.owner_id = caller_search_scope.user_id)
  ) as mine;
  return scope;
end;
$$;

comment on function private.caller_search_scope(text, uuid[], uuid, uuid, text) is
  'What a search of chunks or memories (kind) works on, of what the caller may see right now: the segments of these knowledge bases, of this agent and of none, of this person and of nobody in particular (null: all of them), and the vector sets of embedding_model (null: none).';

revoke execute on function private.caller_search_scope(text, uuid[], uuid, uuid, text) from public;
grant execute on function private.caller_search_scope(text, uuid[], uuid, uuid, text) to authenticated;

create type private.fusion as (
  method text,
  vector_weight float8,
  words_asked float8,
  identifiers_asked int,
  segment_items bigint,
  k1 float8
);

comment on type private.fusion is
  'How legs are fused: rrf (reciprocal ranks, each vote with its strength), weighted (strengths alone) or none (scores as they are, for one leg); the idf of all words of the query, its identifiers, and how many items were searched.';
