create function private.is_interrupted_call(state jsonb)
returns boolean
language sql
immutable
set search_path = ''
as $$
  select coalesce(
    state ? 'started' and not state ? 'finished' and state -> 'decision' is null
    and not coalesce((state -> 'started' ->> 'is_retry_safe')::boolean, false),
    false
  );
$$;

comment on function private.is_interrupted_call(jsonb) is
  'Whether a call, as ai.run_steps.calls has it, has begun, may not simply be repeated, and neither ended nor was decided about.';

revoke execute on function private.is_interrupted_call(jsonb) from public, anon, authenticated, service_role;
grant execute on function private.is_interrupted_call(jsonb) to service_role;

create or replace function private.decide_interrupted_call(run_id text, call_id text, decision text)
returns jsonb
language plpgsql
security definer -- the calls of runs are written through functions only
set search_path = ''
as $$
declare
  run ai.agent_runs;
begin
  if decide_interrupted_call.decision is null or decide_interrupted_call.decision not in ('retry', 'skip', 'fail') then
    perform private.raise_error(400, 'invalid_request', 'decision must be retry, skip or fail', null);
  end if;
  select * into run
  from ai.agent_runs
  where agent_runs.run_id = decide_interrupted_call.run_id
    and (
      agent_runs.tenant_id = any (array(select private.caller_tenant_ids('admin')))
      or (agent_runs.user_id = (select auth.uid()) and agent_runs.tenant_id = any (array(select private.caller_tenant_ids())))
    )
    -- An agent that acts for a person does not decide in their name.
    and (select auth.jwt()) -> 'act' is null
  for no key update;
  if run.status = 'waiting' and run.wait_reason = 'unsafe_call' then
    -- It may have taken effect: making it again is more than was approved, and is for those to say who approved it.
    if decide_interrupted_call.decision = 'retry' and exists (
      select from ai.approvals
      where approvals.tenant_id = run.tenant_id and approvals.run_id = run.id and approvals.call_id = decide_interrupted_call.call_id
        and (approvals.quorum > 1 or not private.is_decider(approvals, (select auth.uid())))
    ) then
      perform private.raise_error(
        403, 'forbidden', 'This call was approved by others, and may have taken effect.', 'Skip it, end the run, or ask who approved it to retry.'
      );
    end if;
    update ai.run_steps
    set calls = jsonb_set(
      run_steps.calls, array[decide_interrupted_call.call_id],
      (run_steps.calls -> decide_interrupted_call.call_id) || jsonb_build_object(
        'decision', decide_interrupted_call.decision, 'decided_by', private.caller_user_id(), 'decided_at', now()
      )
    )
    where run_steps.run_id = run.id and private.is_interrupted_call(run_steps.calls -> decide_interrupted_call.call_id);
    if found then
      if decide_interrupted_call.decision = 'fail' then
        perform private.end_run(run.id, 'failed', 'The run was ended because a tool call was interrupted.', 'interrupted');
        return jsonb_build_object('run_id', run.run_id, 'status', 'failed');
      end if;
      perform private.wake_run(run.id);
      return jsonb_build_object('run_id', run.run_id, 'status', 'pending');
    end if;
  end if;
  perform private.raise_error(404, 'not_found', 'No such interrupted call waits in this run.', 'It may have been decided, or the run may be over.');
  return null; -- not reached
end;
$$;

create or replace function ai.approval_outcome(approval_id uuid, lease_token uuid)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  run uuid;
  approval ai.approvals;
begin
  select agent_runs.id into run
  from ai.approvals
  join ai.agent_runs on agent_runs.tenant_id = approvals.tenant_id and agent_runs.id = approvals.run_id
  where approvals.id = approval_outcome.approval_id and agent_runs.lease_token = approval_outcome.lease_token
  for no key update of agent_runs;
  if run is null then
    return null;
  end if;
  update ai.approvals
  set
    status = case when approvals.status = 'pending' then 'expired' else approvals.status end,
    consumed_at = coalesce(approvals.consumed_at, now())
  where approvals.id = approval_outcome.approval_id and (approvals.status <> 'pending' or approvals.expires_at <= now());
  select approvals.* into approval from ai.approvals where approvals.id = approval_outcome.approval_id;
  -- Good for one beginning of the call. The journal knows whether it began, and whether it may begin again.
  if approval.status = 'approved' and exists (
    select
    from ai.run_steps
    cross join lateral (select run_steps.calls -> approval.call_id as state) as call
    where run_steps.run_id = run
      and (
        call.state ? 'finished'
        or (
          call.state ? 'started' and not coalesce((call.state -> 'started' ->> 'is_retry_safe')::boolean, false)
          and call.state ->> 'decision' is distinct from 'retry'
        )
      )
  ) then
    return jsonb_build_object('status', 'used', 'reason', null);
  end if;
  return jsonb_build_object('status', approval.status, 'reason', approval.reason);
end;
$$;

create or replace function private.run_is_still_waiting(run_id uuid, wait_reason text)
returns boolean
language sql
stable
set search_path = ''
as $$
  select case wait_reason
    when 'approval' then
      exists (
        select from ai.approvals
        where approvals.run_id = run_is_still_waiting.run_id and approvals.status = 'pending' and approvals.expires_at > now()
      )
      and not exists (
        select from ai.approvals
        where approvals.run_id = run_is_still_waiting.run_id
          and (
            (approvals.status = 'pending' and approvals.expires_at <= now())
            or (approvals.status <> 'pending' and approvals.consumed_at is null)
          )
      )
    when 'unsafe_call' then exists (
      select
      from ai.run_steps
      cross join lateral jsonb_each(run_steps.calls) as call
      where run_steps.run_id = run_is_still_waiting.run_id and private.is_interrupted_call(call.value)
    )
    else false
  end;
$$;

create or replace function ai.sweep_run_log(run_limit int default 500)
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
  update ai.agent_runs set log_state = 'removed' where agent_runs.id = any (swept);
  removed := cardinality(swept);

  return jsonb_build_object('folded', folded, 'removed', removed, 'rolled_back', rolled_back);
end;
$$;
