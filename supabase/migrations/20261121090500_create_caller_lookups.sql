-- What every policy asks. Authority is read from rows at the moment of the statement; header and claims only narrow.
create function private.role_rank(role text)
returns int
language sql
immutable
set search_path = ''
as $$
  select case role when 'owner' then 4 when 'admin' then 3 when 'member' then 2 when 'viewer' then 1 else 0 end;
$$;

comment on function private.role_rank(text) is 'viewer 1 < member 2 < admin 3 < owner 4; anything else 0.';

create function private.tenant_narrowing()
returns uuid[]
language sql
stable
set search_path = ''
as $$
  with requested as (
    select nullif(current_setting('request.headers', true), '')::jsonb ->> 'x-tenant-id' as value
    union all
    select auth.jwt() ->> 'tenant_id'
    union all
    select auth.jwt() -> 'app_metadata' ->> 'tenant_id'
  )
  select coalesce(
    array_agg(
      case
        when requested.value ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then requested.value::uuid
        -- Asked for something that is no tenant: the nil id narrows to nothing instead of being ignored.
        else '00000000-0000-0000-0000-000000000000'::uuid
      end
    ),
    '{}'
  )
  from requested
  where requested.value is not null;
$$;

comment on function private.tenant_narrowing() is
  'Tenants named by the x-tenant-id header, the tenant_id claim and app_metadata.tenant_id. A tenant counts only if it equals all of them; empty when none is given.';

create function private.caller_tenant_ids(minimum_role text default 'viewer')
returns setof uuid
language sql
stable
security definer -- the policy on memberships calls this function; as invoker it would recurse
set search_path = ''
as $$
  select memberships.tenant_id
  from public.memberships
  where memberships.user_id = (select auth.uid())
    and private.role_rank(memberships.role) >= private.role_rank(minimum_role)
    and memberships.tenant_id = all ((select private.tenant_narrowing())::uuid[])
  union all
  select tenant_principals.tenant_id
  from private.tenant_principals
  where tenant_principals.id = (select auth.uid())
    and private.role_rank(minimum_role) <= private.role_rank('admin')
    and tenant_principals.tenant_id = all ((select private.tenant_narrowing())::uuid[]);
$$;

comment on function private.caller_tenant_ids(text) is
  'Ids of the tenants in which the caller holds at least this role right now, narrowed by header and claims. No rows when nobody is signed in.';

create function private.caller_backend_tenant_ids()
returns setof uuid
language sql
stable
security definer -- tenant_principals is readable by nobody
set search_path = ''
as $$
  select tenant_principals.tenant_id
  from private.tenant_principals
  where tenant_principals.id = (select auth.uid())
    and tenant_principals.tenant_id = all ((select private.tenant_narrowing())::uuid[]);
$$;

comment on function private.caller_backend_tenant_ids() is
  'The tenant whose trusted backend the caller is (at most one). Ownership checks inside that tenant do not apply to it.';

create function private.caller_user_id()
returns uuid
language sql
stable
security definer -- tenant_principals is readable by nobody
set search_path = ''
as $$
  select case
    when exists (select from private.tenant_principals where tenant_principals.id = (select auth.uid())) then null
    else (select auth.uid())
  end;
$$;

comment on function private.caller_user_id() is 'The signed-in person, or null for a tenant''s trusted backend and for nobody.';

create function private.caller_principal_ids()
returns uuid[]
language sql
stable
security definer -- group_members has a policy of its own that would be evaluated per row
set search_path = ''
as $$
  select array_agg(principals.id)
  from (
    select (select auth.uid()) as id
    union all
    select group_members.group_id
    from public.group_members
    where group_members.user_id = (select auth.uid())
  ) as principals
  where principals.id is not null;
$$;

comment on function private.caller_principal_ids() is 'The caller''s own id and the ids of the groups they are in: whom a source may be granted to.';

create function private.acting_tenant_id()
returns uuid
language plpgsql
stable
set search_path = ''
as $$
declare
  tenant_ids uuid[] := array(select private.caller_tenant_ids() limit 2);
begin
  if cardinality(tenant_ids) = 1 then
    return tenant_ids[1];
  end if;
  if cardinality(tenant_ids) = 0 then
    perform private.raise_error(403, 'forbidden', 'You are not a member of this tenant.', 'Ask an admin of the tenant for an invitation.');
  end if;
  perform private.raise_error(400, 'tenant_required', 'You are a member of several tenants.', 'Send the x-tenant-id header.');
  return null; -- not reached
end;
$$;

comment on function private.acting_tenant_id() is
  'The one tenant the caller acts in. Raises PT400 tenant_required when header and claims leave several, PT403 when none.';

create function private.is_member(tenant_id uuid, user_id uuid)
returns boolean
language sql
stable
security definer -- asked about other people than the caller
set search_path = ''
as $$
  select exists (
    select from public.memberships
    where memberships.tenant_id = is_member.tenant_id and memberships.user_id = is_member.user_id
  );
$$;

comment on function private.is_member(uuid, uuid) is 'Whether this person is a member of this tenant right now.';

revoke execute on function private.role_rank(text) from public;
revoke execute on function private.tenant_narrowing() from public;
revoke execute on function private.caller_tenant_ids(text) from public;
revoke execute on function private.caller_backend_tenant_ids() from public;
revoke execute on function private.caller_user_id() from public;
revoke execute on function private.caller_principal_ids() from public;
revoke execute on function private.acting_tenant_id() from public;
revoke execute on function private.is_member(uuid, uuid) from public;
grant execute on function private.role_rank(text) to authenticated, service_role;
grant execute on function private.tenant_narrowing() to authenticated, service_role;
grant execute on function private.caller_tenant_ids(text) to authenticated, service_role;
grant execute on function private.caller_backend_tenant_ids() to authenticated, service_role;
grant execute on function private.caller_user_id() to authenticated, service_role;
grant execute on function private.caller_principal_ids() to authenticated, service_role;
grant execute on function private.acting_tenant_id() to authenticated, service_role;
