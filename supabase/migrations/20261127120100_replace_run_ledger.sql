-- A run names the model that has answered. Until its first step has ended that is the one that was asked for; a fallback model takes its
-- place in the run, in `complete` and in the calls that it wrote, as it does in the steps and in what was used.
-- And ending a run changes its row once: the second change of a row in one transaction locks all that it refers to, the session and the question
-- too, and whoever deletes those has locked them and waits for the run.
create function private.read_run_trace(run ai.agent_runs, trace jsonb)
returns ai.agent_runs
language plpgsql
stable
set search_path = ''
as $$
begin
  run.steps := coalesce(nullif(trace -> 'steps', 'null'), '[]');
  run.events := coalesce(nullif(trace -> 'events', 'null'), '[]');
  run.reasoning_steps := coalesce(nullif(trace -> 'reasoning_steps', 'null'), '[]');
  run.model := coalesce(run.steps -> -1 ->> 'model', run.model);
  select
    count(*), count(*) filter (where (call.value -> 'is_error')::boolean), coalesce(sum((call.value ->> 'duration_ms')::numeric), 0)::bigint
  into run.tool_call_count, run.tool_call_error_count, run.tool_call_duration_ms_total
  from jsonb_array_elements(coalesce(nullif(trace -> 'tool_calls', 'null'), '[]')) as call (value);
  return run;
end;
$$;

comment on function private.read_run_trace(ai.agent_runs, jsonb) is
  'The run with what its trace {steps, events, reasoning_steps, tool_calls} says about it: those, the model of the last step, and how many calls there were.';

create function private.write_tool_calls(run ai.agent_runs, tool_calls jsonb)
returns void
language plpgsql
set search_path = ''
set enable_seqscan = off
as $$
begin
  delete from ai.tool_call_events where tool_call_events.tenant_id = run.tenant_id and tool_call_events.agent_run_id = run.id;
  insert into ai.tool_call_events (
    tenant_id, agent_run_id, agent_id, user_id, model, tool_name, call_id, status, duration_ms, arguments, result, arguments_preview,
    result_preview, error, step, occurred_at
  )
  select
    run.tenant_id, run.id, run.agent_id, run.user_id, coalesce(call.model, step.model, run.model), call.tool_name, call.call_id,
    case when call.is_error then 'error' else 'success' end, coalesce(call.duration_ms, 0)::bigint, coalesce(call.arguments, '{}'),
    left(call.result, 50000), left(call.arguments::text, 200), left(call.result, 200),
    case when call.is_error then left(call.result, 2000) end, call.step, coalesce(call.occurred_at, now())
  from jsonb_to_recordset(coalesce(nullif(write_tool_calls.tool_calls, 'null'), '[]')) as call (
    step int, call_id text, tool_name text, model text, arguments jsonb, result text, is_error boolean, duration_ms numeric,
    occurred_at timestamptz
  )
  left join lateral (
    select record.value ->> 'model' as model
    from jsonb_array_elements(run.steps) as record (value)
    where (record.value ->> 'step')::int = call.step
    limit 1
  ) as step on true;
end;
$$;

comment on function private.write_tool_calls(ai.agent_runs, jsonb) is
  'Writes the calls of a run as ai.tool_call_events, in place of those before: each with the model of its step.';

revoke execute on function private.read_run_trace(ai.agent_runs, jsonb) from public, anon, authenticated, service_role;
revoke execute on function private.write_tool_calls(ai.agent_runs, jsonb) from public, anon, authenticated, service_role;
-- Called by functions of the ledger, which run with the secret key's rights.
grant execute on function private.read_run_trace(ai.agent_runs, jsonb) to service_role;
grant execute on function private.write_tool_calls(ai.agent_runs, jsonb) to service_role;

create or replace function ai.record_run_trace(
  run_id uuid,
  lease_token uuid,
  steps jsonb,
  events jsonb,
  reasoning_steps jsonb,
  tool_calls jsonb
)
returns boolean
language plpgsql
set search_path = ''
set enable_seqscan = off
as $$
declare
  run ai.agent_runs;
begin
  select * into run
  from ai.agent_runs
  where agent_runs.id = record_run_trace.run_id and agent_runs.lease_token = record_run_trace.lease_token
  for no key update;
  if run.id is null then
    return false;
  end if;
  run := private.read_run_trace(
    run, jsonb_build_object(
      'steps', record_run_trace.steps, 'events', record_run_trace.events, 'reasoning_steps', record_run_trace.reasoning_steps,
      'tool_calls', record_run_trace.tool_calls
    )
  );
  update ai.agent_runs
  set
    steps = run.steps, events = run.events, reasoning_steps = run.reasoning_steps, model = run.model, tool_call_count = run.tool_call_count,
    tool_call_error_count = run.tool_call_error_count, tool_call_duration_ms_total = run.tool_call_duration_ms_total
  where agent_runs.id = run.id;
  perform private.write_tool_calls(run, record_run_trace.tool_calls);
  return true;
end;
$$;

comment on column ai.agent_runs.model is
  'The model that answered: of the last step. While none has ended, the one that was asked for.';

create or replace function private.end_run(run_id uuid, status text, error text default null, error_code text default null)
returns boolean
language plpgsql
security definer -- ended by people, by the sweep and by whoever would have taken it up
set search_path = ''
set enable_seqscan = off
as $$
declare
  run ai.agent_runs;
  public_session_id text;
  usage jsonb;
  step_records jsonb;
  calls jsonb;
  ending jsonb := '[]';
  previous_seq int;
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

  -- What its executors have left behind: nobody else tells. First what they have not settled, so that it is counted.
  perform private.close_run_reservations(run.id);
  usage := private.run_usage(run.id);
  select coalesce(jsonb_agg(run_steps.record order by run_steps.step) filter (where run_steps.record is not null), '[]')
  into step_records
  from ai.run_steps
  where run_steps.run_id = run.id;
  run.model := coalesce(step_records -> -1 ->> 'model', run.model);
  select coalesce(
    jsonb_agg(
      jsonb_build_object(
        'step', run_steps.step, 'call_id', call.key, 'model', coalesce(run_steps.turn ->> 'model', run.model),
        'tool_name', coalesce(call.value -> 'started' ->> 'tool_name', call.value -> 'finished' ->> 'tool_name', ''),
        'arguments', coalesce(call.value -> 'started' -> 'arguments', call.value -> 'finished' -> 'arguments', '{}'),
        'result', coalesce(call.value -> 'finished' ->> 'result', call.value -> 'finished' ->> 'text', ''),
        'is_error', coalesce((call.value -> 'finished' ->> 'is_error')::boolean, false),
        'duration_ms', coalesce((call.value -> 'finished' ->> 'duration_ms')::numeric, 0)
      )
      order by run_steps.step, (call.value -> 'finished' ->> 'at')::int, call.key
    ),
    '[]'
  )
  into calls
  from ai.run_steps
  cross join lateral jsonb_each(run_steps.calls) as call
  where run_steps.run_id = run.id and call.value ? 'finished';
  previous_seq := private.last_event(run.id);

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
      'tool_calls', (select coalesce(jsonb_agg(call.value - array['is_error', 'model']), '[]') from jsonb_array_elements(calls) as call (value)),
      'usage', usage, 'error', end_run.error, 'provider', run.provider, 'model', run.model, 'ts', private.event_time()
    )
    || case when end_run.error_code is null then '{}'::jsonb else jsonb_build_object('code', end_run.error_code) end
  );

  update ai.agent_runs
  set
    status = end_run.status, model = run.model, content = coalesce(run.content, ''), error = left(end_run.error, 2000), error_code = end_run.error_code,
    steps = case when step_records = '[]' then run.steps else step_records end,
    prompt_tokens = (usage ->> 'prompt_tokens')::int, completion_tokens = (usage ->> 'completion_tokens')::int,
    reasoning_tokens = (usage ->> 'reasoning_tokens')::int, cached_tokens = (usage ->> 'cached_tokens')::int,
    total_tokens = (usage ->> 'total_tokens')::int,
    tool_call_count = jsonb_array_length(calls),
    tool_call_error_count = (select count(*) from jsonb_array_elements(calls) as call (value) where (call.value -> 'is_error')::boolean),
    tool_call_duration_ms_total = (select coalesce(sum((call.value ->> 'duration_ms')::numeric), 0)::bigint from jsonb_array_elements(calls) as call (value)),
    last_seq = private.write_run_events(run.tenant_id, run.id, run.user_id, previous_seq, previous_seq + 1, ending),
    wait_reason = null, lease_token = null, lease_expires_at = null, executor = null, completed_at = now()
  where agent_runs.id = run.id;
  insert into ai.tool_call_events (
    tenant_id, agent_run_id, agent_id, user_id, model, tool_name, call_id, status, duration_ms, arguments, result, arguments_preview,
    result_preview, error, step
  )
  select
    run.tenant_id, run.id, run.agent_id, run.user_id, call.model, call.tool_name, call.call_id,
    case when call.is_error then 'error' else 'success' end, call.duration_ms::bigint, call.arguments, left(call.result, 50000),
    left(call.arguments::text, 200), left(call.result, 200), case when call.is_error then left(call.result, 2000) end, call.step
  from jsonb_to_recordset(calls) as call (
    step int, call_id text, tool_name text, model text, arguments jsonb, result text, is_error boolean, duration_ms numeric
  )
  where not exists (
    select from ai.tool_call_events
    where tool_call_events.tenant_id = run.tenant_id and tool_call_events.agent_run_id = run.id and tool_call_events.call_id = call.call_id
  );
  delete from private.run_requests where run_requests.run_id = run.id;
  return true;
end;
$$;

create or replace function ai.finish_run(
  run_id uuid,
  lease_token uuid,
  status text,
  content text,
  usage jsonb default '{}',
  error text default null,
  error_code text default null,
  citations jsonb default '[]',
  invalid_citation_count int default 0,
  output_messages jsonb default null,
  first_seq int default null,
  events jsonb default '[]',
  journal jsonb default '[]',
  trace jsonb default null
)
returns boolean
language plpgsql
set search_path = ''
set enable_seqscan = off
as $$
declare
  run ai.agent_runs;
  new_last_seq int;
begin
  if finish_run.status not in ('completed', 'failed', 'cancelled') then
    raise exception 'status must be completed, failed or cancelled' using errcode = '22023';
  end if;
  select * into run
  from ai.agent_runs
  where agent_runs.id = finish_run.run_id and agent_runs.lease_token = finish_run.lease_token
  for no key update;
  if run.id is null then
    return false;
  end if;
  new_last_seq := private.write_run_events(run.tenant_id, run.id, run.user_id, private.last_event(run.id), finish_run.first_seq, finish_run.events);
  perform private.write_run_journal(run.tenant_id, run.id, run.user_id, finish_run.journal);
  if jsonb_typeof(finish_run.trace) = 'object' then
    run := private.read_run_trace(run, finish_run.trace);
    perform private.write_tool_calls(run, finish_run.trace -> 'tool_calls');
  end if;
  -- A log ends with `complete`, whoever wrote it.
  if not exists (
    select from ai.run_events
    where run_events.run_id = run.id and run_events.seq = new_last_seq and run_events.type = 'complete'
  ) then
    new_last_seq := private.write_run_events(
      run.tenant_id, run.id, run.user_id, new_last_seq, new_last_seq + 1,
      jsonb_build_array(jsonb_build_object(
        'event', 'complete', 'type', 'complete', 'run_id', run.run_id,
        'session_id', (
          select agent_sessions.session_id
          from ai.agent_sessions
          where agent_sessions.tenant_id = run.tenant_id and agent_sessions.id = run.session_id
        ),
        'context_handler_id', run.context_handler_id, 'content', coalesce(finish_run.content, ''),
        'retrieved_items', case jsonb_typeof(run.retrieved_context) when 'array' then jsonb_array_length(run.retrieved_context) else 0 end, 'is_new_session', run.is_new_session, 'status', finish_run.status,
        'steps', jsonb_array_length(run.steps), 'tool_calls', '[]'::jsonb, 'usage', coalesce(finish_run.usage, '{}'),
        'error', finish_run.error, 'provider', run.provider, 'model', run.model, 'ts', private.event_time()
      ))
    );
  end if;
  update ai.agent_runs
  set
    status = finish_run.status, model = run.model, steps = run.steps, events = run.events, reasoning_steps = run.reasoning_steps,
    tool_call_count = run.tool_call_count, tool_call_error_count = run.tool_call_error_count,
    tool_call_duration_ms_total = run.tool_call_duration_ms_total,
    content = finish_run.content, error = left(finish_run.error, 2000), error_code = finish_run.error_code,
    prompt_tokens = (finish_run.usage ->> 'prompt_tokens')::int, completion_tokens = (finish_run.usage ->> 'completion_tokens')::int,
    reasoning_tokens = (finish_run.usage ->> 'reasoning_tokens')::int, cached_tokens = (finish_run.usage ->> 'cached_tokens')::int,
    total_tokens = (finish_run.usage ->> 'total_tokens')::int, invalid_citation_count = finish_run.invalid_citation_count,
    output_messages = coalesce(
      finish_run.output_messages, jsonb_build_array(jsonb_build_object('role', 'assistant', 'content', finish_run.content))
    ),
    last_seq = new_last_seq, lease_token = null, lease_expires_at = null, executor = null, completed_at = now()
  where agent_runs.id = run.id;
  insert into ai.message_citations (tenant_id, run_id, user_id, citation_key, item_id, source_id, text_excerpt, meta)
  select
    run.tenant_id, run.id, run.user_id, citation.citation_key, citation.item_id, sources.id, left(coalesce(citation.text_excerpt, ''), 300),
    coalesce(citation.meta, '{}')
  from jsonb_to_recordset(finish_run.citations) as citation (
    citation_key int, item_id uuid, source_id uuid, text_excerpt text, meta jsonb
  )
  -- A source that is gone by now, or was never this tenant's, leaves the citation without a source.
  left join ai.sources on sources.tenant_id = run.tenant_id and sources.id = citation.source_id;
  delete from private.run_requests where run_requests.run_id = run.id;
  return true;
end;
$$;

create or replace function ai.suspend_run(
  run_id uuid,
  lease_token uuid,
  first_seq int,
  events jsonb,
  journal jsonb,
  wait_reason text
)
returns text
language plpgsql
set search_path = ''
set enable_seqscan = off
as $$
declare
  run ai.agent_runs;
  new_last_seq int;
  new_status text;
begin
  if suspend_run.wait_reason not in ('approval', 'unsafe_call') then
    raise exception 'wait_reason must be approval, unsafe_call or null' using errcode = '22023';
  end if;
  if suspend_run.events @> '[{"type": "complete"}]' then
    raise exception 'complete is written with the end of the run, by finish_run' using errcode = '22023';
  end if;
  -- Locked: who decides meanwhile waits, and finds the run waiting.
  select * into run
  from ai.agent_runs
  where agent_runs.id = suspend_run.run_id and agent_runs.lease_token = suspend_run.lease_token
  for no key update;
  if run.id is null then
    return null;
  end if;
  new_last_seq := private.write_run_events(run.tenant_id, run.id, run.user_id, private.last_event(run.id), suspend_run.first_seq, suspend_run.events);
  perform private.write_run_journal(run.tenant_id, run.id, run.user_id, suspend_run.journal);
  if run.cancel_requested_at is not null then
    -- It finds the end of the log by itself.
    perform private.end_run(run.id, 'cancelled');
    return null;
  end if;
  new_status := case
    when private.run_is_still_waiting(run.id, suspend_run.wait_reason) then 'waiting'
    else 'pending'
  end;
  update ai.agent_runs
  set
    status = new_status, wait_reason = case when new_status = 'waiting' then suspend_run.wait_reason end, last_seq = new_last_seq,
    lease_token = null, lease_expires_at = null, executor = null,
    -- Given to the queue before anything was done: it has not started.
    started_at = case when new_last_seq > 0 then agent_runs.started_at end,
    -- Put down in good order, not dropped.
    attempts = case when new_status = 'waiting' or suspend_run.wait_reason is null then 0 else agent_runs.attempts end
  where agent_runs.id = run.id;
  if new_status = 'pending' then
    perform private.enqueue('run_agent', jsonb_build_object('id', run.id), now(), run.id::text);
  end if;
  return new_status;
end;
$$;
