-- A service-key call that names a tool or a stored retrieval acts in its tenant, too.
create or replace function private.tenant_of(kind text, resource_id text)
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
  select agent_sessions.tenant_id from ai.agent_sessions where kind = 'session' and agent_sessions.session_id = resource_id
  union all
  select tools.tenant_id from ai.tools where kind = 'tool' and tools.id = (select resource.id from resource)
  union all
  select context_handlers.tenant_id from ai.context_handlers
  where kind = 'context_handler' and context_handlers.id = (select resource.id from resource);
$$;

comment on function ai.resolve_service_tenant(text, text, text, text, uuid) is
  'Ledger: the one tenant a service-key call acts in, and the subject of the token to mint for it: the named user, or the tenant''s backend principal. '
  'kind: agent, source, knowledge_base, indexed_source, tool, context_handler, run (run_...) or session (public id). PT404 not_found, PT400 tenant_required, PT403 forbidden.';
