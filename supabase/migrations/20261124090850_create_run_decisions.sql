-- What people decide about runs that are not over.
create function private.cancel_run(run_id text)
returns jsonb
language plpgsql
security definer -- runs are written through functions only
set search_path = ''
as $$
declare
  run ai.agent_runs;
begin
  select * into run
  from ai.agent_runs
  where agent_runs.run_id = cancel_run.run_id
    and (
      (agent_runs.user_id = (select auth.uid()) and agent_runs.tenant_id = any (array(select private.caller_tenant_ids())))
      or agent_runs.tenant_id = any (array(select private.caller_backend_tenant_ids()))
    )
  for no key update;
  if run.id is null then
    perform private.raise_error(404, 'not_found', 'Run not found.', 'Check the id of the run.');
  end if;
  if run.status in ('completed', 'failed', 'cancelled') then
    perform private.raise_error(409, 'run_not_active', 'This run is over.', null, jsonb_build_object('status', run.status));
  end if;
  return jsonb_build_object('run_id', run.run_id, 'status', private.request_cancel(run.id));
end;
$$;

comment on function private.cancel_run(text) is 'Core of ai.cancel_run().';

create function ai.cancel_run(run_id text)
returns jsonb
language sql
set search_path = ''
as $$
  select private.cancel_run(run_id);
$$;

comment on function ai.cancel_run(text) is
  'Cancels a run (run_...) of the caller. Returns {run_id, status}: cancelled at once when nobody executes it, else running, until its executor has heard of it. '
  'PT404 not_found, PT409 run_not_active when it is over.';

create function private.decide_interrupted_call(run_id text, call_id text, decision text)
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
    update private.run_calls
    set decision = decide_interrupted_call.decision, decided_by = private.caller_user_id(), decided_at = now()
    where run_calls.run_id = run.id and run_calls.call_id = decide_interrupted_call.call_id
      and run_calls.started is not null and not run_calls.is_retry_safe and run_calls.finished is null and run_calls.decision is null;
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

comment on function private.decide_interrupted_call(text, text, text) is 'Core of ai.decide_interrupted_call().';

create function ai.decide_interrupted_call(run_id text, call_id text, decision text)
returns jsonb
language sql
set search_path = ''
as $$
  select private.decide_interrupted_call(run_id, call_id, decision);
$$;

comment on function ai.decide_interrupted_call(text, text, text) is
  'Decides, once, about a tool call that was interrupted and may not simply be repeated: retry, skip (the model is told) or fail (the run ends). By the person of the run or an admin, never by an agent. '
  'Returns {run_id, status: pending or failed}. PT404 not_found for everybody else and when none waits, PT400 invalid_request, PT403 forbidden for a retry of a call '
  'that was approved by others than the caller could.';

revoke execute on function private.cancel_run(text) from public;
revoke execute on function private.decide_interrupted_call(text, text, text) from public;
revoke execute on function ai.cancel_run(text) from public, anon, authenticated, service_role;
revoke execute on function ai.decide_interrupted_call(text, text, text) from public, anon, authenticated, service_role;
grant execute on function private.cancel_run(text) to authenticated;
grant execute on function private.decide_interrupted_call(text, text, text) to authenticated;
grant execute on function ai.cancel_run(text) to authenticated;
grant execute on function ai.decide_interrupted_call(text, text, text) to authenticated;
