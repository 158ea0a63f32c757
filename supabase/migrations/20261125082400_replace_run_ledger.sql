create or replace function ai.append_run_events(
  run_id uuid,
  lease_token uuid,
  first_seq int,
  events jsonb,
  journal jsonb default '[]',
  lease_seconds int default 10
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  run ai.agent_runs;
  new_last_seq int;
  got_further boolean;
  lease constant interval := make_interval(secs => least(greatest(append_run_events.lease_seconds, 1), 600));
begin
  if append_run_events.events @> '[{"type": "complete"}]' then
    raise exception 'complete is written with the end of the run, by finish_run' using errcode = '22023';
  end if;
  select * into run
  from ai.agent_runs
  where agent_runs.id = append_run_events.run_id and agent_runs.lease_token = append_run_events.lease_token
  for no key update;
  if run.id is null then
    return jsonb_build_object('held', false, 'last_seq', null, 'stop', null);
  end if;
  new_last_seq := private.write_run_events(run.tenant_id, run.id, run.user_id, private.last_event(run.id), append_run_events.first_seq, append_run_events.events);
  got_further := private.write_run_journal(run.tenant_id, run.id, run.user_id, append_run_events.journal);
  -- The lock has kept everybody else away; a version of the run is written only when there is something to write in it.
  if run.lease_expires_at < now() + lease * 2 / 3 or (got_further and run.attempts <> 1) then
    update ai.agent_runs
    set last_seq = new_last_seq, lease_expires_at = now() + lease, attempts = case when got_further then 1 else agent_runs.attempts end
    where agent_runs.id = run.id;
  end if;
  return jsonb_build_object('held', true, 'last_seq', new_last_seq, 'stop', private.run_stop(run));
end;
$$;

comment on function ai.append_run_events(uuid, uuid, int, jsonb, jsonb, int) is
  'Ledger: adds events [{event, type, ...}] to the log of a run, the first with the number first_seq, applies the journal in the same transaction, and renews the lease for lease_seconds once a third of them is used up. '
  'Sent again, nothing is written twice. Returns {held, last_seq, stop: null, cancelled, membership_lost or agent_unpublished}; held false: the lease is lost and nothing was written. '
  'PT409 conflict for a gap, 22023 for an unknown op and for the event complete. journal: [{op: turn, step, ...}, {op: call_started, step, call_id, is_retry_safe, ...}, {op: call_finished, step, call_id, ...}, {op: step_done, step, record}, {op: call_checked, step, call_id, checks}, {op: tokens_used, reservation_id, usage}].';

create or replace function ai.beat_run(run_id uuid, lease_token uuid, lease_seconds int default 10)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  run ai.agent_runs;
  lease constant interval := make_interval(secs => least(greatest(beat_run.lease_seconds, 1), 600));
begin
  select * into run
  from ai.agent_runs
  where agent_runs.id = beat_run.run_id and agent_runs.lease_token = beat_run.lease_token;
  if run.id is not null and run.lease_expires_at < now() + lease * 2 / 3 then
    -- Compared again: it may have been taken over since it was read.
    update ai.agent_runs set lease_expires_at = now() + lease, last_seq = private.last_event(agent_runs.id)
    where agent_runs.id = beat_run.run_id and agent_runs.lease_token = beat_run.lease_token
    returning * into run;
  end if;
  if run.id is null then
    return jsonb_build_object('held', false, 'last_seq', null, 'stop', null);
  end if;
  return jsonb_build_object('held', true, 'last_seq', private.last_event(run.id), 'stop', private.run_stop(run));
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
    update ai.agent_runs set last_seq = new_last_seq where agent_runs.id = run.id;
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

drop function ai.finish_run(uuid, uuid, text, text, jsonb, text, text, jsonb, int, jsonb, int, jsonb, jsonb);

create function ai.finish_run(
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
    perform ai.record_run_trace(
      run.id, run.lease_token, trace -> 'steps', trace -> 'events', trace -> 'reasoning_steps', trace -> 'tool_calls'
    );
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
    status = finish_run.status, content = finish_run.content, error = left(finish_run.error, 2000), error_code = finish_run.error_code,
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

comment on function ai.finish_run(uuid, uuid, text, text, jsonb, text, text, jsonb, int, jsonb, int, jsonb, jsonb, jsonb) is
  'Ledger: ends a run with its answer, usage (tokens), citations [{citation_key, item_id, source_id, text_excerpt, meta}] last events and trace {steps, events, reasoning_steps, tool_calls} as record_run_trace takes it, all at once; a log that does not end with complete '
  'gets that event. False when the lease is lost or the run has ended. PT409 conflict for a gap between the events.';

revoke execute on function ai.finish_run(uuid, uuid, text, text, jsonb, text, text, jsonb, int, jsonb, int, jsonb, jsonb, jsonb) from public, anon, authenticated, service_role;
grant execute on function ai.finish_run(uuid, uuid, text, text, jsonb, text, text, jsonb, int, jsonb, int, jsonb, jsonb, jsonb) to service_role;
