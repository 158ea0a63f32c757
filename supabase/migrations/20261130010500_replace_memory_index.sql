create or replace function private.index_changed_memories()
returns trigger
language plpgsql
security definer -- the index and the queue are writable by nobody
set search_path = ''
as $$
declare
  moved uuid[];
  rewritten uuid[] := '{}';
begin
  if tg_op = 'DELETE' then
    delete from private.search_lexemes using removed where search_lexemes.item_id = removed.id;
    delete from private.search_vectors using removed where search_vectors.item_id = removed.id;
    return null;
  elsif tg_op = 'INSERT' then
    rewritten := array(select added.id from added);
    perform private.index_memories(rewritten);
  else
    select
      coalesce(array_agg(added.id), '{}'),
      coalesce(array_agg(added.id) filter (where added.body <> removed.body), '{}')
    into moved, rewritten
    from added
    join removed on removed.id = added.id
    where (added.tenant_id, added.user_id, added.agent_id, added.body) is distinct from (removed.tenant_id, removed.user_id, removed.agent_id, removed.body);
    if moved = '{}' then
      return null;
    end if;
    delete from private.search_lexemes where search_lexemes.item_id = any (moved);
    -- A changed text loses the vector of the old one.
    delete from private.search_vectors where search_vectors.item_id = any (rewritten);
    perform private.index_memories(moved);
    update private.search_vectors
    set segment_id = search_lexemes.segment_id, is_shared = search_segments.kind = 'chunk' and search_segments.visibility = 'tenant'
    from private.search_lexemes
    join private.search_segments on search_segments.id = search_lexemes.segment_id
    where search_vectors.item_id = any (moved)
      and search_lexemes.item_id = search_vectors.item_id
      and search_vectors.segment_id <> search_lexemes.segment_id;
  end if;
  perform private.enqueue('embed_memory', jsonb_build_object('id', written.id), now(), written.id::text)
  from unnest(rewritten) as written (id);
  return null;
end;
$$;

-- Memories of a tenant that were given to another agent counted as chunks that the tenant sees, and were copied into its graph.
update private.search_vectors
set is_shared = false
from private.search_segments
where search_segments.kind = 'memory' and search_vectors.segment_id = search_segments.id and search_vectors.is_shared;
