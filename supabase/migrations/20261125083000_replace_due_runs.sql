-- Asked at each look of each executor: in PL/pgSQL its plan is kept by the session, which takes a tenth of the time of making it anew.
-- It says whose each run is, so that an executor can keep its last place for a tenant that has none there.
drop function ai.due_runs(int, uuid[]);

create function ai.due_runs(run_limit int default 20, present_tenants uuid[] default null)
returns table (id uuid, tenant_id uuid)
language plpgsql
stable
set search_path = ''
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
      waiting.id, tenants.tenant_id, running.count + row_number() over (partition by tenants.tenant_id order by waiting.created_at, waiting.id),
      last_start.served_at, waiting.created_at
    from tenants
    left join ai.tenant_settings on tenant_settings.tenant_id = tenants.tenant_id
    cross join lateral (
      select count(*)
      from ai.agent_runs
      where agent_runs.tenant_id = tenants.tenant_id and agent_runs.status = 'running'
    ) as running
    cross join lateral (
      select max(agent_runs.started_at) as served_at
      from ai.agent_runs
      where agent_runs.tenant_id = tenants.tenant_id and agent_runs.started_at is not null
    ) as last_start
    cross join lateral (
      select runs.id, runs.created_at
      from ai.agent_runs as runs
      where runs.tenant_id = tenants.tenant_id and runs.status = 'pending'
        and not exists (
          select from ai.agent_runs as others
          where others.tenant_id = runs.tenant_id and others.session_id = runs.session_id and others.id <> runs.id
            and (
              others.status in ('running', 'waiting')
              or (others.status = 'pending' and (others.created_at, others.id) < (runs.created_at, runs.id))
            )
        )
      order by runs.created_at, runs.id
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

comment on function ai.due_runs(int, uuid[]) is
  'Ledger: runs that can be taken up now, and their tenants: those whose executor''s lease has run out, then pending ones, fairly: the tenant with the fewest running first, of these the one served longest ago, then the oldest. At most run_limit, and beyond them the first run of a tenant that is not among present_tenants: an executor keeps its last place for such.';

revoke execute on function ai.due_runs(int, uuid[]) from public, anon, authenticated, service_role;
grant execute on function ai.due_runs(int, uuid[]) to service_role;
