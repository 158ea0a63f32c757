-- What an agent did, for whom: its runs, the tools it called, the chunks its answers rest on. Events and steps have no entries here:
-- they are a log already, and there are many of them.
create function private.run_actor(tenant_id uuid, run_id uuid)
returns jsonb
language sql
stable
set search_path = ''
as $$
  select jsonb_build_object(
    'actor_id', agent_runs.principal_id,
    'act', jsonb_strip_nulls(jsonb_build_object('sub', 'agent', 'agent_id', agent_runs.agent_id, 'run_id', agent_runs.run_id))
  )
  from ai.agent_runs
  where agent_runs.tenant_id = run_actor.tenant_id and agent_runs.id = run_actor.run_id;
$$;

comment on function private.run_actor(uuid, uuid) is 'Who does what happens in a run: its principal, through its agent. For events that the ledger writes, whose own claims say nothing of them.';

create function private.audit_run()
returns trigger
language plpgsql
security definer -- nobody else may stage events
set search_path = ''
as $$
declare
  detail jsonb := jsonb_strip_nulls(jsonb_build_object('agent_id', new.agent_id, 'user_id', new.user_id));
  context_ids uuid[];
begin
  if tg_op = 'INSERT' then
    context_ids := array(
      select (items.value ->> 'item_id')::uuid
      from jsonb_array_elements(case when jsonb_typeof(new.retrieved_context) = 'array' then new.retrieved_context else '[]' end) with ordinality as items (value, place)
      where pg_input_is_valid(items.value ->> 'item_id', 'uuid')
      order by items.place
      limit 200
    );
    detail := detail || jsonb_build_object('status', new.status) || case
      when context_ids = '{}' then '{}'
      else jsonb_build_object('context_ids', to_jsonb(context_ids))
    end;
    perform private.record_audit(new.tenant_id, 'run.started', 'run', new.id::text, detail, new.id);
  elsif new.status = 'waiting' then
    perform private.record_audit(
      new.tenant_id, 'run.waiting', 'run', new.id::text, detail || jsonb_build_object('wait_reason', new.wait_reason), new.id
    );
  elsif new.status in ('completed', 'failed', 'cancelled') then
    perform private.record_audit(
      new.tenant_id, 'run.' || new.status, 'run', new.id::text,
      detail || jsonb_strip_nulls(jsonb_build_object(
        'error_code', new.error_code, 'prompt_tokens', new.prompt_tokens, 'completion_tokens', new.completion_tokens,
        'total_tokens', new.total_tokens, 'tool_call_count', new.tool_call_count
      )),
      new.id
    );
  else
    perform private.record_audit(new.tenant_id, 'run.cancel_requested', 'run', new.id::text, detail, new.id);
  end if;
  return null;
end;
$$;

comment on function private.audit_run() is
  'Trigger: run.started (with the ids of the chunks it was given, 200 at most), run.waiting, run.completed, run.failed, run.cancelled and run.cancel_requested.';

create trigger audit_started after insert on ai.agent_runs for each row execute function private.audit_run();
-- Not when it is taken up or handed over: that changes nothing for anybody.
create trigger audit_state after update of status on ai.agent_runs
for each row when (old.status <> new.status and new.status in ('waiting', 'completed', 'failed', 'cancelled'))
execute function private.audit_run();
create trigger audit_cancel_request after update of cancel_requested_at on ai.agent_runs
for each row when (old.cancel_requested_at is null and new.cancel_requested_at is not null and new.status in ('pending', 'running'))
execute function private.audit_run();

create trigger audit_deleted after delete on ai.agent_sessions referencing old table as old_rows
for each statement execute function private.audit_deleted('session.deleted', 'session', 'id', 'user_id agent_id');

create function private.audit_call()
returns trigger
language plpgsql
security definer -- nobody else may stage events
set search_path = ''
as $$
declare
  decision constant text := case when tg_op = 'UPDATE' and new.decision is distinct from old.decision then new.decision end;
  approved jsonb;
  detail constant jsonb := jsonb_build_object('call_id', new.call_id, 'step', new.step, 'tool_name', left(new.started ->> 'tool_name', 200));
begin
  if decision is not null then
    perform private.record_audit(
      new.tenant_id, 'call.decided', 'run', new.run_id::text, detail || jsonb_build_object('decision', decision), new.run_id
    );
    return null;
  end if;
  select detail || jsonb_build_object(
    'approval_id', approvals.id,
    'input_hash', encode(
      sha256(convert_to((new.started ->> 'tool_name') || E'\n' || coalesce(new.started -> 'arguments', '{}')::text, 'UTF8')), 'hex'
    )
  )
  into approved
  from ai.approvals
  where approvals.run_id = new.run_id and approvals.call_id = new.call_id and approvals.tenant_id = new.tenant_id;
  perform private.stage_audit(new.tenant_id, jsonb_build_array(
    jsonb_build_object(
      'action', 'tool.called', 'subject_type', 'run', 'subject_id', new.run_id, 'run_id', new.run_id, 'detail', coalesce(approved, detail)
    )
    || coalesce(private.run_actor(new.tenant_id, new.run_id), '{}')
  ));
  return null;
end;
$$;

comment on function private.audit_call() is
  'Trigger: tool.called when a call begins, and when it begins again, one that was approved with the hash of what is called; call.decided when a person decides about an interrupted one.';

create trigger audit_started after insert on private.run_calls
for each row when (new.started is not null) execute function private.audit_call();
create trigger audit_started_again after update of started, decision on private.run_calls
for each row when (
  (new.started is distinct from old.started and new.started is not null) or (new.decision is distinct from old.decision and new.decision is not null)
) execute function private.audit_call();

create function private.audit_citations()
returns trigger
language plpgsql
security definer -- nobody else may stage events
set search_path = ''
as $$
declare
  answer record;
begin
  for answer in
    select
      new_rows.tenant_id, new_rows.run_id, count(*) as citation_count,
      to_jsonb((array_agg(new_rows.item_id order by new_rows.citation_key) filter (where new_rows.item_id is not null))[:200]) as chunk_ids,
      to_jsonb((array_agg(distinct new_rows.source_id) filter (where new_rows.source_id is not null))[:200]) as source_ids
    from new_rows
    group by new_rows.tenant_id, new_rows.run_id
  loop
    perform private.stage_audit(answer.tenant_id, jsonb_build_array(
      jsonb_build_object(
        'action', 'answer.cited', 'subject_type', 'run', 'subject_id', answer.run_id, 'run_id', answer.run_id,
        'detail', jsonb_build_object(
          'citation_count', answer.citation_count, 'chunk_ids', coalesce(answer.chunk_ids, '[]'), 'source_ids', coalesce(answer.source_ids, '[]')
        )
      )
      || coalesce(private.run_actor(answer.tenant_id, answer.run_id), '{}')
    ));
  end loop;
  return null;
end;
$$;

comment on function private.audit_citations() is
  'Trigger after insert per statement, new rows as new_rows: answer.cited, one event per run: which chunks reached the answer (200 at most) and of which sources.';

create trigger audit_inserted after insert on ai.message_citations referencing new table as new_rows
for each statement execute function private.audit_citations();

revoke execute on function private.run_actor(uuid, uuid) from public;
revoke execute on function private.audit_run() from public;
revoke execute on function private.audit_call() from public;
revoke execute on function private.audit_citations() from public;
