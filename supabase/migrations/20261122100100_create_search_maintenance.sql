-- Upkeep of the search index that nobody waits for. One kind of job, which carries nothing: what is due is asked of the index.
select pgboss.create_queue('maintain_search', '{"policy": "short", "retryLimit": 5, "retryDelay": 30, "retryBackoff": true, "retryDelayMax": 600, "expireInSeconds": 14400, "heartbeatSeconds": 60, "notify": true}');

create function private.move_misplaced_chunks(batch_size int default 300)
returns int
language plpgsql
security definer -- the index is writable by nobody
set search_path = ''
as $$
declare
  -- Locked, so that a change of who may see them waits; what somebody else is at is left for the next time.
  misplaced constant uuid[] := array(
    select chunks.id
    from private.search_segments
    join ai.knowledge_bases
      on knowledge_bases.id = search_segments.knowledge_base_id and knowledge_bases.language <> search_segments.language
    join private.search_lexemes
      on search_lexemes.tenant_id = search_segments.tenant_id and search_lexemes.segment_id = search_segments.id
    join ai.chunks on chunks.id = search_lexemes.item_id
    where search_segments.item_count > 0
    limit least(greatest(batch_size, 1), 5000)
    for no key update of chunks skip locked
  );
begin
  if misplaced <> '{}' then
    perform private.move_chunks(misplaced);
  end if;
  return cardinality(misplaced);
end;
$$;

comment on function private.move_misplaced_chunks(int) is
  'Indexes anew at most batch_size chunks that were lexed in another language than their knowledge base has now. Returns how many; 0 when nothing is left that nobody else is at.';

create function private.remove_empty_segments(batch_size int default 1000)
returns int
language plpgsql
security definer -- the index is writable by nobody
set search_path = ''
as $$
declare
  removed int;
begin
  delete from private.search_segments
  where search_segments.item_count = 0
    and search_segments.id = any (
      array(
        select empty.id
        from private.search_segments as empty
        where empty.item_count = 0
        order by empty.id
        limit least(greatest(batch_size, 1), 5000)
        for update skip locked
      )
    );
  get diagnostics removed = row_count;
  return removed;
end;
$$;

comment on function private.remove_empty_segments(int) is
  'Removes at most batch_size segments that hold nothing any more; one that is needed again is made again. Returns how many.';

create function ai.due_search_maintenance(build_from int default 4000, retire_below int default 2500)
returns boolean
language sql
stable
set search_path = ''
as $$
  select
    -- One at a time, and after a failure not before the queue tries again.
    not exists (select from private.live_jobs() as live where live.queue = 'maintain_search')
    and (
      exists (select from private.due_vector_graphs(due_search_maintenance.build_from, due_search_maintenance.retire_below))
      or exists (select from private.vector_sets where vector_sets.graph_state = 'retired' and vector_sets.graph_changed_at < now() - interval '1 minute')
      or exists (select from private.search_segments where search_segments.item_count = 0)
      or exists (
        select
        from private.search_segments
        join ai.knowledge_bases
          on knowledge_bases.id = search_segments.knowledge_base_id and knowledge_bases.language <> search_segments.language
      )
      -- Graphs of tenants that were deleted.
      or exists (
        select
        from pg_catalog.pg_class
        where pg_class.relnamespace = 'private'::regnamespace
          and pg_class.relkind = 'r'
          and pg_class.relname ~ '^vector_graph_[0-9]+$'
          and not exists (select from private.vector_sets where vector_sets.graph_table = pg_class.relname)
      )
    );
$$;

comment on function ai.due_search_maintenance(int, int) is
  'Ledger: whether the job maintain_search would find something to do: graphs to build, retire or drop, chunks to lex in another language, empty segments.';

revoke execute on function private.move_misplaced_chunks(int) from public;
revoke execute on function private.remove_empty_segments(int) from public;
revoke execute on function ai.due_search_maintenance(int, int) from public, anon, authenticated, service_role;
grant execute on function private.move_misplaced_chunks(int) to service_role;
grant execute on function private.remove_empty_segments(int) to service_role;
grant execute on function ai.due_search_maintenance(int, int) to service_role;
