-- What every policy asks, in PL/pgSQL: its plans are kept for the session, while those of a SQL function that is not inlined
-- are made anew by every statement. The answers are the same; statements under several policies get several times cheaper.
-- enable_seqscan is off wherever a table of all tenants is read: a scan would do work in proportion to what others have.

-- A look-up by person must not be served by an index that begins with something else; the foreign key is, by user_id.
drop index public.group_members_tenant_id_user_id_idx;

create or replace function private.tenant_narrowing()
returns uuid[]
language plpgsql
stable
set search_path = ''
as $$
declare
  claims constant jsonb := auth.jwt();
  headers constant text := nullif(current_setting('request.headers', true), '');
  requested constant text[] := array_remove(
    array[
      case when headers is not null then headers::jsonb ->> 'x-tenant-id' end,
      claims ->> 'tenant_id',
      claims -> 'app_metadata' ->> 'tenant_id'
    ],
    null
  );
  narrowing uuid[] := '{}';
  value text;
begin
  foreach value in array requested loop
    narrowing := narrowing || case
      when value ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then value::uuid
      -- Asked for something that is no tenant: the nil id narrows to nothing instead of being ignored.
      else '00000000-0000-0000-0000-000000000000'::uuid
    end;
  end loop;
  return narrowing;
end;
$$;

create function private.caller_tenants(minimum_role text default 'viewer')
returns uuid[]
language plpgsql
stable
security definer -- the policy on memberships calls this function; as invoker it would recurse
set search_path = ''
set enable_seqscan = off
as $$
declare
  caller constant uuid := auth.uid();
  narrowing constant uuid[] := private.tenant_narrowing();
  -- In place of role_rank(), which a plan cannot inline: the same order.
  roles constant text[] := case minimum_role
    when 'viewer' then array['viewer', 'member', 'admin', 'owner']
    when 'member' then array['member', 'admin', 'owner']
    when 'admin' then array['admin', 'owner']
    when 'owner' then array['owner']
    else '{}'
  end;
begin
  if caller is null then
    return '{}';
  end if;
  return array(
    select memberships.tenant_id
    from public.memberships
    where memberships.user_id = caller
      and memberships.role = any (roles)
      and memberships.tenant_id = all (narrowing)
    union all
    select tenant_principals.tenant_id
    from private.tenant_principals
    where tenant_principals.id = caller
      and 'admin' = any (roles)
      and tenant_principals.tenant_id = all (narrowing)
  );
end;
$$;

comment on function private.caller_tenants(text) is
  'Ids of the tenants in which the caller holds at least this role right now, narrowed by header and claims. Empty when nobody is signed in, and for a role that does not exist.';

revoke execute on function private.caller_tenants(text) from public;
grant execute on function private.caller_tenants(text) to authenticated, service_role;

create or replace function private.caller_tenant_ids(minimum_role text default 'viewer')
returns setof uuid
language plpgsql
stable
security definer -- the policy on memberships calls this function; as invoker it would recurse
rows 2
set search_path = ''
as $$
begin
  return query select unnest(private.caller_tenants(minimum_role));
end;
$$;

create or replace function private.caller_backend_tenant_ids()
returns setof uuid
language plpgsql
stable
security definer -- tenant_principals is readable by nobody
rows 1
set search_path = ''
set enable_seqscan = off
as $$
declare
  caller constant uuid := auth.uid();
begin
  if caller is null then
    return;
  end if;
  return query
    select tenant_principals.tenant_id
    from private.tenant_principals
    where tenant_principals.id = caller and tenant_principals.tenant_id = all (private.tenant_narrowing());
end;
$$;

create or replace function private.caller_user_id()
returns uuid
language plpgsql
stable
security definer -- tenant_principals is readable by nobody
set search_path = ''
set enable_seqscan = off
as $$
declare
  caller constant uuid := auth.uid();
begin
  if exists (select from private.tenant_principals where tenant_principals.id = caller) then
    return null;
  end if;
  return caller;
end;
$$;

create or replace function private.caller_principal_ids()
returns uuid[]
language plpgsql
stable
security definer -- group_members has a policy of its own that would be evaluated per row
set search_path = ''
set enable_seqscan = off
as $$
declare
  caller constant uuid := auth.uid();
begin
  if caller is null then
    return null;
  end if;
  return caller || array(select group_members.group_id from public.group_members where group_members.user_id = caller);
end;
$$;
