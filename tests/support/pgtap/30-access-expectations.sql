-- Who may do what: one line per table, verb and group of principals. Read it as the specification of the policies.
-- Tenant A is Harbor Logistics, of which viewer, member, admin and owner have these roles; `backend` is its service
-- principal. `other` is a member of tenant B, `outsider` is signed in and in no tenant. For select, update and delete the
-- expectation names the rows (see 20-world.sql); '!42501' means the statement is refused, 'nothing' that it finds no row.
create or replace function tests.access_expectations()
returns table (relation text, verb text, principal text, expected text)
language sql
immutable
as $$
  with lines (relation, verbs, principals, expected) as (
    values
      -- Tenancy
      ('public.tenants', 'select', 'outsider', 'nothing'),
      ('public.tenants', 'select', 'other', 'b'),
      ('public.tenants', 'select', 'viewer member admin owner backend', 'a'),
      ('public.tenants', 'insert into a|insert into b', 'outsider other viewer member admin owner backend', '!42501'),
      ('public.tenants', 'update', 'outsider other viewer member', 'nothing'),
      ('public.tenants', 'update', 'admin owner backend', 'a'),
      ('public.tenants', 'delete', 'outsider other viewer member admin backend', 'nothing'),
      ('public.tenants', 'delete', 'owner', 'a'),

      ('public.memberships', 'select', 'outsider', 'nothing'),
      ('public.memberships', 'select', 'other', 'b:b_member b:b_owner b:both'),
      ('public.memberships', 'select', 'viewer member admin owner backend', 'a:admin a:both a:member a:owner a:viewer'),
      ('public.memberships', 'insert into a|insert into b', 'outsider other viewer member admin owner backend', '!42501'),
      ('public.memberships', 'update', 'outsider other viewer member', 'nothing'),
      ('public.memberships', 'update', 'admin owner backend', 'a:admin a:both a:member a:viewer'),
      ('public.memberships', 'delete', 'outsider', 'nothing'),
      ('public.memberships', 'delete', 'other', 'b:b_member'),
      ('public.memberships', 'delete', 'viewer', 'a:viewer'),
      ('public.memberships', 'delete', 'member', 'a:member'),
      ('public.memberships', 'delete', 'admin owner backend', 'a:admin a:both a:member a:viewer'),

      ('public.invitations', 'select', 'outsider other viewer member', 'nothing'),
      ('public.invitations', 'select', 'admin owner', 'a'),
      ('public.invitations', 'insert into a', 'outsider other viewer member', '!42501'),
      ('public.invitations', 'insert into a', 'admin owner', 'ok'),
      ('public.invitations', 'insert into b', 'outsider other viewer member admin owner', '!42501'),
      ('public.invitations', 'update', 'outsider other viewer member admin owner backend', '!42501'),
      ('public.invitations', 'delete', 'outsider other viewer member', 'nothing'),
      ('public.invitations', 'delete', 'admin owner', 'a'),
      -- The backend is no person who could be named as inviter.
      ('public.invitations', 'select|delete', 'backend', 'a'),
      ('public.invitations', 'insert into a', 'backend', '!23503'),
      ('public.invitations', 'insert into b', 'backend', '!42501'),

      ('public.groups', 'select', 'outsider', 'nothing'),
      ('public.groups', 'select', 'other', 'b'),
      ('public.groups', 'select', 'viewer member admin owner backend', 'a'),
      ('public.groups', 'insert into a', 'outsider other viewer member', '!42501'),
      ('public.groups', 'insert into a', 'admin owner backend', 'ok'),
      ('public.groups', 'insert into b', 'outsider other viewer member admin owner backend', '!42501'),
      ('public.groups', 'update|delete', 'outsider other viewer member', 'nothing'),
      ('public.groups', 'update|delete', 'admin owner backend', 'a'),

      ('public.group_members', 'select', 'outsider', 'nothing'),
      ('public.group_members', 'select', 'other', 'b'),
      ('public.group_members', 'select', 'viewer member admin owner backend', 'a'),
      ('public.group_members', 'insert into a', 'outsider other viewer member', '!42501'),
      ('public.group_members', 'insert into a', 'admin owner backend', 'ok'),
      ('public.group_members', 'insert into b', 'outsider other viewer member admin owner backend', '!42501'),
      ('public.group_members', 'update', 'outsider other viewer member admin owner backend', '!42501'),
      ('public.group_members', 'delete', 'outsider other viewer member', 'nothing'),
      ('public.group_members', 'delete', 'admin owner backend', 'a'),

      -- Sources and what hangs on them. Private sources are their owner's alone: not the admin's, not the tenant owner's.
      ('ai.sources', 'select', 'outsider', 'nothing'),
      ('ai.sources', 'select', 'other', 'b_found b_named b_open'),
      ('ai.sources', 'select', 'viewer', 'a_demoted a_found a_open a_team'),
      ('ai.sources', 'select', 'member', 'a_found a_named a_open a_secret'),
      ('ai.sources', 'select', 'admin', 'a_boss a_found a_named a_open a_team'),
      ('ai.sources', 'select', 'owner', 'a_found a_open'),
      ('ai.sources', 'select', 'backend', 'a_boss a_demoted a_found a_left a_named a_open a_secret a_team'),
      ('ai.sources', 'insert into a|insert into b', 'outsider other viewer member admin owner backend', '!42501'),
      ('ai.sources', 'update|delete', 'outsider viewer', 'nothing'),
      ('ai.sources', 'update|delete', 'other', 'b_open'),
      ('ai.sources', 'update|delete', 'member', 'a_open a_secret'),
      ('ai.sources', 'update|delete', 'admin', 'a_boss a_found a_named a_open a_team'),
      ('ai.sources', 'update|delete', 'owner', 'a_found a_open'),
      ('ai.sources', 'update|delete', 'backend', 'a_boss a_demoted a_found a_left a_named a_open a_secret a_team'),

      ('ai.source_grants', 'select', 'outsider owner', 'nothing'),
      ('ai.source_grants', 'select', 'other', 'b_named'),
      ('ai.source_grants', 'select', 'viewer', 'a_team'),
      ('ai.source_grants', 'select', 'member', 'a_named'),
      ('ai.source_grants', 'select', 'admin backend', 'a_named a_team'),
      ('ai.source_grants', 'insert into a', 'outsider other viewer', '!42501'),
      ('ai.source_grants', 'insert into a', 'member admin owner backend', 'ok'),
      ('ai.source_grants', 'insert into b', 'outsider viewer member admin owner backend', '!42501'),
      ('ai.source_grants', 'insert into b', 'other', 'ok'),
      ('ai.source_grants', 'update', 'outsider other viewer member admin owner backend', '!42501'),
      ('ai.source_grants', 'delete', 'outsider other viewer member owner', 'nothing'),
      ('ai.source_grants', 'delete', 'admin backend', 'a_named a_team'),

      ('ai.source_pages', 'select', 'outsider', 'nothing'),
      ('ai.source_pages', 'select', 'other', 'b_found b_named b_open'),
      ('ai.source_pages', 'select', 'viewer', 'a_demoted a_found a_open a_team'),
      ('ai.source_pages', 'select', 'member', 'a_found a_named a_open a_secret'),
      ('ai.source_pages', 'select', 'admin', 'a_boss a_found a_named a_open a_team'),
      ('ai.source_pages', 'select', 'owner', 'a_found a_open'),
      ('ai.source_pages', 'select', 'backend', 'a_boss a_demoted a_found a_left a_named a_open a_secret a_team'),
      ('ai.source_pages', 'insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),

      ('public.documents', 'select', 'outsider owner', 'nothing'),
      ('public.documents', 'select', 'viewer', 'a_demoted'),
      ('public.documents', 'select', 'other', 'b_open'),
      ('public.documents', 'select', 'member', 'a_open a_secret'),
      ('public.documents', 'select', 'admin', 'a_boss a_named a_team'),
      ('public.documents', 'select', 'backend', 'a_boss a_demoted a_left a_named a_open a_secret a_team'),
      ('public.documents', 'insert into a', 'outsider other viewer', '!PT404'),
      ('public.documents', 'insert into a', 'member admin owner backend', 'ok'),
      ('public.documents', 'insert into b', 'outsider viewer member admin owner backend', '!PT404'),
      ('public.documents', 'insert into b', 'other', 'ok'),
      ('public.documents', 'update|delete', 'outsider viewer owner backend', 'nothing'),
      ('public.documents', 'update|delete', 'other', 'b_open'),
      ('public.documents', 'update|delete', 'member', 'a_open a_secret'),
      ('public.documents', 'update|delete', 'admin', 'a_boss a_named a_team'),

      -- Knowledge bases, their index
      ('ai.knowledge_bases', 'select', 'outsider', 'nothing'),
      ('ai.knowledge_bases', 'select', 'other', 'b_base b_default'),
      ('ai.knowledge_bases', 'select', 'viewer member admin owner backend', 'a_base a_default a_demoted a_left'),
      ('ai.knowledge_bases', 'insert into a', 'outsider other viewer', '!42501'),
      ('ai.knowledge_bases', 'insert into a', 'member admin owner backend', 'ok'),
      ('ai.knowledge_bases', 'insert into b', 'outsider viewer member admin owner backend', '!42501'),
      ('ai.knowledge_bases', 'insert into b', 'other', 'ok'),
      ('ai.knowledge_bases', 'update|delete', 'outsider viewer', 'nothing'),
      ('ai.knowledge_bases', 'update|delete', 'other', 'b_base'),
      ('ai.knowledge_bases', 'update|delete', 'member', 'a_base'),
      ('ai.knowledge_bases', 'update', 'admin owner backend', 'a_base a_default a_demoted a_left'),
      ('ai.knowledge_bases', 'delete', 'admin owner backend', 'a_base a_demoted a_left'),

      ('ai.indexed_sources', 'select', 'outsider', 'nothing'),
      ('ai.indexed_sources', 'select', 'other', 'b_found b_named b_open'),
      ('ai.indexed_sources', 'select', 'viewer', 'a_demoted a_found a_open a_team'),
      ('ai.indexed_sources', 'select', 'member', 'a_found a_named a_open a_secret'),
      ('ai.indexed_sources', 'select', 'admin', 'a_boss a_found a_named a_open a_team'),
      ('ai.indexed_sources', 'select', 'owner', 'a_found a_open'),
      ('ai.indexed_sources', 'select', 'backend', 'a_boss a_demoted a_found a_left a_named a_open a_secret a_team'),
      ('ai.indexed_sources', 'insert into a|insert into b|update', 'outsider other viewer member admin owner backend', '!42501'),
      ('ai.indexed_sources', 'delete', 'outsider viewer', 'nothing'),
      ('ai.indexed_sources', 'delete', 'other', 'b_open'),
      ('ai.indexed_sources', 'delete', 'member', 'a_open a_secret'),
      ('ai.indexed_sources', 'delete', 'admin', 'a_boss a_found a_named a_open a_team'),
      ('ai.indexed_sources', 'delete', 'owner', 'a_found a_open'),
      ('ai.indexed_sources', 'delete', 'backend', 'a_boss a_demoted a_found a_left a_named a_open a_secret a_team'),

      ('ai.chunks', 'select', 'outsider', 'nothing'),
      ('ai.chunks', 'select', 'other', 'b_found b_named b_open'),
      ('ai.chunks', 'select', 'viewer', 'a_demoted a_found a_open a_team'),
      ('ai.chunks', 'select', 'member', 'a_found a_named a_open a_secret'),
      ('ai.chunks', 'select', 'admin', 'a_boss a_found a_named a_open a_team'),
      ('ai.chunks', 'select', 'owner', 'a_found a_open'),
      ('ai.chunks', 'select', 'backend', 'a_boss a_demoted a_found a_left a_named a_open a_secret a_team'),
      ('ai.chunks', 'insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),

      -- ai.search reads these with the caller's rights; the schema is not exposed.
      ('private.search_lexemes', 'select', 'outsider', 'nothing'),
      ('private.search_lexemes', 'select', 'other', 'b_found b_named b_open'),
      ('private.search_lexemes', 'select', 'viewer', 'a_demoted a_found a_open a_team'),
      ('private.search_lexemes', 'select', 'member', 'a_found a_named a_open a_secret'),
      ('private.search_lexemes', 'select', 'admin', 'a_boss a_found a_named a_open a_team'),
      ('private.search_lexemes', 'select', 'owner', 'a_found a_open'),
      ('private.search_lexemes', 'select', 'backend', 'a_boss a_demoted a_found a_left a_named a_open a_secret a_team'),
      ('private.search_lexemes', 'insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),

      ('private.search_entities', 'select', 'outsider', 'nothing'),
      ('private.search_entities', 'select', 'other', 'b_found b_named b_open'),
      ('private.search_entities', 'select', 'viewer', 'a_demoted a_found a_open a_team'),
      ('private.search_entities', 'select', 'member', 'a_found a_named a_open a_secret'),
      ('private.search_entities', 'select', 'admin', 'a_boss a_found a_named a_open a_team'),
      ('private.search_entities', 'select', 'owner', 'a_found a_open'),
      ('private.search_entities', 'select', 'backend', 'a_boss a_demoted a_found a_left a_named a_open a_secret a_team'),
      ('private.search_entities', 'insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),
      ('private.search_vectors', 'select', 'outsider', 'nothing'),
      ('private.search_vectors', 'select', 'other', 'b_found b_named b_open'),
      ('private.search_vectors', 'select', 'viewer', 'a_demoted a_found a_open a_team'),
      ('private.search_vectors', 'select', 'member', 'a_found a_named a_open a_secret'),
      ('private.search_vectors', 'select', 'admin', 'a_boss a_found a_named a_open a_team'),
      ('private.search_vectors', 'select', 'owner', 'a_found a_open'),
      ('private.search_vectors', 'select', 'backend', 'a_boss a_demoted a_found a_left a_named a_open a_secret a_team'),
      ('private.search_vectors', 'insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),
      ('private.search_segments', 'select', 'outsider', 'nothing'),
      ('private.search_segments', 'select', 'other', 'b_granted_b_owner b_private_b_member b_tenant'),
      ('private.search_segments', 'select', 'viewer', 'a_granted_admin_team a_private_viewer a_tenant'),
      ('private.search_segments', 'select', 'member', 'a_granted_admin_member a_private_member a_tenant'),
      ('private.search_segments', 'select', 'admin', 'a_granted_admin_member a_granted_admin_team a_private_admin a_tenant'),
      ('private.search_segments', 'select', 'owner', 'a_tenant'),
      ('private.search_segments', 'select', 'backend', 'a_granted_admin_member a_granted_admin_team a_private_admin a_private_member a_private_outsider a_private_viewer a_tenant'),
      ('private.search_segments', 'insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),
      ('private.term_statistics', 'select', 'outsider', 'nothing'),
      ('private.term_statistics', 'select', 'other', 'b_granted_b_owner b_private_b_member b_tenant'),
      ('private.term_statistics', 'select', 'viewer', 'a_granted_admin_team a_private_viewer a_tenant'),
      ('private.term_statistics', 'select', 'member', 'a_granted_admin_member a_private_member a_tenant'),
      ('private.term_statistics', 'select', 'admin', 'a_granted_admin_member a_granted_admin_team a_private_admin a_tenant'),
      ('private.term_statistics', 'select', 'owner', 'a_tenant'),
      ('private.term_statistics', 'select', 'backend', 'a_granted_admin_member a_granted_admin_team a_private_admin a_private_member a_private_outsider a_private_viewer a_tenant'),
      ('private.term_statistics', 'insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),
      ('private.vector_sets', 'select', 'outsider', 'nothing'),
      ('private.vector_sets', 'select', 'other', 'b'),
      ('private.vector_sets', 'select', 'viewer member admin owner backend', 'a'),
      ('private.vector_sets', 'insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),
      ('private.reembeddings', 'select', 'outsider', 'nothing'),
      ('private.reembeddings', 'select', 'other', 'b'),
      ('private.reembeddings', 'select', 'viewer member admin owner backend', 'a'),
      ('private.reembeddings', 'insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),
      ('ai.enrichments', 'select', 'outsider', 'nothing'),
      ('ai.enrichments', 'select', 'other', 'b'),
      ('ai.enrichments', 'select', 'viewer member admin owner backend', 'a'),
      ('ai.enrichments', 'insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),
      -- As the source each is about.
      ('ai.enrichment_results', 'select', 'outsider', 'nothing'),
      ('ai.enrichment_results', 'select', 'other', 'b_found b_named b_open'),
      ('ai.enrichment_results', 'select', 'viewer', 'a_demoted a_found a_open a_team'),
      ('ai.enrichment_results', 'select', 'member', 'a_found a_named a_open a_secret'),
      ('ai.enrichment_results', 'select', 'admin', 'a_boss a_found a_named a_open a_team'),
      ('ai.enrichment_results', 'select', 'owner', 'a_found a_open'),
      ('ai.enrichment_results', 'select', 'backend', 'a_boss a_demoted a_found a_left a_named a_open a_secret a_team'),
      ('ai.enrichment_results', 'insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),
      ('private.shipped_policies', 'select|insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),
      ('private.staged_chunks', 'select|insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),
      ('private.object_removals', 'select|insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),
      ('private.page_renderings', 'select|insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),
      ('private.burnt_tool_call_tokens', 'select|insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),
      ('private.tenant_principals', 'select|insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),
      ('private.queue_limits', 'select|insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),
      ('private.sweeps', 'select|insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),
      -- Schedules act in the name of their creator.
      ('ai.schedules', 'select', 'outsider', 'nothing'),
      ('ai.schedules', 'select', 'other', 'b_member'),
      ('ai.schedules', 'select', 'viewer', 'a_demoted'),
      ('ai.schedules', 'select', 'member', 'a_member'),
      ('ai.schedules', 'select', 'admin owner backend', 'a_admin a_demoted a_left a_member'),
      ('ai.schedules', 'insert into a', 'outsider other viewer backend', '!42501'),
      ('ai.schedules', 'insert into a', 'member admin owner', 'ok'),
      ('ai.schedules', 'insert into b', 'outsider viewer member admin owner backend', '!42501'),
      ('ai.schedules', 'insert into b', 'other', 'ok'),
      ('ai.schedules', 'update|delete', 'outsider viewer', 'nothing'),
      ('ai.schedules', 'update|delete', 'other', 'b_member'),
      ('ai.schedules', 'update|delete', 'member', 'a_member'),
      ('ai.schedules', 'update|delete', 'admin owner backend', 'a_admin a_demoted a_left a_member'),
      -- The audit log: admins read it, nobody writes it by hand.
      ('ai.audit_events', 'select', 'outsider other viewer member', 'nothing'),
      ('ai.audit_events', 'select', 'admin owner backend', 'a'),
      ('ai.audit_events', 'insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),
      ('private.audit_heads', 'select|insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),
      ('private.audit_pending', 'select|insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),

      -- Agents
      ('ai.agents', 'select', 'outsider', 'nothing'),
      ('ai.agents', 'select', 'other', 'b_agent b_default b_quiet'),
      ('ai.agents', 'select', 'viewer member admin owner backend', 'a_agent a_default a_demoted a_left a_quiet'),
      ('ai.agents', 'insert into a', 'outsider other viewer', '!42501'),
      ('ai.agents', 'insert into a', 'member admin owner backend', 'ok'),
      ('ai.agents', 'insert into b', 'outsider viewer member admin owner backend', '!42501'),
      ('ai.agents', 'insert into b', 'other', 'ok'),
      ('ai.agents', 'update|delete', 'outsider viewer', 'nothing'),
      -- a_agent and b_agent send data out: who made them may not change what they are told.
      ('ai.agents', 'update', 'other', 'b_quiet'),
      ('ai.agents', 'update', 'member', 'a_quiet'),
      ('ai.agents', 'update', 'admin owner backend', 'a_agent a_default a_demoted a_left a_quiet'),
      ('ai.agents', 'delete', 'other', 'b_agent b_quiet'),
      ('ai.agents', 'delete', 'member', 'a_agent a_quiet'),
      ('ai.agents', 'delete', 'admin owner backend', 'a_agent a_demoted a_left a_quiet'),

      ('ai.agent_knowledge_bases', 'select', 'outsider', 'nothing'),
      ('ai.agent_knowledge_bases', 'select', 'other', 'b_agent b_default'),
      ('ai.agent_knowledge_bases', 'select', 'viewer member admin owner backend', 'a_agent a_default a_demoted a_left'),
      ('ai.agent_knowledge_bases', 'insert into a', 'outsider other viewer', '!42501'),
      ('ai.agent_knowledge_bases', 'insert into a', 'member admin owner backend', 'ok'),
      ('ai.agent_knowledge_bases', 'insert into b', 'outsider viewer member admin owner backend', '!42501'),
      ('ai.agent_knowledge_bases', 'insert into b', 'other', 'ok'),
      ('ai.agent_knowledge_bases', 'update|delete', 'outsider viewer', 'nothing'),
      ('ai.agent_knowledge_bases', 'update|delete', 'other', 'b_agent'),
      ('ai.agent_knowledge_bases', 'update|delete', 'member', 'a_agent'),
      ('ai.agent_knowledge_bases', 'update|delete', 'admin owner backend', 'a_agent a_default a_demoted a_left'),

      ('ai.tools', 'select', 'outsider', 'nothing'),
      ('ai.tools', 'select', 'other', 'b_tool'),
      ('ai.tools', 'select', 'viewer member admin owner backend', 'a_tool'),
      ('ai.tools', 'insert into a', 'outsider other viewer member', '!42501'),
      ('ai.tools', 'insert into a', 'admin owner backend', 'ok'),
      ('ai.tools', 'insert into b', 'outsider other viewer member admin owner backend', '!42501'),
      ('ai.tools', 'update|delete', 'outsider other viewer member', 'nothing'),
      ('ai.tools', 'update|delete', 'admin owner backend', 'a_tool'),

      -- `_out`: what sends data out of the tenant.
      ('ai.agent_tools', 'select', 'outsider', 'nothing'),
      ('ai.agent_tools', 'select', 'other', 'b_agent b_agent_out b_quiet'),
      ('ai.agent_tools', 'select', 'viewer member admin owner backend', 'a_agent a_agent_out a_demoted a_left a_quiet'),
      ('ai.agent_tools', 'insert into a', 'outsider other viewer', '!42501'),
      ('ai.agent_tools', 'insert into a', 'member admin owner backend', 'ok'),
      ('ai.agent_tools', 'insert into b', 'outsider viewer member admin owner backend', '!42501'),
      ('ai.agent_tools', 'insert into b', 'other', 'ok'),
      ('ai.agent_tools', 'update|delete', 'outsider viewer', 'nothing'),
      ('ai.agent_tools', 'update', 'other', 'b_quiet'),
      ('ai.agent_tools', 'update', 'member', 'a_quiet'),
      ('ai.agent_tools', 'delete', 'other', 'b_agent b_agent_out b_quiet'),
      ('ai.agent_tools', 'delete', 'member', 'a_agent a_agent_out a_quiet'),
      ('ai.agent_tools', 'update|delete', 'admin owner backend', 'a_agent a_agent_out a_demoted a_left a_quiet'),

      ('ai.agent_mcp_servers', 'select', 'outsider', 'nothing'),
      ('ai.agent_mcp_servers', 'select', 'other', 'b_server'),
      ('ai.agent_mcp_servers', 'select', 'viewer member admin owner backend', 'a_server'),
      ('ai.agent_mcp_servers', 'insert into a', 'outsider other viewer member', '!42501'),
      ('ai.agent_mcp_servers', 'insert into a', 'admin owner backend', 'ok'),
      ('ai.agent_mcp_servers', 'insert into b', 'outsider other viewer member admin owner backend', '!42501'),
      ('ai.agent_mcp_servers', 'update|delete', 'outsider other viewer member', 'nothing'),
      ('ai.agent_mcp_servers', 'update|delete', 'admin owner backend', 'a_server'),

      ('ai.hooks', 'select', 'outsider', 'nothing'),
      ('ai.hooks', 'select', 'other', 'b_agent b_agent_out b_quiet'),
      ('ai.hooks', 'select', 'viewer member admin owner backend', 'a_agent a_agent_out a_demoted a_left a_quiet'),
      ('ai.hooks', 'insert into a', 'outsider other viewer', '!42501'),
      ('ai.hooks', 'insert into a', 'member admin owner backend', 'ok'),
      ('ai.hooks', 'insert into b', 'outsider viewer member admin owner backend', '!42501'),
      ('ai.hooks', 'insert into b', 'other', 'ok'),
      ('ai.hooks', 'update', 'outsider other viewer member admin owner backend', '!42501'),
      ('ai.hooks', 'delete', 'outsider viewer', 'nothing'),
      ('ai.hooks', 'delete', 'other', 'b_quiet'),
      ('ai.hooks', 'delete', 'member', 'a_quiet'),
      ('ai.hooks', 'delete', 'admin owner backend', 'a_agent a_agent_out a_demoted a_left a_quiet'),

      -- What belongs to one person
      ('public.memories', 'select', 'outsider', 'nothing'),
      ('public.memories', 'select', 'other', 'b b_b_member'),
      ('public.memories', 'select', 'admin owner', 'a'),
      ('public.memories', 'select', 'viewer', 'a a_viewer'),
      ('public.memories', 'select', 'member', 'a a_member'),
      ('public.memories', 'select', 'backend', 'a a_member a_outsider a_viewer'),
      ('public.memories', 'insert into a', 'outsider other viewer', '!42501'),
      ('public.memories', 'insert into a', 'member admin owner backend', 'ok'),
      ('public.memories', 'insert into b', 'outsider viewer member admin owner backend', '!42501'),
      ('public.memories', 'insert into b', 'other', 'ok'),
      ('public.memories', 'update|delete', 'outsider viewer', 'nothing'),
      ('public.memories', 'update|delete', 'other', 'b_b_member'),
      ('public.memories', 'update|delete', 'member', 'a_member'),
      ('public.memories', 'update|delete', 'admin owner backend', 'a'),

      ('public.chat_sessions', 'select|update|delete', 'outsider viewer admin owner backend', 'nothing'),
      ('public.chat_sessions', 'select|update|delete', 'other', 'b_member'),
      ('public.chat_sessions', 'select|update|delete', 'member', 'a_member'),
      ('public.chat_sessions', 'insert into a', 'outsider other backend', '!42501'),
      ('public.chat_sessions', 'insert into a', 'viewer member admin owner', 'ok'),
      ('public.chat_sessions', 'insert into b', 'outsider viewer member admin owner backend', '!42501'),
      ('public.chat_sessions', 'insert into b', 'other', 'ok'),

      ('public.chat_messages', 'select', 'outsider viewer admin owner backend', 'nothing'),
      ('public.chat_messages', 'select', 'other', 'b_member'),
      ('public.chat_messages', 'select', 'member', 'a_member'),
      ('public.chat_messages', 'insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),

      ('ai.agent_sessions', 'select|delete', 'outsider viewer admin owner', 'nothing'),
      ('ai.agent_sessions', 'select|delete', 'other', 'b_member'),
      ('ai.agent_sessions', 'select|delete', 'member', 'a_member'),
      ('ai.agent_sessions', 'select|delete', 'backend', 'a_backend a_left a_member'),
      ('ai.agent_sessions', 'insert into a|insert into b|update', 'outsider other viewer member admin owner backend', '!42501'),

      ('ai.agent_runs', 'select', 'outsider viewer admin owner', 'nothing'),
      ('ai.agent_runs', 'select', 'other', 'b_member'),
      ('ai.agent_runs', 'select', 'member', 'a_member'),
      ('ai.agent_runs', 'select', 'backend', 'a_backend a_left a_member'),
      ('ai.agent_runs', 'insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),

      ('ai.run_events', 'select', 'outsider viewer admin owner', 'nothing'),
      ('ai.run_events', 'select', 'other', 'b_member'),
      ('ai.run_events', 'select', 'member', 'a_member'),
      ('ai.run_events', 'select', 'backend', 'a_backend a_left a_member'),
      ('ai.run_events', 'insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),

      ('ai.run_steps', 'select', 'outsider viewer admin owner', 'nothing'),
      ('ai.run_steps', 'select', 'other', 'b_member'),
      ('ai.run_steps', 'select', 'member', 'a_member'),
      ('ai.run_steps', 'select', 'backend', 'a_backend a_left a_member'),
      ('ai.run_steps', 'insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),

      -- What executors keep for one another.
      ('private.run_requests', 'select|insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),

      ('ai.tenant_settings', 'select|update', 'outsider other viewer member', 'nothing'),
      ('ai.tenant_settings', 'select|update', 'admin owner backend', 'a'),
      ('ai.tenant_settings', 'insert into a', 'outsider other viewer member', '!42501'),
      ('ai.tenant_settings', 'insert into a', 'admin owner backend', '!23505'),
      ('ai.tenant_settings', 'insert into b', 'outsider other viewer member admin owner backend', '!42501'),
      ('ai.tenant_settings', 'delete', 'outsider other viewer member admin owner backend', '!42501'),

      ('ai.context_handlers', 'select', 'outsider viewer admin owner', 'nothing'),
      ('ai.context_handlers', 'select', 'other', 'b_member'),
      ('ai.context_handlers', 'select', 'member', 'a_member'),
      ('ai.context_handlers', 'select', 'backend', 'a_backend a_left a_member'),
      ('ai.context_handlers', 'insert into a', 'outsider other', '!42501'),
      ('ai.context_handlers', 'insert into a', 'viewer member admin owner backend', 'ok'),
      ('ai.context_handlers', 'insert into b', 'outsider viewer member admin owner backend', '!42501'),
      ('ai.context_handlers', 'insert into b', 'other', 'ok'),
      ('ai.context_handlers', 'update|delete', 'outsider other viewer member admin owner backend', '!42501'),

      ('ai.tool_call_events', 'select', 'outsider viewer admin owner', 'nothing'),
      ('ai.tool_call_events', 'select', 'other', 'b_member'),
      ('ai.tool_call_events', 'select', 'member', 'a_member'),
      ('ai.tool_call_events', 'select', 'backend', 'a_backend a_left a_member'),
      ('ai.tool_call_events', 'insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),

      ('ai.approvals', 'select', 'outsider', 'nothing'),
      ('ai.approvals', 'select', 'viewer', 'a_desk'),
      ('ai.approvals', 'select', 'other', 'b_member'),
      ('ai.approvals', 'select', 'member', 'a_member'),
      ('ai.approvals', 'select', 'admin owner backend', 'a_backend a_desk a_left a_member'),
      ('ai.approvals', 'insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),

      ('ai.approval_decisions', 'select', 'outsider', 'nothing'),
      ('ai.approval_decisions', 'select', 'viewer', 'a_desk'),
      ('ai.approval_decisions', 'select', 'other', 'b_member'),
      ('ai.approval_decisions', 'select', 'member', 'a_member'),
      ('ai.approval_decisions', 'select', 'admin owner backend', 'a_backend a_desk a_left a_member'),
      ('ai.approval_decisions', 'insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),

      -- Budgets are for admins; usage is people's own, and admins'.
      ('ai.budgets', 'select', 'outsider other viewer member', 'nothing'),
      ('ai.budgets', 'select', 'admin owner backend', 'a_tenant'),
      ('ai.budgets', 'insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),
      ('ai.usage_entries', 'select', 'outsider viewer', 'nothing'),
      ('ai.usage_entries', 'select', 'other', 'b_member'),
      ('ai.usage_entries', 'select', 'member', 'a_member'),
      ('ai.usage_entries', 'select', 'admin owner backend', 'a_backend a_left a_member'),
      ('ai.usage_entries', 'insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),
      ('private.budget_counters', 'select|insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),
      ('private.token_reservations', 'select|insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),
      ('private.rate_counters', 'select|insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),
      ('private.idempotency_keys', 'select|insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501'),

      ('ai.message_citations', 'select', 'outsider viewer admin owner', 'nothing'),
      ('ai.message_citations', 'select', 'other', 'b_member'),
      ('ai.message_citations', 'select', 'member', 'a_member'),
      ('ai.message_citations', 'select', 'backend', 'a_backend a_left a_member'),
      ('ai.message_citations', 'insert into a|insert into b|update|delete', 'outsider other viewer member admin owner backend', '!42501')
  )
  select lines.relation, verb, principal, lines.expected
  from lines
  cross join unnest(string_to_array(lines.verbs, '|')) as verb
  cross join unnest(string_to_array(lines.principals, ' ')) as principal
  union all
  -- Nobody in particular: whoever has no session has no rights, on no table. A new table needs a line here as well.
  select relation, verb, 'anon', '!42501'
  from (
    values
      ('public.tenants'), ('public.memberships'), ('public.invitations'), ('public.groups'), ('public.group_members'),
      ('public.documents'), ('public.memories'), ('public.chat_sessions'), ('public.chat_messages'),
      ('ai.sources'), ('ai.source_grants'), ('ai.source_pages'), ('ai.knowledge_bases'), ('ai.indexed_sources'), ('ai.chunks'),
      ('ai.agents'), ('ai.agent_knowledge_bases'), ('ai.agent_sessions'), ('ai.agent_runs'), ('ai.message_citations'),
      ('ai.tools'), ('ai.agent_tools'), ('ai.agent_mcp_servers'), ('ai.hooks'), ('ai.context_handlers'), ('ai.tool_call_events'),
      ('ai.approvals'), ('ai.approval_decisions'), ('private.burnt_tool_call_tokens'), ('ai.run_events'), ('ai.run_steps'), ('private.run_requests'), ('ai.tenant_settings'),
      ('ai.budgets'), ('ai.usage_entries'), ('private.budget_counters'), ('private.token_reservations'), ('private.rate_counters'),
      ('private.idempotency_keys'),
      ('private.tenant_principals'), ('private.queue_limits'), ('private.sweeps'), ('ai.schedules'), ('ai.audit_events'), ('private.audit_heads'), ('private.audit_pending'), ('private.search_segments'), ('private.search_lexemes'), ('private.search_entities'), ('private.term_statistics'),
      ('private.vector_sets'), ('private.search_vectors'), ('private.reembeddings'), ('ai.enrichments'), ('ai.enrichment_results'), ('private.shipped_policies'), ('private.staged_chunks'), ('private.page_renderings'), ('private.object_removals')
  ) as tables (relation)
  cross join unnest(array['select', 'insert into a', 'insert into b', 'update', 'delete']) as verb;
$$;

-- What the matrix cannot say with one statement per table: changes of the columns that policies read.
create or replace function tests.access_cases()
returns table (relation text, principal text, statement text, expected text, reason text)
language sql
immutable
as $$
  values
    ('public.memberships', 'admin', $s$update public.memberships set role = 'owner' where user_id = tests.person('member')$s$, '!42501',
      'an admin makes no owners'),
    ('public.memberships', 'admin', $s$update public.memberships set role = 'admin' where user_id = tests.person('member')$s$, 'ok',
      'an admin makes admins'),
    ('public.memberships', 'owner', $s$update public.memberships set role = 'owner' where user_id = tests.person('member')$s$, 'ok',
      'an owner makes owners'),
    ('public.invitations', 'admin', $s$insert into public.invitations (tenant_id, email, role) values (tests.tenant('a'), 'x@x.example', 'owner')$s$,
      '!42501', 'an admin invites no owners'),
    ('public.invitations', 'owner', $s$insert into public.invitations (tenant_id, email, role) values (tests.tenant('a'), 'x@x.example', 'owner')$s$,
      'ok', 'an owner invites owners'),
    -- Without a where clause: with one, the policy for select would be asked as well.
    ('ai.sources', 'owner', $s$update ai.sources set visibility = 'private'$s$, '!42501', 'nobody hides a source from themselves that is not theirs'),
    ('ai.sources', 'member', $s$update ai.sources set visibility = 'private'$s$, 'ok', 'people hide what is theirs'),
    ('public.documents', 'member', $s$
        select set_config('request.jwt.claims', jsonb_build_object('sub', tests.person('member'))::text, true);
        insert into public.documents (source_id, owner_id) values (tests.id('source b_found'), tests.person('member'))$s$,
      '!42501', 'the policy refuses a foreign source also where the trigger, for want of a role claim, does not'),
    ('public.documents', 'member', $s$
        select set_config('request.jwt.claims', jsonb_build_object('sub', tests.person('member'))::text, true);
        insert into public.documents (source_id, owner_id) values (tests.id('source a_found'), tests.person('member'))$s$,
      'ok', 'and lets the own one pass'),
    ('public.memories', 'member', $s$insert into public.memories (tenant_id, user_id, body) values (tests.tenant('a'), null, 'x')$s$, '!42501',
      'members do not speak for the tenant'),
    ('public.memories', 'admin', $s$insert into public.memories (tenant_id, user_id, body) values (tests.tenant('a'), null, 'x')$s$, 'ok',
      'admins do'),
    ('public.memories', 'admin', $s$insert into public.memories (tenant_id, user_id, body) values (tests.tenant('a'), tests.person('member'), 'x')$s$,
      '!42501', 'nobody writes into the memory of somebody else'),
    ('ai.source_grants', 'member', $s$
        insert into ai.source_grants (tenant_id, source_id, user_id) values (tests.tenant('a'), tests.id('source a_named'), tests.person('both'))$s$,
      '!42501', 'being granted a source is no right to pass it on'),
    ('ai.source_grants', 'owner', $s$
        insert into ai.source_grants (tenant_id, source_id, user_id) values (tests.tenant('a'), tests.id('source a_secret'), tests.person('owner'))$s$,
      '!42501', 'no admin grants themselves a private source'),
    ('ai.source_grants', 'member', $s$
        insert into ai.source_grants (tenant_id, source_id, user_id) values (tests.tenant('a'), tests.id('source a_secret'), tests.person('b_member'))$s$,
      '!23503', 'a source cannot be granted to somebody outside the tenant'),
    ('ai.agent_knowledge_bases', 'member', $s$
        insert into ai.agent_knowledge_bases (tenant_id, agent_id, knowledge_base_id) values (tests.tenant('a'), tests.id('agent a'), tests.id('base b'))$s$,
      '!23503', 'an agent cannot draw on a knowledge base of another tenant'),
    ('ai.agent_knowledge_bases', 'member', $s$
        insert into ai.agent_knowledge_bases (tenant_id, agent_id, knowledge_base_id) values (tests.tenant('a'), tests.id('agent a'), gen_random_uuid())$s$,
      '!23503', 'nor on one that does not exist: the same answer'),
    ('ai.agent_tools', 'member', $s$
        insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name)
        select tests.tenant('a'), tests.id('agent quiet a'), 'builtin', names.name
        from unnest(array['knowledge_search', 'database_write', 'storage_read', 'storage_write']) as names (name)$s$,
      'ok', 'who made an agent gives it tools that stay in the tenant'),
    ('ai.agent_tools', 'member', $s$
        insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name) values (tests.tenant('a'), tests.id('agent a'), 'builtin', 'storage_read')$s$,
      '!42501', 'unless it has one that does not'),
    ('ai.agent_tools', 'admin', $s$
        insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name) values (tests.tenant('a'), tests.id('agent a'), 'builtin', 'storage_read')$s$,
      'ok', 'which then is for admins'),
    ('ai.agent_tools', 'member', $s$
        insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name) values (tests.tenant('a'), tests.id('agent quiet a'), 'builtin', 'http_request')$s$,
      '!42501', 'but none that sends data out: requests'),
    ('ai.agent_tools', 'member', $s$
        insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name) values (tests.tenant('a'), tests.id('agent quiet a'), 'builtin', 'web_scrape')$s$,
      '!42501', 'pages'),
    ('ai.agent_tools', 'member', $s$
        insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name) values (tests.tenant('a'), tests.id('agent quiet a'), 'builtin', 'web_search')$s$,
      '!42501', 'searches'),
    ('ai.agent_tools', 'member', $s$
        insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name) values (tests.tenant('a'), tests.id('agent quiet a'), 'builtin', 'code_execute')$s$,
      '!42501', 'programs'),
    ('ai.agent_tools', 'member', $s$
        insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name, tool_id)
        values (tests.tenant('a'), tests.id('agent quiet a'), 'custom', 'mine', tests.id('tool a'))$s$,
      '!42501', 'and tools of the tenant''s own'),
    ('ai.agent_tools', 'admin', $s$
        insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name, tool_id)
        select tests.tenant('a'), tests.id('agent a'), 'custom', 'mine', tests.id('tool a')
        union all
        select tests.tenant('a'), tests.id('agent a'), 'builtin', names.name, null
        from unnest(array['http_request', 'web_scrape', 'web_search', 'code_execute']) as names (name)$s$,
      'ok', 'admins do'),
    ('ai.agent_tools', 'member', $s$
        insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name) values (tests.tenant('a'), tests.id('agent demoted'), 'builtin', 'storage_read')$s$,
      '!42501', 'nobody but them gives tools to somebody else''s agent'),
    ('ai.agent_tools', 'viewer', $s$
        insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name) values (tests.tenant('a'), tests.id('agent demoted'), 'builtin', 'storage_read')$s$,
      '!42501', 'nor does who made it and may not any more'),
    ('ai.agent_tools', 'admin', $s$
        insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name, tool_id)
        values (tests.tenant('a'), tests.id('agent a'), 'custom', 'mine', tests.id('tool b'))$s$,
      '!23503', 'a tool of another tenant cannot be assigned'),
    ('ai.agent_tools', 'admin', $s$
        insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name, tool_id)
        values (tests.tenant('a'), tests.id('agent a'), 'custom', 'mine', gen_random_uuid())$s$,
      '!23503', 'nor one that does not exist: the same answer'),
    ('ai.agent_tools', 'admin', $s$
        insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name) values (tests.tenant('a'), tests.id('agent b'), 'builtin', 'storage_read')$s$,
      '!23503', 'nor a tool to an agent of another tenant'),
    ('ai.agent_tools', 'member', $s$
        insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name, permissions)
        values (tests.tenant('a'), tests.id('agent quiet a'), 'builtin', 'storage_read', '{"default": "ask"}')$s$,
      '!42501', 'who may call a tool, its creator does not say'),
    ('ai.agent_tools', 'member', $s$
        update ai.agent_tools set permissions = '{"default": "deny"}' where id = tests.id('assignment quiet a')$s$,
      '!42501', 'nor changes it'),
    ('ai.agent_tools', 'admin', $s$
        update ai.agent_tools set permissions = '{"default": "deny"}' where id = tests.id('assignment quiet a')$s$,
      'ok', 'admins say it'),
    ('ai.agent_mcp_servers', 'admin', $s$
        insert into ai.agent_mcp_servers (tenant_id, agent_id, name, url) values (tests.tenant('a'), tests.id('agent b'), 'x', 'https://mcp.example/')$s$,
      '!23503', 'nor an MCP server'),
    ('ai.hooks', 'member', $s$
        insert into ai.hooks (tenant_id, agent_id, event, type, config) values (tests.tenant('a'), tests.id('agent quiet a'), 'PreToolUse', 'approval', '{}')$s$,
      'ok', 'who made an agent lets it ask for approval'),
    ('ai.hooks', 'member', $s$
        insert into ai.hooks (tenant_id, agent_id, event, type, config) values (tests.tenant('a'), tests.id('agent a'), 'PreToolUse', 'approval', '{}')$s$,
      '!42501', 'unless it sends data out'),
    ('ai.hooks', 'member', $s$
        insert into ai.hooks (tenant_id, agent_id, event, type, config) values (tests.tenant('a'), tests.id('agent quiet a'), 'PreToolUse', 'http', '{}')$s$,
      '!42501', 'but sends nothing of its runs out'),
    ('ai.hooks', 'admin', $s$
        insert into ai.hooks (tenant_id, agent_id, event, type, config) values (tests.tenant('a'), tests.id('agent a'), 'PreToolUse', 'http', '{}')$s$,
      'ok', 'admins may'),
    ('ai.hooks', 'member', $s$
        insert into ai.hooks (tenant_id, agent_id, event, type, config) values (tests.tenant('a'), tests.id('agent left'), 'PreToolUse', 'rule', '{}')$s$,
      '!42501', 'nobody but them adds hooks to somebody else''s agent'),
    ('ai.context_handlers', 'member', $s$
        insert into ai.context_handlers (tenant_id, user_id, query) values (tests.tenant('a'), tests.person('admin'), 'x')$s$,
      '!42501', 'nobody retrieves in another''s name'),
    ('public.group_members', 'admin', $s$
        insert into public.group_members (tenant_id, group_id, user_id)
        values (tests.tenant('a'), '33333333-3333-4333-8333-333333333333', tests.person('outsider'))$s$,
      '!23503', 'only members can be in a group'),
    ('public.group_members', 'admin', $s$
        insert into public.group_members (tenant_id, group_id, user_id) values (tests.tenant('a'), tests.id('group b'), tests.person('member'))$s$,
      '!23503', 'a group of another tenant cannot be joined');
$$;
