-- Who was asked, who said what, and what came of it. tool.called carries the same input_hash: what was approved is what was called.
create function private.audit_approval()
returns trigger
language plpgsql
security definer -- nobody else may stage events
set search_path = ''
as $$
begin
  perform private.record_audit(
    new.tenant_id, 'approval.' || case tg_op when 'INSERT' then 'requested' else new.status end, 'approval', new.id::text,
    jsonb_strip_nulls(jsonb_build_object(
      'call_id', new.call_id, 'tool_name', new.tool_name, 'input_hash', new.input_hash, 'user_id', new.user_id,
      'decider_role', new.decider_role, 'decider_group_id', new.decider_group_id, 'four_eyes', new.four_eyes, 'quorum', new.quorum
    )),
    new.run_id
  );
  return null;
end;
$$;

comment on function private.audit_approval() is 'Trigger: approval.requested, approval.approved, approval.denied and approval.expired. What single people said is approval.decided.';

create trigger audit_requested after insert on ai.approvals for each row execute function private.audit_approval();
create trigger audit_status after update of status on ai.approvals
for each row when (old.status <> new.status) execute function private.audit_approval();

create function private.audit_decision()
returns trigger
language plpgsql
security definer -- nobody else may stage events
set search_path = ''
as $$
begin
  perform private.record_audit(
    new.tenant_id, 'approval.decided', 'approval', new.approval_id::text,
    jsonb_build_object('approved', new.approved, 'principal_id', new.principal_id, 'input_hash', approvals.input_hash), approvals.run_id
  )
  from ai.approvals
  where approvals.tenant_id = new.tenant_id and approvals.id = new.approval_id;
  return null;
end;
$$;

comment on function private.audit_decision() is 'Trigger: approval.decided, for every person who decides.';

create trigger audit_decided after insert on ai.approval_decisions for each row execute function private.audit_decision();

revoke execute on function private.audit_approval() from public;
revoke execute on function private.audit_decision() from public;
