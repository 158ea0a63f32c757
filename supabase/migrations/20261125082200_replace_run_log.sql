create or replace function private.write_run_journal(tenant_id uuid, run_id uuid, user_id uuid, journal jsonb)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  got_further boolean := false;
  part record;
  entry jsonb;
  before ai.run_steps;
  after ai.run_steps;
  call jsonb;
begin
  if coalesce(write_run_journal.journal, '[]') = '[]' then
    return false;
  end if;
  if exists (
    select from jsonb_array_elements(write_run_journal.journal) as element (value)
    where coalesce(element.value ->> 'op', '') not in ('turn', 'call_checked', 'call_started', 'call_finished', 'step_done', 'tokens_used')
  ) then
    raise exception 'unknown op in the journal of a run' using errcode = '22023';
  end if;
  -- One row for all that is told of a step at once.
  for part in
    select (element.value ->> 'step')::int as step, jsonb_agg(element.value order by element.place) as entries
    from jsonb_array_elements(write_run_journal.journal) with ordinality as element (value, place)
    where element.value ->> 'op' <> 'tokens_used'
    group by (element.value ->> 'step')::int
    order by min(element.place)
  loop
    select * into before from ai.run_steps where run_steps.run_id = write_run_journal.run_id and run_steps.step = part.step;
    after := before;
    after.calls := coalesce(before.calls, '{}');
    for entry in select element.value from jsonb_array_elements(part.entries) with ordinality as element (value, place) order by element.place loop
      call := coalesce(after.calls -> (entry ->> 'call_id'), '{}');
      case
        when entry ->> 'op' = 'turn' then
          -- That a step has begun is told by its event already, where it has one.
          if after.record is null and (
            entry ->> 'state' is distinct from 'begun' or after.turn is not null
            or private.last_begun_step(write_run_journal.run_id) is distinct from part.step
          ) then
            after.turn := entry;
          end if;
        when entry ->> 'op' = 'step_done' then
          if after.record is null then
            after.record := coalesce(nullif(entry -> 'record', 'null'), '{}');
            after.completed_at := now();
          end if;
          got_further := true;
        when call ? 'finished' then
          null; -- what has ended is not begun again
        when entry ->> 'op' = 'call_finished' then
          after.calls := after.calls || jsonb_build_object(entry ->> 'call_id', call || jsonb_build_object('finished', entry));
        when entry ->> 'op' = 'call_checked' then
          after.calls := after.calls || jsonb_build_object(entry ->> 'call_id', call || jsonb_build_object('checked', entry -> 'checks'));
        else
          -- Begun again: what a person decided about the earlier attempt does not count for another.
          after.calls := after.calls || jsonb_build_object(
            entry ->> 'call_id', (call - array['decision', 'decided_by', 'decided_at']) || jsonb_build_object('started', entry)
          );
      end case;
    end loop;
    if before.run_id is not null then
      if after is distinct from before then
        update ai.run_steps
        set turn = after.turn, calls = after.calls, record = after.record, completed_at = after.completed_at
        where run_steps.run_id = before.run_id and run_steps.step = before.step;
      end if;
    elsif after.turn is not null or after.record is not null or after.calls <> '{}' then
      insert into ai.run_steps (tenant_id, run_id, step, turn, calls, record, completed_at, user_id)
      values (
        write_run_journal.tenant_id, write_run_journal.run_id, part.step, after.turn, after.calls, after.record, after.completed_at,
        write_run_journal.user_id
      );
    end if;
  end loop;
  -- Last: whoever else counts against the same budgets waits for the rest of this transaction only.
  for entry in
    select element.value
    from jsonb_array_elements(write_run_journal.journal) with ordinality as element (value, place)
    where element.value ->> 'op' = 'tokens_used'
    order by element.place
  loop
    perform private.close_reservations(
      array(
        select token_reservations.id
        from private.token_reservations
        where token_reservations.id = (entry ->> 'reservation_id')::uuid and token_reservations.tenant_id = write_run_journal.tenant_id
          and token_reservations.run_id = write_run_journal.run_id
      ),
      nullif(entry -> 'usage', 'null')
    );
  end loop;
  return got_further;
end;
$$;

comment on function private.write_run_journal(uuid, uuid, uuid, jsonb) is
  'Applies entries {op: turn, call_checked, call_started, call_finished or step_done, step, call_id?, checks?, is_retry_safe?, record?, ...} and {op: tokens_used, reservation_id, usage} to a run that the caller has locked; '
  'twice the same is once. One version of one row for each step, however many its entries. Returns whether a step was done. 22023 for an unknown op.';

create or replace function private.end_run(run_id uuid, status text, error text default null, error_code text default null)
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
  select coalesce(
    jsonb_agg(
      jsonb_build_object(
        'step', run_steps.step, 'call_id', call.key,
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
    last_seq = private.write_run_events(run.tenant_id, run.id, run.user_id, previous_seq, previous_seq + 1, ending),
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
