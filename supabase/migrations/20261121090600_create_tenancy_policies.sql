grant select on table public.tenants to authenticated;
grant update (name) on table public.tenants to authenticated;
grant delete on table public.tenants to authenticated;
grant select, insert, update, delete on table public.tenants to service_role;

create policy "members read their tenants" on public.tenants
for select to authenticated
using (id = any (array(select private.caller_tenant_ids())));

create policy "admins rename their tenants" on public.tenants
for update to authenticated
using (id = any (array(select private.caller_tenant_ids('admin'))))
with check (id = any (array(select private.caller_tenant_ids('admin'))));

create policy "owners delete their tenants" on public.tenants
for delete to authenticated
using (id = any (array(select private.caller_tenant_ids('owner'))));

grant select on table public.memberships to authenticated;
grant update (role) on table public.memberships to authenticated;
grant delete on table public.memberships to authenticated;
grant select, insert, update, delete on table public.memberships to service_role;

create policy "members see who else is in their tenants" on public.memberships
for select to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids())));

create policy "admins change roles below owner, owners all" on public.memberships
for update to authenticated
using (
  tenant_id = any (array(select private.caller_tenant_ids('owner')))
  or (role <> 'owner' and tenant_id = any (array(select private.caller_tenant_ids('admin'))))
)
with check (
  tenant_id = any (array(select private.caller_tenant_ids('owner')))
  or (role <> 'owner' and tenant_id = any (array(select private.caller_tenant_ids('admin'))))
);

create policy "people leave, admins remove those below owner, owners all" on public.memberships
for delete to authenticated
using (
  tenant_id = any (array(select private.caller_tenant_ids()))
  and (
    user_id = (select auth.uid())
    or tenant_id = any (array(select private.caller_tenant_ids('owner')))
    or (role <> 'owner' and tenant_id = any (array(select private.caller_tenant_ids('admin'))))
  )
);

grant select, delete on table public.invitations to authenticated;
grant insert (tenant_id, email, role, expires_at) on table public.invitations to authenticated;
grant select, insert, update, delete on table public.invitations to service_role;

create policy "admins see the invitations of their tenants" on public.invitations
for select to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids('admin'))));

create policy "admins invite below owner, owners all" on public.invitations
for insert to authenticated
with check (
  invited_by = (select auth.uid())
  and (
    tenant_id = any (array(select private.caller_tenant_ids('owner')))
    or (role <> 'owner' and tenant_id = any (array(select private.caller_tenant_ids('admin'))))
  )
);

create policy "admins withdraw invitations" on public.invitations
for delete to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids('admin'))));

grant select, delete on table public.groups to authenticated;
grant insert (tenant_id, name) on table public.groups to authenticated;
grant update (name) on table public.groups to authenticated;
grant select, insert, update, delete on table public.groups to service_role;

create policy "members see the groups of their tenants" on public.groups
for select to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids())));

create policy "admins create groups" on public.groups
for insert to authenticated
with check (tenant_id = any (array(select private.caller_tenant_ids('admin'))));

create policy "admins rename groups" on public.groups
for update to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids('admin'))))
with check (tenant_id = any (array(select private.caller_tenant_ids('admin'))));

create policy "admins delete groups" on public.groups
for delete to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids('admin'))));

grant select, delete on table public.group_members to authenticated;
grant insert (tenant_id, group_id, user_id) on table public.group_members to authenticated;
grant select, insert, update, delete on table public.group_members to service_role;

create policy "members see who is in the groups of their tenants" on public.group_members
for select to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids())));

create policy "admins add people to groups" on public.group_members
for insert to authenticated
with check (tenant_id = any (array(select private.caller_tenant_ids('admin'))));

create policy "admins take people out of groups" on public.group_members
for delete to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids('admin'))));
