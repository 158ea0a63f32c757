-- Of one tenant: normal runs before low ones, of each the oldest first, which is the order of agent_runs_pending_idx. Among tenants nothing changes: that
-- is a matter of how many of a tenant's runs go on and when it was served last.
create or replace function ai.due_runs(run_limit int default 20, present_tenants uuid[] default null)
returns table (id uuid, tenant_id uuid)
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
begin
  return query
  with recursive tenants (tenant_id) as (
    (
      select agent_runs.tenant_id
      from ai.agent_runs
      where agent_runs.status = 'pending'
      order by agent_runs.tenant_id
      limit 1
    )
    union all
    -- From tenant to tenant, however many runs of one wait.
    select (
      select agent_runs.tenant_id
      from ai.agent_runs
      where agent_runs.status = 'pending' and agent_runs.tenant_id > tenants.tenant_id
      order by agent_runs.tenant_id
      limit 1
    )
    from tenants
    where tenants.tenant_id is not null
  ),
  due as (
    select agent_runs.id, agent_runs.tenant_id, 0::bigint as turn, null::timestamptz as served_at, agent_runs.created_at
    from ai.agent_runs
    where agent_runs.status = 'running' and agent_runs.lease_expires_at <= now()
    union all
    select
      waiting.id, tenants.tenant_id, running.count + row_number() over (partition by tenants.tenant_id order by waiting.priority desc, waiting.created_at, waiting.id),
      (
        select agent_runs.started_at
        from ai.agent_runs
        where agent_runs.tenant_id = tenants.tenant_id and agent_runs.started_at is not null
        order by agent_runs.started_at desc
        limit 1
      ),
      waiting.created_at
    from tenants
    left join ai.tenant_settings on tenant_settings.tenant_id = tenants.tenant_id
    cross join lateral (
      select count(*)
      from ai.agent_runs
      where agent_runs.tenant_id = tenants.tenant_id and agent_runs.status = 'running'
    ) as running
    cross join lateral (
      select runs.id, runs.priority, runs.created_at
      from ai.agent_runs as runs
      where runs.tenant_id = tenants.tenant_id and runs.status = 'pending'
        -- The limit keeps this from being made a join: it is looked up run by run, in order, until there are enough.
        and runs.id = (
          select first.id
          from ai.agent_runs as first
          where first.tenant_id = runs.tenant_id and first.session_id = runs.session_id and first.status in ('pending', 'running', 'waiting')
          order by first.created_at, first.id
          limit 1
        )
      order by runs.priority desc, runs.created_at, runs.id
      limit greatest(least(due_runs.run_limit, coalesce(tenant_settings.max_running_runs, 20) - running.count), 0)
    ) as waiting
  ),
  ranked as (
    select due.id, due.tenant_id, row_number() over (order by due.turn, due.served_at nulls first, due.created_at, due.id) as place
    from due
  )
  select ranked.id, ranked.tenant_id
  from ranked
  where ranked.place <= due_runs.run_limit
    -- Runs of present tenants may fill the list; the first of another one is on it all the same.
    or ranked.place = (select min(others.place) from ranked as others where others.tenant_id <> all (due_runs.present_tenants))
  order by ranked.place;
end;
$$;

create or replace function private.wake_next_run()
returns trigger
language plpgsql
security definer -- whoever ended the run
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
declare
  next_run uuid;
begin
  if new.status in ('completed', 'failed', 'cancelled') then
    -- The first of its session: if that does not wait to be begun, none of those behind it can be.
    select case when runs.status = 'pending' then runs.id end into next_run
    from ai.agent_runs as runs
    where runs.tenant_id = new.tenant_id and runs.session_id = new.session_id and runs.status in ('pending', 'running', 'waiting')
    order by runs.created_at, runs.id
    limit 1;
  end if;
  if next_run is null and old.status = 'running' then
    select runs.id into next_run
    from ai.agent_runs as runs
    where runs.tenant_id = new.tenant_id and runs.status = 'pending' and runs.id <> new.id
      and runs.id = (
        select first.id
        from ai.agent_runs as first
        where first.tenant_id = runs.tenant_id and first.session_id = runs.session_id and first.status in ('pending', 'running', 'waiting')
        order by first.created_at, first.id
        limit 1
      )
    order by runs.priority desc, runs.created_at, runs.id
    limit 1;
  end if;
  if next_run is not null then
    perform private.enqueue('run_agent', jsonb_build_object('id', next_run), now(), next_run::text);
  end if;
  return null;
end;
$$;

comment on function ai.due_runs(int, uuid[]) is
  'Ledger: runs that can be taken up now, and their tenants: those whose executor''s lease has run out, then pending ones, fairly: the tenant with the fewest running first, of these the one served longest ago; of one tenant those of normal priority before low ones, then the oldest. At most run_limit, and beyond them the first run of a tenant that is not among present_tenants: an executor keeps its last place for such.';
comment on function private.wake_next_run() is
  'Trigger: queues the run that has waited for this one: the next of its session, else the first of the tenant that waits for a place: a normal one before low ones.';
