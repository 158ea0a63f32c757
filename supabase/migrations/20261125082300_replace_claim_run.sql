create or replace function private.claim_run(run_id uuid, executor text, lease_seconds int)
returns jsonb
language plpgsql
security definer -- budgets and places are counted over what no executor may read
set search_path = ''
as $$
declare
  -- Of executors that died without getting any further.
  most_attempts constant int := 10;
  run ai.agent_runs;
  session ai.agent_sessions;
  stop text;
begin
  select * into run from ai.agent_runs where agent_runs.id = claim_run.run_id;
  if run.id is null or not (run.status = 'pending' or (run.status = 'running' and run.lease_expires_at <= now())) then
    return null;
  end if;
  perform private.lock_tenant_runs(run.tenant_id);
  select * into session
  from ai.agent_sessions
  where agent_sessions.tenant_id = run.tenant_id and agent_sessions.id = run.session_id
  for no key update;
  select * into run from ai.agent_runs where agent_runs.id = claim_run.run_id for no key update;
  if run.id is null or not (run.status = 'pending' or (run.status = 'running' and run.lease_expires_at <= now())) then
    return null;
  end if;

  stop := private.run_stop(run);
  if stop = 'cancelled' then
    perform private.end_run(run.id, 'cancelled');
    return null;
  elsif stop = 'membership_lost' then
    perform private.end_run(run.id, 'failed', 'The person this run acts for is not in the tenant any more.', stop);
    return null;
  elsif stop is not null then
    perform private.end_run(run.id, 'failed', 'The agent of this run is not published any more.', stop);
    return null;
  end if;
  if run.attempts >= most_attempts or not exists (select from private.run_requests where run_requests.run_id = run.id) then
    perform private.end_run(run.id, 'failed', 'The run was interrupted.', 'interrupted');
    return null;
  end if;
  if run.status = 'pending' then
    if private.run_is_behind(run) or not private.has_free_place(run.tenant_id) then
      return null;
    end if;
    begin
      perform private.check_budget(run.tenant_id, run.user_id, run.agent_id);
    exception when sqlstate 'PT402' then
      perform private.end_run(run.id, 'failed', sqlerrm, 'insufficient_credits');
      return null;
    end;
  end if;

  update ai.agent_runs
  set
    status = 'running', lease_token = gen_random_uuid(),
    lease_expires_at = now() + make_interval(secs => least(greatest(claim_run.lease_seconds, 1), 600)),
    executor = left(claim_run.executor, 200), last_seq = private.last_event(agent_runs.id), attempts = agent_runs.attempts + 1, started_at = coalesce(agent_runs.started_at, now())
  where agent_runs.id = run.id
  returning * into run;

  return jsonb_build_object(
    'id', run.id, 'run_id', run.run_id, 'session_id', session.session_id, 'session_uuid', session.id, 'is_new_session', run.is_new_session,
    'lease_token', run.lease_token, 'tenant_id', run.tenant_id, 'user_id', run.user_id, 'agent_id', run.agent_id,
    'principal_id', run.principal_id,
    'request', (select run_requests.request from private.run_requests where run_requests.run_id = run.id),
    'streams', run.streams, 'history', private.session_history(run.tenant_id, run.session_id),
    'retrieved_context', run.retrieved_context, 'context_handler_id', run.context_handler_id,
    'last_seq', run.last_seq, 'attempts', run.attempts, 'is_resumed', run.last_seq > 0,
    'usage', private.run_usage(run.id),
    'steps', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object(
            'step', steps.step, 'turn', steps.turn, 'record', steps.record,
            'calls', (
              select coalesce(
                jsonb_agg(
                  jsonb_build_object(
                    'call_id', call.key, 'started', call.value -> 'started',
                    'is_retry_safe', coalesce((call.value -> 'started' ->> 'is_retry_safe')::boolean, false),
                    'finished', call.value -> 'finished', 'decision', call.value -> 'decision', 'checked', call.value -> 'checked'
                  )
                  order by call.key
                ),
                '[]'
              )
              from jsonb_each(steps.calls) as call
            )
          )
          order by steps.step
        ),
        '[]'
      )
      from (
        select run_steps.step, run_steps.turn, run_steps.record, run_steps.calls
        from ai.run_steps
        where run_steps.run_id = run.id
        union all
        -- Its event is all there is of a step that has only begun.
        select begun.step, jsonb_build_object('op', 'turn', 'step', begun.step, 'state', 'begun'), null, '{}'
        from private.last_begun_step(run.id) as begun (step)
        where begun.step > coalesce((select max(run_steps.step) from ai.run_steps where run_steps.run_id = run.id), 0)
      ) as steps
    )
  );
end;
$$;

comment on function ai.claim_run(uuid, text, int) is
  'Ledger: takes up a run that is pending, or whose executor''s lease has run out, for lease_seconds (1 to 600). Null when there is nothing to take up: the run is over, waits for a person, is held, '
  'is behind another of its session, or the tenant has no free place. A run that must not go on is ended instead: cancelled, or failed with membership_lost, agent_unpublished, '
  'insufficient_credits or interrupted (after 10 attempts that got no further). Returns {id, run_id, session_id, session_uuid, is_new_session, lease_token, tenant_id, user_id, agent_id, principal_id, request, '
  'streams, history, retrieved_context, context_handler_id, last_seq, attempts, is_resumed, usage (of all its executors, the calls of dead ones estimated), '
  'steps: [{step, turn, record, calls: [{call_id, started, is_retry_safe, finished, decision, checked}]}]}.';
