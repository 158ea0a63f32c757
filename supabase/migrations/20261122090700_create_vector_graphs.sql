-- A graph is approximate: what one row's neighbours are depends on all the others. So no graph is shared, between tenants or
-- between people who see different things: a set of vectors that has grown too large for exact scans gets a table of its own
-- with a copy of the chunks that the whole tenant sees, and an HNSW graph. Searches name that table, so that planning one does
-- not get slower with the number of tables; private and granted chunks are always scanned.
create function private.due_vector_graphs(build_from int default 4000, retire_below int default 2500)
returns table (vector_set_id int, action text)
language sql
stable
security definer -- called by the worker on its own connection
set search_path = ''
as $$
  select vector_sets.id, case when vector_sets.graph_state = 'ready' then 'retire' else 'build' end
  from private.vector_sets
  where (vector_sets.graph_state = 'none' and vector_sets.shared_count >= due_vector_graphs.build_from and vector_sets.dimensions <= 4000)
    -- Left behind by a worker that was killed; one that is at work holds the lock that fill_vector_graph() asks for.
    or vector_sets.graph_state = 'building'
    or (vector_sets.graph_state = 'ready' and vector_sets.shared_count < due_vector_graphs.retire_below)
  order by vector_sets.shared_count desc
  limit 100;
$$;

comment on function private.due_vector_graphs(int, int) is
  'At most 100 vector sets that should get a graph, largest first, or lose theirs: action build or retire. HNSW takes up to 4000 dimensions.';

create function private.begin_vector_graph(vector_set_id int)
returns boolean
language plpgsql
security definer -- makes a table
set search_path = ''
as $$
declare
  vector_set private.vector_sets;
  new_table text;
begin
  select vector_sets.* into vector_set from private.vector_sets where vector_sets.id = begin_vector_graph.vector_set_id for update;
  if vector_set.id is null or vector_set.graph_state not in ('none', 'building') then
    return false;
  end if;
  new_table := 'vector_graph_' || vector_set.id;
  if vector_set.graph_state = 'none' then
    execute format(
      'create table private.%I ('
      'item_id uuid primary key, segment_id int not null, embedding extensions.halfvec(%s) not null'
      ') with (toast_tuple_target = 8160)',
      new_table, vector_set.dimensions
    );
    execute format('alter table private.%I alter column embedding set storage external', new_table);
    execute format('comment on table private.%I is %L', new_table, 'Copy of one vector set with its HNSW graph; derived, see private.vector_sets.');
    execute format('alter table private.%I enable row level security', new_table);
    execute format('alter table private.%I force row level security', new_table);
    execute format('revoke all on table private.%I from public, anon, authenticated, service_role', new_table);
    execute format('grant select on table private.%I to authenticated, service_role', new_table);
    execute format(
      'create policy "people compare vectors in their segments" on private.%I for select to authenticated '
      'using (segment_id = any ((select private.caller_segment_ids())::int[]))',
      new_table
    );
    update private.vector_sets
    set graph_state = 'building', graph_table = new_table, graph_changed_at = now()
    where vector_sets.id = vector_set.id;
  end if;
  return true;
end;
$$;

comment on function private.begin_vector_graph(int) is
  'First step of building a graph: makes its empty table, which nobody searches or fills yet. False when the set has a graph or is gone.';

create function private.fill_vector_graph(vector_set_id int)
returns boolean
language plpgsql
security definer -- writes the graph
set search_path = ''
as $$
declare
  vector_set private.vector_sets;
begin
  if not pg_try_advisory_xact_lock(hashtext('private.fill_vector_graph'), vector_set_id) then
    return false;
  end if;
  select vector_sets.* into vector_set from private.vector_sets where vector_sets.id = fill_vector_graph.vector_set_id;
  if vector_set.graph_state is distinct from 'building' then
    return false;
  end if;
  -- About what HNSW needs to keep the graph in memory; beyond the limit it is built more slowly.
  perform set_config(
    'maintenance_work_mem',
    least(greatest(vector_set.shared_count::bigint * (vector_set.dimensions * 2 + 900) / 1024, 65536), 393216)::text || 'kB',
    true
  );
  perform set_config('statement_timeout', '0', true);
  execute format('drop index if exists private.%I, private.%I', vector_set.graph_table || '_hnsw', vector_set.graph_table || '_segment');
  execute format('truncate private.%I', vector_set.graph_table);
  execute format(
    'insert into private.%I (item_id, segment_id, embedding) '
    'select item_id, segment_id, embedding from private.search_vectors where tenant_id = $1 and vector_set_id = $2 and is_shared',
    vector_set.graph_table
  ) using vector_set.tenant_id, vector_set.id;
  execute format('create index %I on private.%I (segment_id)', vector_set.graph_table || '_segment', vector_set.graph_table);
  execute format(
    'create index %I on private.%I using hnsw (embedding extensions.halfvec_ip_ops) with (m = 16, ef_construction = 64)',
    vector_set.graph_table || '_hnsw', vector_set.graph_table
  );
  return true;
end;
$$;

comment on function private.fill_vector_graph(int) is
  'Second step: copies the set and builds its HNSW graph, from the start if an earlier attempt was cut off. Blocks neither writers nor searches. False when somebody else is at it, or it is not to be built.';

create function private.level_vector_graph(vector_set private.vector_sets)
returns int
language plpgsql
security definer -- writes the graph
set search_path = ''
as $$
declare
  removed int;
  added int;
begin
  if to_regclass(format('private.%I', vector_set.graph_table || '_hnsw')) is null then
    return null;
  end if;
  execute format(
    'delete from private.%I as graph where not exists ('
    'select from private.search_vectors as kept '
    'where kept.item_id = graph.item_id and kept.vector_set_id = $1 and kept.segment_id = graph.segment_id and kept.is_shared '
    'and kept.embedding operator(extensions.=) graph.embedding)',
    vector_set.graph_table
  ) using vector_set.id;
  get diagnostics removed = row_count;
  execute format(
    'insert into private.%I (item_id, segment_id, embedding) '
    'select kept.item_id, kept.segment_id, kept.embedding from private.search_vectors as kept '
    'where kept.tenant_id = $1 and kept.vector_set_id = $2 and kept.is_shared '
    'and not exists (select from private.%I as graph where graph.item_id = kept.item_id)',
    vector_set.graph_table, vector_set.graph_table
  ) using vector_set.tenant_id, vector_set.id;
  get diagnostics added = row_count;
  return removed + added;
end;
$$;

comment on function private.level_vector_graph(private.vector_sets) is
  'Makes the rows of a filled graph those of its set as it is now; returns how many were added or removed, null when it is not filled.';

-- Whoever fills a graph is alone with it until it is complete: finishing takes the lock that filling takes, so that no second
-- maintainer can begin anew (and empty the table) once searches use it.
create function private.finish_vector_graph(vector_set_id int)
returns boolean
language plpgsql
security definer -- writes the graph
set search_path = ''
as $$
declare
  vector_set private.vector_sets;
begin
  if not pg_try_advisory_xact_lock(hashtext('private.fill_vector_graph'), vector_set_id) then
    return false;
  end if;
  -- Writers of this set wait here until the graph is level with it; from then on they keep it so.
  select vector_sets.* into vector_set from private.vector_sets where vector_sets.id = finish_vector_graph.vector_set_id for update;
  if vector_set.graph_state is distinct from 'building' or private.level_vector_graph(vector_set) is null then
    return false;
  end if;
  execute format('analyze private.%I', vector_set.graph_table);
  update private.vector_sets set graph_state = 'ready', graph_changed_at = now() where vector_sets.id = vector_set.id;
  return true;
end;
$$;

comment on function private.finish_vector_graph(int) is
  'Last step: brings in what was written meanwhile and lets searches use the graph, in one transaction. False when it is not filled, or somebody else is at it.';

create function private.catch_up_vector_graph(vector_set_id int)
returns int
language plpgsql
security definer -- writes the graph
set search_path = ''
as $$
declare
  vector_set private.vector_sets;
begin
  if not pg_try_advisory_xact_lock(hashtext('private.fill_vector_graph'), vector_set_id) then
    return null;
  end if;
  select vector_sets.* into vector_set from private.vector_sets where vector_sets.id = catch_up_vector_graph.vector_set_id;
  if vector_set.graph_state is distinct from 'building' then
    return null;
  end if;
  return private.level_vector_graph(vector_set);
end;
$$;

comment on function private.catch_up_vector_graph(int) is
  'Between filling and finishing: brings in what was written meanwhile without making anybody wait, so that little is left for the step that does. Returns how many rows changed; null when there is nothing to catch up or somebody else is at it.';

create function private.retire_vector_graph(vector_set_id int)
returns boolean
language plpgsql
security definer -- changes the set
set search_path = ''
as $$
begin
  update private.vector_sets
  set graph_state = 'retired', graph_changed_at = now()
  where vector_sets.id = retire_vector_graph.vector_set_id and vector_sets.graph_state in ('building', 'ready');
  return found;
end;
$$;

comment on function private.retire_vector_graph(int) is 'The set is searched exactly from now on; drop_vector_graphs() removes the table once no search can be reading it.';

create function private.drop_vector_graphs(grace interval default '1 minute')
returns int
language plpgsql
security definer -- drops tables
set search_path = ''
as $$
declare
  graph record;
  dropped int := 0;
begin
  for graph in
    select vector_sets.id, vector_sets.graph_table
    from private.vector_sets
    where vector_sets.graph_state = 'retired' and vector_sets.graph_changed_at <= now() - drop_vector_graphs.grace
    for update skip locked
  loop
    execute format('drop table if exists private.%I', graph.graph_table);
    update private.vector_sets set graph_state = 'none', graph_table = null, graph_changed_at = now() where vector_sets.id = graph.id;
    dropped := dropped + 1;
  end loop;
  -- Those of tenants that were deleted.
  for graph in
    select pg_class.relname as graph_table
    from pg_catalog.pg_class
    where pg_class.relnamespace = 'private'::regnamespace
      and pg_class.relkind = 'r'
      and pg_class.relname ~ '^vector_graph_[0-9]+$'
      and not exists (select from private.vector_sets where vector_sets.graph_table = pg_class.relname)
  loop
    execute format('drop table if exists private.%I', graph.graph_table);
    dropped := dropped + 1;
  end loop;
  return dropped;
end;
$$;

comment on function private.drop_vector_graphs(interval) is
  'Drops the tables of graphs that were retired at least `grace` ago, and those of tenants that are gone. Returns how many.';

revoke execute on function private.due_vector_graphs(int, int) from public;
revoke execute on function private.begin_vector_graph(int) from public;
revoke execute on function private.fill_vector_graph(int) from public;
revoke execute on function private.level_vector_graph(private.vector_sets) from public;
revoke execute on function private.catch_up_vector_graph(int) from public;
revoke execute on function private.finish_vector_graph(int) from public;
revoke execute on function private.retire_vector_graph(int) from public;
revoke execute on function private.drop_vector_graphs(interval) from public;
grant execute on function private.due_vector_graphs(int, int) to service_role;
grant execute on function private.begin_vector_graph(int) to service_role;
grant execute on function private.fill_vector_graph(int) to service_role;
grant execute on function private.catch_up_vector_graph(int) to service_role;
grant execute on function private.finish_vector_graph(int) to service_role;
grant execute on function private.retire_vector_graph(int) to service_role;
grant execute on function private.drop_vector_graphs(interval) to service_role;
