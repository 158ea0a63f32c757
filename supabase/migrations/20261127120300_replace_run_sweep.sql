-- Runs that were rolled back are removed in the order of locks of 20261127120200, at most run_limit of them at a time like the rest.
create or replace function ai.sweep_run_log(run_limit int default 500)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  swept uuid[];
  outdated uuid[];
  folded int;
  removed int;
  rolled_back int;
begin
  -- A run goes after its conversation is held, and only where nobody else is at one of them: this waits for nothing, so it is part of no circle.
  swept := array(
    select agent_runs.id
    from ai.agent_runs
    where agent_runs.rolled_back and agent_runs.completed_at < now() - interval '5 minutes'
    order by agent_runs.completed_at
    limit sweep_run_log.run_limit
  );
  swept := private.hold_chats_of_runs(swept, false);
  delete from ai.agent_runs
  where agent_runs.id = any (
    array(
      select agent_runs.id
      from ai.agent_runs
      where agent_runs.id = any (swept) and agent_runs.rolled_back
      for update skip locked
    )
  );
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
  folded := cardinality(swept);

  outdated := array(
    select agent_runs.id
    from ai.agent_runs
    left join ai.tenant_settings on tenant_settings.tenant_id = agent_runs.tenant_id
    where (agent_runs.log_state = 'folded' or agent_runs.id = any (swept))
      and agent_runs.completed_at < now() - make_interval(days => coalesce(tenant_settings.run_event_days, 30))
    order by agent_runs.completed_at
    limit sweep_run_log.run_limit
    for no key update of agent_runs skip locked
  );
  delete from ai.run_events where run_events.run_id = any (outdated);
  delete from ai.run_steps where run_steps.run_id = any (outdated);
  -- Each row once: the second change of a row in one transaction locks all that it refers to.
  update ai.agent_runs
  set log_state = case when agent_runs.id = any (outdated) then 'removed' else 'folded' end
  where agent_runs.id = any (swept || outdated);
  removed := cardinality(outdated);

  return jsonb_build_object('folded', folded, 'removed', removed, 'rolled_back', rolled_back);
end;
$$;
