-- Shared by the functions of the ledger and of people. Lock order everywhere: tenant, session, run, then what belongs to the run.
create function private.write_run_events(tenant_id uuid, run_id uuid, user_id uuid, last_seq int, first_seq int, events jsonb)
returns int
language plpgsql
set search_path = ''
as $$
declare
  event_count constant int := jsonb_array_length(coalesce(write_run_events.events, '[]'));
begin
  if event_count = 0 then
    return write_run_events.last_seq;
  end if;
  if write_run_events.first_seq is null or write_run_events.first_seq < 1 or write_run_events.first_seq > write_run_events.last_seq + 1 then
    perform private.raise_error(
      409, 'conflict', format('The next event of this run is number %s.', write_run_events.last_seq + 1), 'Send the events in order, without gaps.'
    );
  end if;
  -- What is there already was sent by a call whose answer got lost.
  insert into ai.run_events (tenant_id, run_id, seq, type, payload, user_id)
  select
    write_run_events.tenant_id, write_run_events.run_id, write_run_events.first_seq + event.place::int - 1, event.value ->> 'type', event.value,
    write_run_events.user_id
  from jsonb_array_elements(write_run_events.events) with ordinality as event (value, place)
  where write_run_events.first_seq + event.place::int - 1 > write_run_events.last_seq
  order by event.place;
  return greatest(write_run_events.last_seq, write_run_events.first_seq + event_count - 1);
end;
$$;

comment on function private.write_run_events(uuid, uuid, uuid, int, int, jsonb) is
  'Adds events to the log of a run that the caller has locked and returns the number of the last. Those with numbers up to last_seq are skipped; PT409 conflict for a gap.';

create function private.write_run_journal(tenant_id uuid, run_id uuid, user_id uuid, journal jsonb)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  entry jsonb;
  got_further boolean := false;
begin
  for entry in select element.value from jsonb_array_elements(coalesce(write_run_journal.journal, '[]')) as element (value) loop
    case entry ->> 'op'
      when 'turn' then
        insert into ai.run_steps (tenant_id, run_id, step, turn, user_id)
        values (write_run_journal.tenant_id, write_run_journal.run_id, (entry ->> 'step')::int, entry, write_run_journal.user_id)
        on conflict on constraint run_steps_pkey do update set turn = excluded.turn
        where run_steps.record is null;
      when 'call_started' then
        insert into private.run_calls (tenant_id, run_id, call_id, step, started, is_retry_safe)
        values (
          write_run_journal.tenant_id, write_run_journal.run_id, entry ->> 'call_id', (entry ->> 'step')::int, entry,
          coalesce((entry ->> 'is_retry_safe')::boolean, false)
        )
        -- Begun again: what a person decided about the earlier attempt does not count for another.
        on conflict on constraint run_calls_pkey do update
        set started = excluded.started, is_retry_safe = excluded.is_retry_safe, decision = null
        where run_calls.finished is null;
      when 'call_finished' then
        insert into private.run_calls (tenant_id, run_id, call_id, step, finished)
        values (write_run_journal.tenant_id, write_run_journal.run_id, entry ->> 'call_id', (entry ->> 'step')::int, entry)
        on conflict on constraint run_calls_pkey do update set finished = excluded.finished
        where run_calls.finished is null;
      when 'step_done' then
        insert into ai.run_steps (tenant_id, run_id, step, record, completed_at, user_id)
        values (
          write_run_journal.tenant_id, write_run_journal.run_id, (entry ->> 'step')::int, coalesce(nullif(entry -> 'record', 'null'), '{}'), now(),
          write_run_journal.user_id
        )
        on conflict on constraint run_steps_pkey do update set record = excluded.record, completed_at = excluded.completed_at
        where run_steps.record is null;
        got_further := true;
      else
        raise exception 'unknown op in the journal of a run: %', coalesce(entry ->> 'op', 'null') using errcode = '22023';
    end case;
  end loop;
  return got_further;
end;
$$;

comment on function private.write_run_journal(uuid, uuid, uuid, jsonb) is
  'Applies entries {op: turn, call_started, call_finished or step_done, step, call_id?, is_retry_safe?, record?, ...} to a run that the caller has locked; twice the same is once. '
  'Returns whether a step was done. 22023 for an unknown op.';

create function private.run_stop(run ai.agent_runs)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  if run.cancel_requested_at is not null then
    return 'cancelled';
  end if;
  if run.user_id is not null then
    if run.principal_id <> run.user_id or not private.is_member(run.tenant_id, run.user_id) then
      return 'membership_lost';
    end if;
  elsif not exists (
    select from private.tenant_principals
    where tenant_principals.tenant_id = run.tenant_id and tenant_principals.id = run.principal_id
  ) then
    return 'membership_lost';
  end if;
  if not exists (
    select from ai.agents
    where agents.tenant_id = run.tenant_id and agents.id = run.agent_id and agents.published
  ) then
    return 'agent_unpublished';
  end if;
  return null;
end;
$$;

comment on function private.run_stop(ai.agent_runs) is
  'Why a run must not go on right now: cancelled, membership_lost or agent_unpublished (or gone); null when it may.';

create function private.run_is_behind(run ai.agent_runs)
returns boolean
language sql
stable
set search_path = ''
as $$
  select exists (
    select from ai.agent_runs as others
    where others.tenant_id = run.tenant_id and others.session_id = run.session_id and others.id <> run.id
      and (others.status in ('running', 'waiting') or (others.status = 'pending' and (others.created_at, others.id) < (run.created_at, run.id)))
  );
$$;

comment on function private.run_is_behind(ai.agent_runs) is 'Whether a pending run has to wait for another of its session: there is at most one at a time.';

create function private.lock_tenant_runs(tenant_id uuid)
returns void
language sql
set search_path = ''
as $$
  select pg_advisory_xact_lock(hashtextextended('runs of ' || lock_tenant_runs.tenant_id::text, 0));
$$;

comment on function private.lock_tenant_runs(uuid) is 'Held to the end of the transaction while a run is begun or taken up: two at once would both find the last free place.';

create function private.has_free_place(tenant_id uuid)
returns boolean
language sql
stable
set search_path = ''
as $$
  select
    (select count(*) from ai.agent_runs where agent_runs.tenant_id = has_free_place.tenant_id and agent_runs.status = 'running')
    < coalesce(
      (select tenant_settings.max_running_runs from ai.tenant_settings where tenant_settings.tenant_id = has_free_place.tenant_id), 20
    );
$$;

comment on function private.has_free_place(uuid) is 'Whether another run of the tenant may be executed now (max_running_runs of ai.tenant_settings, 20 without a row). The caller holds lock_tenant_runs.';

create function private.session_history(tenant_id uuid, session_id uuid)
returns jsonb
language sql
stable
set search_path = ''
as $$
  select coalesce(jsonb_agg(sides.entry order by runs.created_at, runs.id, sides.part), '[]')
  from (
    select agent_runs.id, agent_runs.created_at, agent_runs.input_messages, agent_runs.content
    from ai.agent_runs
    where agent_runs.tenant_id = session_history.tenant_id and agent_runs.session_id = session_history.session_id
      and agent_runs.status = 'completed' and not agent_runs.rolled_back
    order by agent_runs.created_at desc
    limit 50
  ) as runs
  cross join lateral (
    values
      (1, jsonb_build_object('role', 'user', 'content', runs.input_messages -> -1 ->> 'content')),
      (2, jsonb_build_object('role', 'assistant', 'content', runs.content))
  ) as sides (part, entry);
$$;

comment on function private.session_history(uuid, uuid) is
  'The last 50 completed turns of a session as [{role, content}], oldest first; without runs that another took the place of.';

create function private.event_time()
returns text
language sql
stable
set search_path = ''
as $$
  select to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');
$$;

comment on function private.event_time() is 'Now, as events of runs say it: ISO 8601 in UTC with milliseconds.';

create function private.end_run(run_id uuid, status text, error text default null, error_code text default null)
returns boolean
language plpgsql
security definer -- ended by people, by the sweep and by whoever would have taken it up
set search_path = ''
as $$
declare
  run ai.agent_runs;
  public_session_id text;
  usage jsonb;
  step_records jsonb;
  calls jsonb;
  ending jsonb := '[]';
begin
  if end_run.status not in ('failed', 'cancelled') then
    raise exception 'status must be failed or cancelled' using errcode = '22023';
  end if;
  select * into run from ai.agent_runs where agent_runs.id = end_run.run_id for no key update;
  if run.id is null or run.status in ('completed', 'failed', 'cancelled') then
    return false;
  end if;
  select agent_sessions.session_id into public_session_id
  from ai.agent_sessions
  where agent_sessions.tenant_id = run.tenant_id and agent_sessions.id = run.session_id;

  -- What its executors have left behind: nobody else tells.
  select
    jsonb_build_object(
      'prompt_tokens', coalesce(sum((run_steps.turn -> 'usage' ->> 'prompt_tokens')::numeric), 0),
      'completion_tokens', coalesce(sum((run_steps.turn -> 'usage' ->> 'completion_tokens')::numeric), 0),
      'total_tokens', coalesce(sum((run_steps.turn -> 'usage' ->> 'total_tokens')::numeric), 0),
      'reasoning_tokens', coalesce(sum((run_steps.turn -> 'usage' ->> 'reasoning_tokens')::numeric), 0),
      'cached_tokens', coalesce(sum((run_steps.turn -> 'usage' ->> 'cached_tokens')::numeric), 0)
    ),
    coalesce(jsonb_agg(run_steps.record order by run_steps.step) filter (where run_steps.record is not null), '[]')
  into usage, step_records
  from ai.run_steps
  where run_steps.run_id = run.id;
  select coalesce(
    jsonb_agg(
      jsonb_build_object(
        'step', run_calls.step, 'call_id', run_calls.call_id,
        'tool_name', coalesce(run_calls.started ->> 'tool_name', run_calls.finished ->> 'tool_name', ''),
        'arguments', coalesce(run_calls.started -> 'arguments', run_calls.finished -> 'arguments', '{}'),
        'result', coalesce(run_calls.finished ->> 'result', run_calls.finished ->> 'text', ''),
        'is_error', coalesce((run_calls.finished ->> 'is_error')::boolean, false),
        'duration_ms', coalesce((run_calls.finished ->> 'duration_ms')::numeric, 0)
      )
      order by run_calls.step, run_calls.created_at, run_calls.call_id
    ),
    '[]'
  )
  into calls
  from private.run_calls
  where run_calls.run_id = run.id and run_calls.finished is not null;

  if end_run.status = 'failed' then
    ending := jsonb_build_array(jsonb_build_object(
      'event', 'error', 'type', 'error', 'error', end_run.error, 'message', end_run.error, 'code', end_run.error_code,
      'run_id', run.run_id, 'context_handler_id', run.context_handler_id, 'ts', private.event_time()
    ));
  end if;
  ending := ending || jsonb_build_array(
    jsonb_build_object(
      'event', 'complete', 'type', 'complete', 'run_id', run.run_id, 'session_id', public_session_id,
      'context_handler_id', run.context_handler_id, 'content', coalesce(run.content, ''),
      'retrieved_items', case jsonb_typeof(run.retrieved_context) when 'array' then jsonb_array_length(run.retrieved_context) else 0 end, 'is_new_session', run.is_new_session, 'status', end_run.status,
      'steps', jsonb_array_length(step_records),
      'tool_calls', (select coalesce(jsonb_agg(call.value - 'is_error'), '[]') from jsonb_array_elements(calls) as call (value)),
      'usage', usage, 'error', end_run.error, 'provider', run.provider, 'model', run.model, 'ts', private.event_time()
    )
    || case when end_run.error_code is null then '{}'::jsonb else jsonb_build_object('code', end_run.error_code) end
  );

  update ai.agent_runs
  set
    status = end_run.status, content = coalesce(run.content, ''), error = left(end_run.error, 2000), error_code = end_run.error_code,
    steps = case when step_records = '[]' then run.steps else step_records end,
    prompt_tokens = (usage ->> 'prompt_tokens')::int, completion_tokens = (usage ->> 'completion_tokens')::int,
    reasoning_tokens = (usage ->> 'reasoning_tokens')::int, cached_tokens = (usage ->> 'cached_tokens')::int,
    total_tokens = (usage ->> 'total_tokens')::int,
    tool_call_count = jsonb_array_length(calls),
    tool_call_error_count = (select count(*) from jsonb_array_elements(calls) as call (value) where (call.value -> 'is_error')::boolean),
    tool_call_duration_ms_total = (select coalesce(sum((call.value ->> 'duration_ms')::numeric), 0)::bigint from jsonb_array_elements(calls) as call (value)),
    last_seq = private.write_run_events(run.tenant_id, run.id, run.user_id, run.last_seq, run.last_seq + 1, ending),
    wait_reason = null, lease_token = null, lease_expires_at = null, executor = null, completed_at = now()
  where agent_runs.id = run.id;
  insert into ai.tool_call_events (
    tenant_id, agent_run_id, agent_id, user_id, model, tool_name, call_id, status, duration_ms, arguments, result, arguments_preview,
    result_preview, error, step
  )
  select
    run.tenant_id, run.id, run.agent_id, run.user_id, run.model, call.tool_name, call.call_id,
    case when call.is_error then 'error' else 'success' end, call.duration_ms::bigint, call.arguments, left(call.result, 50000),
    left(call.arguments::text, 200), left(call.result, 200), case when call.is_error then left(call.result, 2000) end, call.step
  from jsonb_to_recordset(calls) as call (
    step int, call_id text, tool_name text, arguments jsonb, result text, is_error boolean, duration_ms numeric
  )
  where not exists (
    select from ai.tool_call_events
    where tool_call_events.tenant_id = run.tenant_id and tool_call_events.agent_run_id = run.id and tool_call_events.call_id = call.call_id
  );
  delete from private.run_requests where run_requests.run_id = run.id;
  return true;
end;
$$;

comment on function private.end_run(uuid, text, text, text) is
  'Ends a run that is not over, whoever holds it, as failed or cancelled, with the last events of its log. False when it was over. Locks the run.';

create function private.wake_run(run_id uuid)
returns boolean
language plpgsql
security definer -- whoever made the decision it waited for
set search_path = ''
as $$
declare
  run ai.agent_runs;
begin
  -- Locked before it is looked at: an executor may be about to let it wait.
  select * into run from ai.agent_runs where agent_runs.id = wake_run.run_id for no key update;
  if run.id is null or run.status <> 'waiting' then
    return false;
  end if;
  update ai.agent_runs set status = 'pending', wait_reason = null where agent_runs.id = run.id;
  perform private.enqueue('run_agent', jsonb_build_object('id', run.id), now(), run.id::text);
  return true;
end;
$$;

comment on function private.wake_run(uuid) is
  'Lets a run that waits for a person go on, and queues it. False when it does not wait. Locks the run: whoever locks its approvals, too, locks the run first.';

create function private.request_cancel(run_id uuid)
returns text
language plpgsql
security definer -- the caller was checked by the functions that call this
set search_path = ''
as $$
declare
  run ai.agent_runs;
begin
  select * into run from ai.agent_runs where agent_runs.id = request_cancel.run_id for no key update;
  if run.status = 'running' and run.lease_expires_at > now() then
    update ai.agent_runs set cancel_requested_at = coalesce(agent_runs.cancel_requested_at, now()) where agent_runs.id = run.id;
    return 'running';
  end if;
  -- Nobody works on it who could be told.
  perform private.end_run(run.id, 'cancelled');
  return 'cancelled';
end;
$$;

comment on function private.request_cancel(uuid) is 'Ends a run that nobody executes; of one that is executed its executor is told. Returns cancelled or running.';

create function private.wake_next_run()
returns trigger
language plpgsql
security definer -- whoever ended the run
set search_path = ''
as $$
declare
  next_run uuid;
begin
  if new.status in ('completed', 'failed', 'cancelled') then
    select runs.id into next_run
    from ai.agent_runs as runs
    where runs.tenant_id = new.tenant_id and runs.session_id = new.session_id and runs.status = 'pending'
    order by runs.created_at, runs.id
    limit 1;
  end if;
  if next_run is null and old.status = 'running' then
    select runs.id into next_run
    from ai.agent_runs as runs
    where runs.tenant_id = new.tenant_id and runs.status = 'pending' and runs.id <> new.id and not private.run_is_behind(runs)
    order by runs.created_at, runs.id
    limit 1;
  end if;
  if next_run is not null then
    perform private.enqueue('run_agent', jsonb_build_object('id', next_run), now(), next_run::text);
  end if;
  return null;
end;
$$;

comment on function private.wake_next_run() is 'Trigger: queues the run that has waited for this one: the next of its session, else the oldest of the tenant that waits for a place.';

create trigger wake_next_run after update of status on ai.agent_runs
for each row when (old.status <> new.status and new.status not in ('pending', 'running')) execute function private.wake_next_run();

revoke execute on function private.write_run_events(uuid, uuid, uuid, int, int, jsonb) from public;
revoke execute on function private.write_run_journal(uuid, uuid, uuid, jsonb) from public;
revoke execute on function private.run_stop(ai.agent_runs) from public;
revoke execute on function private.run_is_behind(ai.agent_runs) from public;
revoke execute on function private.lock_tenant_runs(uuid) from public;
revoke execute on function private.has_free_place(uuid) from public;
revoke execute on function private.session_history(uuid, uuid) from public;
revoke execute on function private.event_time() from public;
revoke execute on function private.end_run(uuid, text, text, text) from public;
revoke execute on function private.wake_run(uuid) from public;
revoke execute on function private.request_cancel(uuid) from public;
revoke execute on function private.wake_next_run() from public;
grant execute on function private.write_run_events(uuid, uuid, uuid, int, int, jsonb) to service_role;
grant execute on function private.write_run_journal(uuid, uuid, uuid, jsonb) to service_role;
grant execute on function private.run_stop(ai.agent_runs) to service_role;
grant execute on function private.event_time() to service_role;
grant execute on function private.end_run(uuid, text, text, text) to service_role;
grant execute on function private.wake_run(uuid) to service_role;
