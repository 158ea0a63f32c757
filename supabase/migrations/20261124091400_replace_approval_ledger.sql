drop function ai.request_approval(uuid, uuid, text, text, jsonb, text, int);

create function ai.request_approval(
  run_id uuid,
  lease_token uuid,
  call_id text,
  tool_name text,
  tool_input jsonb,
  message text,
  timeout_seconds int default null,
  rule jsonb default '{}'
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  run ai.agent_runs;
  approval ai.approvals;
  hash constant text := encode(
    sha256(convert_to(request_approval.tool_name || E'\n' || request_approval.tool_input::text, 'UTF8')), 'hex'
  );
  is_announced boolean := false;
begin
  -- Who cannot be told who may decide must not let anybody.
  if not private.is_approval_rule(coalesce(request_approval.rule, '{}')) then
    perform private.raise_error(400, 'invalid_request', 'The rule of the approval has no known form.', null);
  end if;
  -- Locked: a run that ends meanwhile leaves no approval waiting.
  select * into run
  from ai.agent_runs
  where agent_runs.id = request_approval.run_id and agent_runs.lease_token = request_approval.lease_token
  for no key update;
  if run.id is null then
    return null;
  end if;
  insert into ai.approvals (
    tenant_id, run_id, agent_id, user_id, call_id, tool_name, tool_input, input_hash, message, decider_role, decider_group_id, four_eyes,
    quorum, expires_at
  )
  values (
    run.tenant_id, run.id, run.agent_id, run.user_id, request_approval.call_id, request_approval.tool_name, request_approval.tool_input,
    hash, left(request_approval.message, 2000), rule ->> 'role', (rule ->> 'group_id')::uuid, coalesce((rule ->> 'four_eyes')::boolean, false),
    coalesce((rule ->> 'quorum')::int, 1),
    now() + make_interval(
      secs => least(greatest(coalesce(request_approval.timeout_seconds, (rule ->> 'expires_in_seconds')::int, 604800), 1), 3456000)
    )
  )
  on conflict on constraint approvals_run_id_call_id_key do nothing
  returning * into approval;
  if approval.id is null then
    -- Asked before, by an executor that did not hear the answer or did not wait for it.
    select * into approval
    from ai.approvals
    where approvals.run_id = run.id and approvals.call_id = request_approval.call_id;
    if approval.input_hash <> hash or approval.tool_name <> request_approval.tool_name then
      perform private.raise_error(409, 'conflict', 'An approval was asked for another call of this id.', 'Give every call an id of its own.');
    end if;
    is_announced := exists (
      select from ai.run_events
      where run_events.run_id = run.id and run_events.type = 'approval_requested'
        and run_events.payload ->> 'approval_id' = approval.id::text
    );
  end if;
  return jsonb_build_object(
    'approval_id', approval.id, 'expires_at', approval.expires_at, 'input_hash', approval.input_hash, 'is_announced', is_announced
  );
end;
$$;

comment on function ai.request_approval(uuid, uuid, text, text, jsonb, text, int, jsonb) is
  'Ledger: lets a tool call wait for a person, for timeout_seconds (1 to 3456000: 40 days), else for as long as the rule says, else a week. The rule is one of private.is_approval_rule(). '
  'Returns {approval_id, expires_at, input_hash, is_announced (whether the log tells of it)}, the same for the same call; null when the lease is lost. '
  'PT409 conflict for the id of another call, PT400 invalid_request for another rule.';

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
    select from private.run_calls
    where run_calls.run_id = run and run_calls.call_id = approval.call_id
      and (
        run_calls.finished is not null
        or (run_calls.started is not null and not coalesce(run_calls.is_retry_safe, false) and run_calls.decision is distinct from 'retry')
      )
  ) then
    return jsonb_build_object('status', 'used', 'reason', null);
  end if;
  return jsonb_build_object('status', approval.status, 'reason', approval.reason);
end;
$$;

comment on function ai.approval_outcome(uuid, uuid) is
  'Ledger: {status: pending, approved, denied, expired or used, reason}. An approval is taken by being asked for: from then on it lets this call begin, or begin again where its journal lets it, and is used after that. '
  'One whose time is over becomes expired. Null when the lease of its run is lost.';

create function ai.expire_approvals(max_runs int default 500, run_id uuid default null)
returns int
language plpgsql
set search_path = ''
as $$
declare
  run uuid;
  expired int;
  count int := 0;
begin
  for run in
    select distinct approvals.run_id from ai.approvals
    where approvals.status = 'pending' and approvals.expires_at <= now()
      and (expire_approvals.run_id is null or approvals.run_id = expire_approvals.run_id)
    order by approvals.run_id
    limit least(greatest(coalesce(max_runs, 500), 1), 5000)
  loop
    -- The run first, as everybody does. One that is being worked on is left to the next time, or asks by itself.
    perform from ai.agent_runs where agent_runs.id = run for no key update skip locked;
    continue when not found;
    update ai.approvals set status = 'expired'
    where approvals.run_id = run and approvals.status = 'pending' and approvals.expires_at <= now();
    get diagnostics expired = row_count;
    if expired > 0 then
      perform private.wake_run(run);
    end if;
    count := count + expired;
  end loop;
  return count;
end;
$$;

comment on function ai.expire_approvals(int, uuid) is
  'Ledger: ends approvals whose time is over, of one run or of at most max_runs runs, and wakes the runs that wait for them. Returns how many.';

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
      select from private.run_calls
      where run_calls.run_id = run_is_still_waiting.run_id and run_calls.started is not null and run_calls.finished is null
        and not coalesce(run_calls.is_retry_safe, false) and run_calls.decision is null
    )
    else false
  end;
$$;

comment on function private.run_is_still_waiting(uuid, text) is
  'Whether a run that is about to wait has nothing to go on with: decisions about calls of it are open, and there is none that it has not been told of.';

revoke execute on function ai.request_approval(uuid, uuid, text, text, jsonb, text, int, jsonb) from public, anon, authenticated, service_role;
revoke execute on function ai.expire_approvals(int, uuid) from public, anon, authenticated, service_role;
revoke execute on function private.run_is_still_waiting(uuid, text) from public;
grant execute on function ai.request_approval(uuid, uuid, text, text, jsonb, text, int, jsonb) to service_role;
grant execute on function ai.expire_approvals(int, uuid) to service_role;
grant execute on function private.run_is_still_waiting(uuid, text) to service_role;
