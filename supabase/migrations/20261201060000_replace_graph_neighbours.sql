-- Neighbours keep to what the query demands, as hits do: quoted words stand in them, and excluded ones do not.
drop function ai.graph_neighbours(uuid[], uuid[], int, uuid[], jsonb);
create function ai.graph_neighbours(
  chunk_ids uuid[],
  knowledge_base_ids uuid[] default null,
  match_count int default 5,
  source_ids uuid[] default null,
  filter_metadata jsonb default null,
  query text default null
)
returns table (
  chunk_id uuid,
  source_id uuid,
  source_name text,
  knowledge_base_id uuid,
  indexed_source_id uuid,
  text text,
  chunk_index int,
  start_char int,
  end_char int,
  meta jsonb,
  from_chunk_id uuid,
  entities text[],
  rarity float8
)
language plpgsql
stable
set search_path = ''
-- As for ai.search: its plan is the same whatever the statistics are.
set enable_seqscan = off
-- A bitmap would be made of all chunks of an entity before the limit counts.
set enable_bitmapscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  hits constant uuid[] := array_remove(graph_neighbours.chunk_ids, null);
  row_limit constant int := least(greatest(coalesce(match_count, 5), 1), 50);
  -- What bounds the work: the first hits, their entities, and the chunks of each. An entity in more chunks than that says little.
  origin_limit constant int := 10;
  entity_limit constant int := 64;
  chunk_limit constant int := 50;
  -- Among these everything is found and counted: what the caller may see of what is asked for.
  segments constant int[] := array(
    select segment.id
    from private.search_segments as segment
    where segment.kind = 'chunk'
      and segment.item_count > 0
      and (graph_neighbours.knowledge_base_ids is null or segment.knowledge_base_id = any (graph_neighbours.knowledge_base_ids))
  );
  parsed private.parsed_query;
  keys text;
begin
  if graph_neighbours.filter_metadata is not null and jsonb_typeof(graph_neighbours.filter_metadata) <> 'object' then
    perform private.raise_error(400, 'invalid_request', 'filter_metadata must be a JSON object.', null);
  end if;
  if cardinality(hits) > 1000 then
    perform private.raise_error(400, 'invalid_request', 'chunk_ids may have at most 1,000 ids.', null);
  end if;
  if char_length(graph_neighbours.query) > 4000 then
    perform private.raise_error(400, 'invalid_request', 'query may have at most 4000 characters.', 'Shorten the query.');
  end if;
  if graph_neighbours.query is not null then
    parsed := private.parse_query(
      graph_neighbours.query,
      array(select distinct segment.language from private.search_segments as segment where segment.id = any (segments))
    );
    if parsed.required is not null or parsed.excluded is not null then
      -- As in private.wanted_items(): whatever holds what is asked about has one of these.
      keys := coalesce(private.search_keys(segments, '', coalesce(parsed.anchor, parsed.unwanted))::text, '');
      perform set_config('bulkhead.search_terms_1', keys, true), set_config('bulkhead.search_terms_2', keys, true);
    end if;
  end if;

  return query
  with origins as materialized (
    select chunks.id, chunks.tenant_id, listed.place
    from unnest(hits[:origin_limit]) with ordinality as listed (id, place)
    join ai.chunks on chunks.id = listed.id
  ),
  named as materialized (
    select origins.tenant_id, origins.id as origin_id, origins.place, entities.name_key, entities.name
    from origins
    join private.search_entities as entities
      on entities.chunk_id = origins.id and entities.tenant_id = origins.tenant_id and entities.segment_id = any (segments)
  ),
  asked as materialized (
    select named.tenant_id, named.name_key, min(named.place) as place
    from named
    group by named.tenant_id, named.name_key
    order by min(named.place), named.name_key
    limit entity_limit
  ),
  found as materialized (
    select
      asked.tenant_id, asked.name_key, asked.place, holders.chunk_id, count(*) over (partition by asked.tenant_id, asked.name_key) as chunk_count
    from asked
    cross join lateral (
      select entities.chunk_id
      from private.search_entities as entities
      where entities.segment_id = any (segments) and entities.name_key = asked.name_key and entities.tenant_id = asked.tenant_id
      limit chunk_limit + 1
    ) as holders
  ),
  -- Adamic and Adar's index: what few share says more than what many do.
  shared as materialized (
    select found.tenant_id, found.chunk_id, found.name_key, found.place, 1 / ln(found.chunk_count::float8) as rarity
    from found
    where found.chunk_count between 2 and chunk_limit and found.chunk_id <> all (hits)
  ),
  ranked as (
    select shared.chunk_id, sum(shared.rarity order by shared.name_key) as rarity, min(shared.place) as place
    from shared
    group by shared.chunk_id
    order by 2 desc, 3, 1
  ),
  -- Rows come from the tables under row-level security, which has the last word.
  chosen as materialized (
    select ranked.rarity, ranked.place, visible.*
    from ranked
    cross join lateral (
      select
        chunks.id, chunks.source_id, sources.name as source_name, chunks.knowledge_base_id, chunks.indexed_source_id, chunks.text,
        chunks.chunk_index, chunks.start_char, chunks.end_char, chunks.meta
      from ai.chunks
      join ai.sources on sources.id = chunks.source_id
      where chunks.id = ranked.chunk_id
        and (graph_neighbours.source_ids is null or chunks.source_id = any (graph_neighbours.source_ids))
        and (graph_neighbours.filter_metadata is null or sources.metadata @> graph_neighbours.filter_metadata)
        and case
          when parsed.required is null then
            parsed.excluded is null
            or not exists (
              select from private.search_lexemes as matched
              where matched.item_id = chunks.id and matched.lexemes operator(pg_catalog.@@) parsed.excluded
            )
          else exists (
            select from private.search_lexemes as matched
            where matched.item_id = chunks.id
              and matched.lexemes operator(pg_catalog.@@) parsed.required
              and (parsed.excluded is null or not matched.lexemes operator(pg_catalog.@@) parsed.excluded)
          )
        end
      limit 1
    ) as visible
    order by ranked.rarity desc, ranked.place, ranked.chunk_id
    limit row_limit
  )
  select
    chosen.id, chosen.source_id, chosen.source_name, chosen.knowledge_base_id, chosen.indexed_source_id, chosen.text, chosen.chunk_index,
    chosen.start_char, chosen.end_char, chosen.meta, linked.origin_id, linked.names, chosen.rarity
  from chosen
  -- The hit it has most in common with; of equals, the better one.
  cross join lateral (
    select named.origin_id, array_agg(named.name order by shared.rarity desc, shared.name_key) as names
    from shared
    join named on named.tenant_id = shared.tenant_id and named.name_key = shared.name_key
    where shared.chunk_id = chosen.id
    group by named.origin_id, named.place
    order by sum(shared.rarity order by shared.name_key) desc, named.place
    limit 1
  ) as linked
  order by chosen.rarity desc, chosen.place, chosen.id;
end;
$$;

comment on function ai.graph_neighbours(uuid[], uuid[], int, uuid[], jsonb, text) is
  'Chunks one hop away from hits in the graph of strategy graph_index: they name an entity that one of the first ten of chunk_ids (best first) names. None of chunk_ids is among them. Ranked by the rarity of what they share, counted over what the caller can see of knowledge_base_ids (null: all); entities in more than 50 chunks link nothing. from_chunk_id is the hit a neighbour has most in common with, entities what that is. match_count 1 to 50; source_ids, filter_metadata, and the "quoted words" and -words of query as for ai.search. PT400 invalid_request.';

revoke execute on function ai.graph_neighbours(uuid[], uuid[], int, uuid[], jsonb, text) from public, anon, authenticated, service_role;
grant execute on function ai.graph_neighbours(uuid[], uuid[], int, uuid[], jsonb, text) to authenticated;
