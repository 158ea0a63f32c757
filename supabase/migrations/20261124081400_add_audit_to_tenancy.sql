-- Who belongs to a tenant, as what, and who brought them in. No names and no e-mail addresses.
create function private.audit_tenant()
returns trigger
language plpgsql
security definer -- nobody else may stage events
set search_path = ''
as $$
begin
  if tg_op = 'UPDATE' then
    perform private.record_audit(new.id, 'tenant.renamed', 'tenant', new.id::text);
  else
    perform private.record_audit(
      coalesce(new.id, old.id), case tg_op when 'INSERT' then 'tenant.created' else 'tenant.deleted' end, 'tenant', coalesce(new.id, old.id)::text
    );
  end if;
  return null;
end;
$$;

comment on function private.audit_tenant() is 'Trigger: tenant.created, tenant.renamed, and tenant.deleted, which is the last row of a chain.';

revoke execute on function private.audit_tenant() from public;

create trigger audit_tenant after insert or delete on public.tenants for each row execute function private.audit_tenant();
create trigger audit_tenant_name after update of name on public.tenants
for each row when (old.name <> new.name) execute function private.audit_tenant();

create trigger audit_inserted after insert on public.memberships referencing new table as new_rows
for each statement execute function private.audit_inserted('membership.added', 'membership', 'user_id', 'role');
create trigger audit_updated after update of role on public.memberships
for each row when (old.role <> new.role) execute function private.audit_updated('membership.role_changed', 'membership', 'user_id', '', 'role');
create trigger audit_deleted after delete on public.memberships referencing old table as old_rows
for each statement execute function private.audit_deleted('membership.removed', 'membership', 'user_id', 'role');

create trigger audit_inserted after insert on public.invitations referencing new table as new_rows
for each statement execute function private.audit_inserted('invitation.created', 'invitation', 'id', 'role expires_at');
create trigger audit_updated after update of accepted_at on public.invitations
for each row when (old.accepted_at is null and new.accepted_at is not null) execute function private.audit_updated('invitation.accepted', 'invitation', 'id', 'role', '');
create trigger audit_deleted after delete on public.invitations referencing old table as old_rows
for each statement execute function private.audit_deleted('invitation.deleted', 'invitation', 'id', 'role');

create trigger audit_inserted after insert on public.groups referencing new table as new_rows
for each statement execute function private.audit_inserted('group.created', 'group', 'id', '');
create trigger audit_updated after update on public.groups
for each row execute function private.audit_updated('group.updated', 'group', 'id', '', '');
create trigger audit_deleted after delete on public.groups referencing old table as old_rows
for each statement execute function private.audit_deleted('group.deleted', 'group', 'id', '');
create trigger audit_inserted after insert on public.group_members referencing new table as new_rows
for each statement execute function private.audit_inserted('group.member_added', 'group', 'group_id', 'user_id');
create trigger audit_deleted after delete on public.group_members referencing old table as old_rows
for each statement execute function private.audit_deleted('group.member_removed', 'group', 'group_id', 'user_id');
