create or replace function private.caller_segment_ids()
returns int[]
language plpgsql
stable
security definer -- the policy on search_segments calls this function
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = on -- the only way to read a GIN index; some who ask have it off
as $$
declare
  caller constant uuid := auth.uid();
  narrowing uuid[];
  tenants uuid[];
  -- As private.caller_principal_ids(), without the call.
  principals uuid[];
begin
  if caller is null then
    return '{}';
  end if;
  narrowing := private.tenant_narrowing();
  tenants := array(
    select memberships.tenant_id from public.memberships where memberships.user_id = caller and memberships.tenant_id = all (narrowing)
  );
  -- A backend is no person and has no memberships.
  if cardinality(tenants) = 0 then
    return array(
      select search_segments.id
      from private.tenant_principals
      join private.search_segments on search_segments.tenant_id = tenant_principals.tenant_id
      where tenant_principals.id = caller and tenant_principals.tenant_id = all (narrowing)
    );
  end if;
  principals := caller || array(select group_members.group_id from public.group_members where group_members.user_id = caller);
  -- One look-up finds them, and the rule of auth_read_chunks has the last word.
  return array(
    select segments.id
    from private.search_segments as segments
    where (case visibility when 'tenant' then array[tenant_id] when 'granted' then owner_id || allowed_principals else array[owner_id] end)
        && (tenants || principals)
      -- `is true`: or the planner would use an index on tenant_id, and read what colleagues have.
      and (segments.tenant_id = any (tenants)) is true
      and (
        segments.visibility = 'tenant'
        or segments.owner_id = caller
        or (segments.visibility = 'granted' and segments.allowed_principals && principals)
      )
  );
end;
$$;
