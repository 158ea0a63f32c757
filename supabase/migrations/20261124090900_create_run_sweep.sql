create function ai.due_runs(run_limit int default 20)
returns setof uuid
language sql
stable
set search_path = ''
as $$
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
    select agent_runs.id, 0::bigint as turn, agent_runs.created_at
    from ai.agent_runs
    where agent_runs.status = 'running' and agent_runs.lease_expires_at <= now()
    union all
    select waiting.id, running.count + row_number() over (partition by tenants.tenant_id order by waiting.created_at, waiting.id), waiting.created_at
    from tenants
    left join ai.tenant_settings on tenant_settings.tenant_id = tenants.tenant_id
    cross join lateral (
      select count(*)
      from ai.agent_runs
      where agent_runs.tenant_id = tenants.tenant_id and agent_runs.status = 'running'
    ) as running
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
  )
  select due.id
  from due
  order by due.turn, due.created_at, due.id
  limit greatest(due_runs.run_limit, 0);
$$;

comment on function ai.due_runs(int) is
  'Ledger: runs that can be taken up now: those whose executor''s lease has run out, then pending ones, fairly: the tenant with the fewest running first, then the oldest.';

create function ai.sweep_run_log(run_limit int default 500)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  swept uuid[];
  folded int;
  removed int;
  rolled_back int;
begin
  delete from ai.agent_runs
  where agent_runs.rolled_back and agent_runs.completed_at < now() - interval '5 minutes';
  get diagnostics rolled_back = row_count;

  -- Some minutes are left to those who read along.
  swept := array(
    select agent_runs.id
    from ai.agent_runs
    where agent_runs.log_state = 'open' and agent_runs.completed_at < now() - interval '5 minutes'
    order by agent_runs.completed_at
    limit sweep_run_log.run_limit
    for no key update skip locked
  );
  with deltas as (
    select
      run_events.run_id, run_events.seq, run_events.payload,
      -- Neighbours of one kind have the same number here; a row may have been folded before.
      run_events.type in ('content_delta', 'reasoning_delta') as is_delta,
      run_events.payload - array['delta', 'off', 'from_seq', 'seq', 'ts'] as rest
    from ai.run_events
    where run_events.run_id = any (swept)
  ),
  marked as (
    select
      deltas.*,
      -- The rest has the type in it.
      deltas.is_delta and lag(deltas.rest) over in_order = deltas.rest as is_next
    from deltas
    window in_order as (partition by deltas.run_id order by deltas.seq)
  ),
  grouped as (
    select marked.*, count(*) filter (where marked.is_next is not true) over (partition by marked.run_id order by marked.seq) as part
    from marked
  ),
  folds as (
    select
      grouped.run_id, max(grouped.seq) as seq, min(coalesce((grouped.payload ->> 'from_seq')::int, grouped.seq)) as from_seq,
      string_agg(grouped.payload ->> 'delta', '' order by grouped.seq) as delta,
      (array_agg(grouped.payload -> 'off' order by grouped.seq))[1] as off,
      array_agg(grouped.seq) as seqs
    from grouped
    where grouped.is_delta
    group by grouped.run_id, grouped.part
    having count(*) > 1
  ),
  written as (
    update ai.run_events
    set
      payload = run_events.payload || jsonb_build_object('from_seq', folds.from_seq, 'delta', folds.delta)
        || case when folds.off is null then '{}'::jsonb else jsonb_build_object('off', folds.off) end
    from folds
    where run_events.run_id = folds.run_id and run_events.seq = folds.seq
  )
  delete from ai.run_events
  using folds
  where run_events.run_id = folds.run_id and run_events.seq = any (folds.seqs) and run_events.seq <> folds.seq;
  update ai.agent_runs set log_state = 'folded' where agent_runs.id = any (swept);
  folded := cardinality(swept);

  swept := array(
    select agent_runs.id
    from ai.agent_runs
    left join ai.tenant_settings on tenant_settings.tenant_id = agent_runs.tenant_id
    where agent_runs.log_state = 'folded'
      and agent_runs.completed_at < now() - make_interval(days => coalesce(tenant_settings.run_event_days, 30))
    order by agent_runs.completed_at
    limit sweep_run_log.run_limit
    for no key update of agent_runs skip locked
  );
  delete from ai.run_events where run_events.run_id = any (swept);
  delete from ai.run_steps where run_steps.run_id = any (swept);
  delete from private.run_calls where run_calls.run_id = any (swept);
  update ai.agent_runs set log_state = 'removed' where agent_runs.id = any (swept);
  removed := cardinality(swept);

  return jsonb_build_object('folded', folded, 'removed', removed, 'rolled_back', rolled_back);
end;
$$;

comment on function ai.sweep_run_log(int) is
  'Ledger: folds neighbouring deltas in the logs of runs that have been over for 5 minutes, removes logs whose time (run_event_days) is over, and deletes runs that were rolled back; at most run_limit runs each. '
  'Returns {folded, removed, rolled_back}, in runs.';

revoke execute on function ai.due_runs(int) from public, anon, authenticated, service_role;
revoke execute on function ai.sweep_run_log(int) from public, anon, authenticated, service_role;
grant execute on function ai.due_runs(int) to service_role;
grant execute on function ai.sweep_run_log(int) to service_role;
