-- By the run alone, a decision went to the oldest call whose time was over as long as no sweep had been by, and nobody could decide about
-- the one that still waits.
create or replace function private.decide_approval(approval_id uuid, run_id text, approved boolean, reason text, input_hash text)
returns jsonb
language plpgsql
security definer -- approvals are written through functions only: one that waits is decided once and changed in no other way
set search_path = ''
as $$
declare
  chosen uuid;
  run uuid;
  approval ai.approvals;
  approvals_given int;
begin
  if decide_approval.approved is null then
    perform private.raise_error(400, 'invalid_request', 'approved must be true or false', null);
  end if;
  if char_length(decide_approval.reason) > 2000 then
    perform private.raise_error(400, 'invalid_request', 'reason may have 2000 characters', null);
  end if;
  if decide_approval.approval_id is not null or decide_approval.run_id is not null then
    select approvals.id, agent_runs.id into chosen, run
    from ai.approvals
    join ai.agent_runs on agent_runs.tenant_id = approvals.tenant_id and agent_runs.id = approvals.run_id
    where (decide_approval.approval_id is null or approvals.id = decide_approval.approval_id)
      and (decide_approval.run_id is null or agent_runs.run_id = decide_approval.run_id)
      and approvals.tenant_id = any (private.caller_tenants())
      and approvals.status = 'pending'
      and approvals.expires_at > clock_timestamp()
      and private.may_decide_approval(approvals)
      and (
        decide_approval.approval_id is not null
        or not exists (
          select from ai.approval_decisions
          where approval_decisions.approval_id = approvals.id and approval_decisions.principal_id = auth.uid()
        )
      )
    order by approvals.created_at, approvals.id
    limit 1;
  end if;
  -- The run first, as everybody does: who suspends it meanwhile either sees this decision or is woken by it.
  perform from ai.agent_runs where agent_runs.id = run for no key update;
  -- Asked again behind the locks: it may have been decided, have expired, or the caller have lost the right while waiting.
  select approvals.* into approval
  from ai.approvals
  join ai.agent_runs on agent_runs.tenant_id = approvals.tenant_id and agent_runs.id = approvals.run_id
  where approvals.id = chosen
    and approvals.status = 'pending'
    and approvals.expires_at > clock_timestamp()
    and agent_runs.status in ('pending', 'running', 'waiting')
    and private.may_decide_approval(approvals)
  for update of approvals;
  if approval.id is null then
    perform private.raise_error(
      404, 'approval_not_found', 'No approval is waiting for your decision.', 'It may have been decided or have expired.'
    );
  end if;
  if decide_approval.input_hash is not null and decide_approval.input_hash <> approval.input_hash then
    perform private.raise_error(409, 'conflict', 'This is not the call you have seen.', 'Look at the approval again.');
  end if;
  insert into ai.approval_decisions (tenant_id, approval_id, principal_id, user_id, approved, reason)
  values (
    approval.tenant_id, approval.id, auth.uid(), private.caller_user_id(), decide_approval.approved, decide_approval.reason
  )
  on conflict on constraint approval_decisions_pkey do nothing;
  if not found then
    perform private.raise_error(409, 'conflict', 'You have decided about this call already.', 'It waits for others.');
  end if;
  -- Who has lost the right since does not count any more.
  select count(*) into approvals_given
  from ai.approval_decisions
  where approval_decisions.approval_id = approval.id and approval_decisions.approved
    and private.is_decider(approval, approval_decisions.principal_id);
  if decide_approval.approved and approvals_given < approval.quorum then
    return jsonb_build_object('status', 'waiting', 'approval_id', approval.id, 'approvals', approvals_given, 'quorum', approval.quorum);
  end if;
  update ai.approvals
  set
    status = case when decide_approval.approved then 'approved' else 'denied' end, reason = decide_approval.reason,
    decided_by = private.caller_user_id(), decided_at = now()
  where approvals.id = approval.id;
  perform private.wake_run(run);
  return jsonb_build_object('status', 'resumed', 'approval_id', approval.id, 'approvals', approvals_given, 'quorum', approval.quorum);
end;
$$;
