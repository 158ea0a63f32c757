-- A statement that waits for a row goes on with what it knew before: who was being demoted could wait behind that, and then
-- write the old role back. So the rule of the policies is asked once more, of the roles that the statement has found.
create function private.ask_again_about_roles()
returns trigger
language plpgsql
-- Not definer: the rule is for people and backends, not for the ledger, the auth server and functions of ours.
set search_path = ''
as $$
declare
  caller uuid;
  tenant record;
  caller_role text;
  refused boolean;
begin
  if current_user <> 'authenticated' then
    return null;
  end if;
  caller := auth.uid();
  for tenant in select distinct old_rows.tenant_id as id from old_rows loop
    -- One's own row may be among the changed ones.
    caller_role := coalesce(
      (select old_rows.role from old_rows where old_rows.tenant_id = tenant.id and old_rows.user_id = caller),
      (select memberships.role from public.memberships where memberships.tenant_id = tenant.id and memberships.user_id = caller),
      case when tenant.id = any (array(select private.caller_backend_tenant_ids())) then 'admin' end,
      ''
    );
    if tg_op = 'DELETE' then
      refused := exists (
        select from old_rows
        where old_rows.tenant_id = tenant.id and old_rows.user_id <> caller
          and (caller_role not in ('admin', 'owner') or (caller_role = 'admin' and old_rows.role = 'owner'))
      );
    else
      refused := exists (
        select from old_rows
        join new_rows on new_rows.tenant_id = old_rows.tenant_id and new_rows.user_id = old_rows.user_id
        where old_rows.tenant_id = tenant.id
          and (caller_role not in ('admin', 'owner') or (caller_role = 'admin' and 'owner' in (old_rows.role, new_rows.role)))
      );
    end if;
    if refused then
      perform private.raise_error(403, 'forbidden', 'Your own role has changed meanwhile.', 'Look again who is in the tenant.');
    end if;
  end loop;
  return null;
end;
$$;

comment on function private.ask_again_about_roles() is
  'Trigger after update or delete per statement, old rows as old_rows, new ones as new_rows: the rule of the policies on memberships by the roles of this moment. PT403 forbidden.';

revoke execute on function private.ask_again_about_roles() from public;

create trigger ask_again_about_deleted after delete on public.memberships
referencing old table as old_rows
for each statement execute function private.ask_again_about_roles();
create trigger ask_again_about_updated after update on public.memberships
referencing old table as old_rows new table as new_rows
for each statement execute function private.ask_again_about_roles();
