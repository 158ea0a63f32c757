-- The calls of a step are in one row now: the trigger finds those that have begun or were decided about.
create function private.audit_calls()
returns trigger
language plpgsql
security definer -- nobody else may stage events
set search_path = ''
as $$
declare
  call record;
  detail jsonb;
begin
  for call in
    select
      states.key as id, states.value as state,
      case when tg_op = 'UPDATE' then coalesce(old.calls -> states.key, '{}') else '{}' end as before
    from jsonb_each(new.calls) as states
    order by states.key
  loop
    detail := jsonb_build_object('call_id', call.id, 'step', new.step, 'tool_name', left(call.state -> 'started' ->> 'tool_name', 200));
    if call.state ? 'decision' and call.state -> 'decision' is distinct from call.before -> 'decision' then
      perform private.record_audit(
        new.tenant_id, 'call.decided', 'run', new.run_id::text, detail || jsonb_build_object('decision', call.state ->> 'decision'), new.run_id
      );
    elsif call.state ? 'started' and call.state -> 'started' is distinct from call.before -> 'started' then
      detail := detail || coalesce(
        (
          select jsonb_build_object(
            'approval_id', approvals.id,
            'input_hash', encode(
              sha256(convert_to((call.state -> 'started' ->> 'tool_name') || E'\n' || coalesce(call.state -> 'started' -> 'arguments', '{}')::text, 'UTF8')),
              'hex'
            )
          )
          from ai.approvals
          where approvals.run_id = new.run_id and approvals.call_id = call.id and approvals.tenant_id = new.tenant_id
        ),
        '{}'
      );
      perform private.stage_audit(new.tenant_id, jsonb_build_array(
        jsonb_build_object(
          'action', 'tool.called', 'subject_type', 'run', 'subject_id', new.run_id, 'run_id', new.run_id, 'detail', detail
        )
        || coalesce(private.run_actor(new.tenant_id, new.run_id), '{}')
      ));
    end if;
  end loop;
  return null;
end;
$$;

comment on function private.audit_calls() is
  'Trigger: tool.called when a call begins, and when it begins again, one that was approved with the hash of what is called; call.decided when a person decides about an interrupted one.';

revoke execute on function private.audit_calls() from public, anon, authenticated, service_role;

create trigger audit_calls after insert on ai.run_steps
for each row when (new.calls <> '{}') execute function private.audit_calls();
create trigger audit_changed_calls after update of calls on ai.run_steps
for each row when (new.calls is distinct from old.calls) execute function private.audit_calls();
