create function private.create_tenant(name text)
returns public.tenants
language plpgsql
security definer -- nobody can be a member of a tenant that does not exist yet
set search_path = ''
as $$
declare
  caller uuid := private.caller_user_id();
  tenant public.tenants;
begin
  if caller is null then
    perform private.raise_error(403, 'forbidden', 'Only a signed-in person can create a tenant.', 'Sign in first.');
  end if;
  if create_tenant.name is null or char_length(btrim(create_tenant.name)) not between 1 and 200 then
    perform private.raise_error(400, 'invalid_request', 'A tenant needs a name of 1 to 200 characters.', 'Send another name.');
  end if;
  insert into public.tenants (name) values (btrim(create_tenant.name)) returning * into tenant;
  insert into public.memberships (tenant_id, user_id, role) values (tenant.id, caller, 'owner');
  return tenant;
end;
$$;

comment on function private.create_tenant(text) is 'Core of public.create_tenant().';

create function public.create_tenant(name text)
returns public.tenants
language sql
set search_path = ''
as $$
  select private.create_tenant(create_tenant.name);
$$;

comment on function public.create_tenant(text) is
  'Creates a tenant and makes the caller its owner. Returns the tenant. PT400 invalid_request for a bad name, PT403 when nobody is signed in.';

revoke execute on function private.create_tenant(text) from public;
revoke execute on function public.create_tenant(text) from public, anon, authenticated, service_role;
grant execute on function private.create_tenant(text) to authenticated;
grant execute on function public.create_tenant(text) to authenticated;
