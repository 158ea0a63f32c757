create function private.tenant_of(kind text, resource_id text)
returns setof uuid
language sql
stable
security definer -- the ledger asks before it knows for whom
set search_path = ''
as $$
  with resource as (
    select case when resource_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then resource_id::uuid end as id
  )
  select agents.tenant_id from ai.agents where kind = 'agent' and agents.id = (select resource.id from resource)
  union all
  select sources.tenant_id from ai.sources where kind = 'source' and sources.id = (select resource.id from resource)
  union all
  select knowledge_bases.tenant_id from ai.knowledge_bases
  where kind = 'knowledge_base' and knowledge_bases.id = (select resource.id from resource)
  union all
  select indexed_sources.tenant_id from ai.indexed_sources
  where kind = 'indexed_source' and indexed_sources.id = (select resource.id from resource)
  union all
  select agent_runs.tenant_id from ai.agent_runs where kind = 'run' and agent_runs.run_id = resource_id
  union all
  select agent_sessions.tenant_id from ai.agent_sessions where kind = 'session' and agent_sessions.session_id = resource_id;
$$;

comment on function private.tenant_of(text, text) is 'Tenants that hold a resource of this kind and id: none, one, or (session ids are unique per tenant) several.';

create function ai.resolve_service_tenant(
  kind text default null,
  resource_id text default null,
  tenant_header text default null,
  default_tenant text default null,
  act_as_user uuid default null
)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  holders uuid[];
  named text := lower(nullif(resolve_service_tenant.tenant_header, ''));
  tenant uuid;
  subject uuid;
begin
  if resolve_service_tenant.kind is not null then
    holders := array(select private.tenant_of(resolve_service_tenant.kind, resolve_service_tenant.resource_id));
    if cardinality(holders) > 1 then
      named := coalesce(named, lower(nullif(resolve_service_tenant.default_tenant, '')));
      if named is null then
        perform private.raise_error(400, 'tenant_required', 'Several tenants hold this id.', 'Send the x-tenant-id header, or set BULKHEAD_DEFAULT_TENANT.');
      end if;
    end if;
    -- Absent, and of another tenant than the one named, look alike.
    select holder into tenant from unnest(holders) as holder where named is null or holder::text = named;
    if tenant is null then
      perform private.raise_error(404, 'not_found', initcap(replace(resolve_service_tenant.kind, '_', ' ')) || ' not found', 'Check its id.');
    end if;
  else
    select tenants.id into tenant
    from public.tenants
    where tenants.id::text = coalesce(named, lower(nullif(resolve_service_tenant.default_tenant, '')));
    if tenant is null and named is null and nullif(resolve_service_tenant.default_tenant, '') is null then
      select case when count(*) = 1 then (array_agg(tenants.id))[1] end into tenant
      from (select tenants.id from public.tenants limit 2) as tenants;
    end if;
    if tenant is null then
      perform private.raise_error(400, 'tenant_required', 'The tenant of this call cannot be told.', 'Send the x-tenant-id header, or set BULKHEAD_DEFAULT_TENANT.');
    end if;
  end if;

  if resolve_service_tenant.act_as_user is not null then
    if not private.is_member(tenant, resolve_service_tenant.act_as_user) then
      perform private.raise_error(403, 'forbidden', 'x-act-as-user names nobody in this tenant.', 'Name a member of the tenant.');
    end if;
    subject := resolve_service_tenant.act_as_user;
  else
    select tenant_principals.id into subject from private.tenant_principals where tenant_principals.tenant_id = tenant;
  end if;
  return jsonb_build_object('tenant_id', tenant, 'sub', subject);
end;
$$;

comment on function ai.resolve_service_tenant(text, text, text, text, uuid) is
  'Ledger: the one tenant a service-key call acts in, and the subject of the token to mint for it: the named user, or the tenant''s backend principal. '
  'kind: agent, source, knowledge_base, indexed_source, run (run_...) or session (public id). PT404 not_found, PT400 tenant_required, PT403 forbidden.';

revoke execute on function private.tenant_of(text, text) from public;
revoke execute on function ai.resolve_service_tenant(text, text, text, text, uuid) from public, anon, authenticated, service_role;
grant execute on function private.tenant_of(text, text) to service_role;
grant execute on function private.is_member(uuid, uuid) to service_role;
grant select on table private.tenant_principals to service_role;
grant execute on function ai.resolve_service_tenant(text, text, text, text, uuid) to service_role;
