-- Table and column rights, exactly. Rows are decided by policies; columns, and what cannot be done at all, here.
begin;
select plan(13);

create view pg_temp.ours as
select pg_class.oid, format('%I.%I', pg_namespace.nspname, pg_class.relname) as name, pg_namespace.nspname as schema_name
from pg_class
join pg_namespace on pg_namespace.oid = pg_class.relnamespace
where pg_namespace.nspname in ('public', 'ai', 'private') and pg_class.relkind in ('r', 'p', 'v', 'm', 'f');

create function pg_temp.grants(role text)
returns table (relation text, privilege text, columns text)
language sql
as $$
  select ours.name, privileges.name, 'all'
  from pg_temp.ours
  cross join unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) as privileges (name)
  where has_table_privilege(role, ours.oid, privileges.name)
  union all
  select ours.name, privileges.name, string_agg(pg_attribute.attname, ' ' order by pg_attribute.attname)
  from pg_temp.ours
  cross join unnest(array['select', 'insert', 'update', 'references']) as privileges (name)
  join pg_attribute on pg_attribute.attrelid = ours.oid and pg_attribute.attnum > 0 and not pg_attribute.attisdropped
  where not has_table_privilege(role, ours.oid, privileges.name)
    and has_column_privilege(role, ours.oid, pg_attribute.attname, privileges.name)
  group by ours.name, privileges.name;
$$;

prepare expected_for_people as
  values
    ('ai.agent_knowledge_bases', 'select', 'all'),
    ('ai.agent_knowledge_bases', 'insert', 'agent_id config knowledge_base_id tenant_id'),
    ('ai.agent_knowledge_bases', 'update', 'config'),
    ('ai.agent_knowledge_bases', 'delete', 'all'),
    ('ai.agent_runs', 'select', 'agent_id attempts cached_tokens cancel_requested_at chat_message_id completed_at completion_tokens content context_handler_id created_at error error_code events id input_messages invalid_citation_count is_new_session last_seq model multitask_strategy output_messages priority prompt_tokens provider reasoning_steps reasoning_tokens retrieved_context rolled_back run_id session_id started_at status steps streams tenant_id tool_call_count tool_call_duration_ms_total tool_call_error_count total_tokens user_id wait_reason'),
    ('ai.run_events', 'select', 'all'),
    -- Not the turn: what the model said before any filter.
    ('ai.run_steps', 'select', 'completed_at created_at record run_id step tenant_id user_id'),
    ('ai.tenant_settings', 'select', 'all'),
    -- The caps are the operator's.
    ('ai.tenant_settings', 'insert', 'run_event_days tenant_id'),
    ('ai.tenant_settings', 'update', 'run_event_days'),
    ('ai.agent_sessions', 'select', 'all'),
    ('ai.agent_sessions', 'delete', 'all'),
    ('ai.agents', 'select', 'all'),
    ('ai.agents', 'insert', 'model name published settings system_prompt tenant_id'),
    ('ai.agents', 'update', 'model name published settings system_prompt'),
    ('ai.agents', 'delete', 'all'),
    -- Not config: admins read it by ai.tool_configs.
    ('ai.tools', 'select', 'created_at created_by description header_names id input_schema name tenant_id type updated_at'),
    ('ai.tools', 'insert', 'config description header_names input_schema name tenant_id type'),
    ('ai.tools', 'update', 'config description header_names input_schema name secret_headers'),
    ('ai.tools', 'delete', 'all'),
    ('ai.agent_tools', 'select', 'all'),
    ('ai.agent_tools', 'insert', 'agent_id config_override permissions tenant_id tool_id tool_name tool_type'),
    ('ai.agent_tools', 'update', 'config_override permissions'),
    ('ai.agent_tools', 'delete', 'all'),
    ('ai.agent_mcp_servers', 'select', 'agent_id config created_at enabled header_names id name permissions pinned_at pinned_tools tenant_id transport updated_at url'),
    ('ai.agent_mcp_servers', 'insert', 'agent_id config enabled header_names name permissions tenant_id transport url'),
    ('ai.agent_mcp_servers', 'update', 'config enabled header_names name permissions pinned_tools secret_headers transport url'),
    ('ai.agent_mcp_servers', 'delete', 'all'),
    ('ai.hooks', 'select', 'all'),
    ('ai.hooks', 'insert', 'agent_id config enabled event matcher position tenant_id type'),
    ('ai.hooks', 'delete', 'all'),
    ('ai.context_handlers', 'select', 'all'),
    ('ai.context_handlers', 'insert', 'completed_at errors formatted_context knowledge_base_configs max_context_tokens metadata query retrieved_context status tenant_id'),
    ('ai.tool_call_events', 'select', 'all'),
    ('ai.audit_events', 'select', 'all'),
    ('ai.budgets', 'select', 'all'),
    ('ai.usage_entries', 'select', 'all'),
    ('ai.approvals', 'select', 'all'),
    ('ai.schedules', 'select', 'all'),
    ('ai.schedules', 'insert', 'agent_id cron enabled message name priority session_id tenant_id timezone'),
    ('ai.schedules', 'update', 'cron enabled message name priority session_id timezone'),
    ('ai.schedules', 'delete', 'all'),
    ('ai.approval_decisions', 'select', 'approval_id approved created_at reason tenant_id user_id'),
    ('ai.chunks', 'select', 'chunk_index created_at embedding_model end_char id indexed_source_id knowledge_base_id meta owner_id score source_id start_char tenant_id text tokens visibility'),
    ('ai.indexed_sources', 'select', 'attempts celery_task_id created_at embedding_model error_code error_message id index_status indexed_at indexing_config_snapshot knowledge_base_id last_dispatched_at next_retry_at reason_code source_id stats tenant_id'),
    ('ai.indexed_sources', 'delete', 'all'),
    ('ai.knowledge_bases', 'select', 'all'),
    ('ai.knowledge_bases', 'insert', 'description indexing_config language name retrieval_config tenant_id'),
    ('ai.knowledge_bases', 'update', 'description indexing_config language name retrieval_config'),
    ('ai.knowledge_bases', 'delete', 'all'),
    ('ai.message_citations', 'select', 'all'),
    ('ai.source_grants', 'select', 'all'),
    ('ai.source_grants', 'insert', 'group_id source_id tenant_id user_id'),
    ('ai.source_grants', 'delete', 'all'),
    ('ai.source_pages', 'select', 'all'),
    ('ai.sources', 'select', 'attempts auto_metadata celery_task_id content_hash created_at derivatives error_code error_message extracted_at extraction_status file_type id metadata mime_type name next_retry_at owner_id page_count priority reason_code size_bytes storage_path tenant_id updated_at uploaded_at visibility'),
    ('ai.sources', 'update', 'metadata name visibility'),
    ('ai.sources', 'delete', 'all'),
    -- ai.search runs with the caller's rights and reads these; the schema is not exposed, and the policies are those of the chunks.
    ('private.search_entities', 'select', 'all'),
    ('private.search_lexemes', 'select', 'all'),
    ('private.search_segments', 'select', 'all'),
    ('ai.enrichments', 'select', 'attempts celery_task_id created_at created_by error_code error_message fields finished_at id knowledge_base_id llm_model max_tokens next_retry_at reason_code run_number scope started_at started_by status tenant_id updated_at use_multimodal'),
    ('ai.enrichment_results', 'select', 'all'),
    ('private.reembeddings', 'select', 'attempts created_at embedding_model error_code error_message finished_at id knowledge_base_id next_retry_at reason_code status switches_when_complete tenant_id'),
    ('private.search_vectors', 'select', 'all'),
    ('private.term_statistics', 'select', 'all'),
    ('private.vector_sets', 'select', 'all'),
    ('public.chat_messages', 'select', 'all'),
    ('public.chat_sessions', 'select', 'all'),
    ('public.chat_sessions', 'insert', 'agent_id tenant_id title'),
    ('public.chat_sessions', 'update', 'title'),
    ('public.chat_sessions', 'delete', 'all'),
    ('public.documents', 'select', 'all'),
    ('public.documents', 'insert', 'owner_id source_id tenant_id title'),
    ('public.documents', 'update', 'title'),
    ('public.documents', 'delete', 'all'),
    ('public.group_members', 'select', 'all'),
    ('public.group_members', 'insert', 'group_id tenant_id user_id'),
    ('public.group_members', 'delete', 'all'),
    ('public.groups', 'select', 'all'),
    ('public.groups', 'insert', 'name tenant_id'),
    ('public.groups', 'update', 'name'),
    ('public.groups', 'delete', 'all'),
    ('public.invitations', 'select', 'all'),
    ('public.invitations', 'insert', 'email expires_at role tenant_id'),
    ('public.invitations', 'delete', 'all'),
    ('public.memberships', 'select', 'all'),
    ('public.memberships', 'update', 'role'),
    ('public.memberships', 'delete', 'all'),
    ('public.memories', 'select', 'act agent_id body created_at embedding embedding_attempted_at embedding_model id tenant_id user_id'),
    ('public.memories', 'insert', 'agent_id body tenant_id user_id'),
    ('public.memories', 'update', 'body'),
    ('public.memories', 'delete', 'all'),
    ('public.tenants', 'select', 'all'),
    ('public.tenants', 'update', 'name'),
    ('public.tenants', 'delete', 'all');
select set_eq($$select * from pg_temp.grants('authenticated')$$, 'expected_for_people', 'authenticated has these rights and no others');
select is_empty($$select * from pg_temp.grants('anon')$$, 'anon has none');
create role nobody_in_particular;
select is_empty($$select * from pg_temp.grants('nobody_in_particular')$$, 'nor has everybody');

select set_eq(
  $$select distinct privilege from pg_temp.grants('service_role')$$,
  array['select', 'insert', 'update', 'delete'],
  'the secret key reads and writes, but truncates nothing and installs no triggers'
);
select set_eq(
  $$select relation from pg_temp.grants('service_role') where privilege = 'update'$$,
  $$
    select name
    from pg_temp.ours
    where name not in ('ai.approval_decisions', 'ai.audit_events', 'private.audit_heads', 'private.audit_pending', 'private.object_removals', 'private.tenant_principals', 'private.shipped_policies', 'private.queue_limits', 'private.sweeps', 'private.vector_sets', 'private.term_statistics', 'private.burnt_tool_call_tokens', 'ai.usage_entries')
      and name not like 'private.search\_%'
  $$,
  'and leaves principals and the search index alone'
);

-- Said once more by name, because it is what leaks would be made of.
select is_empty(
  $$
    select ours.name, pg_attribute.attname
    from pg_temp.ours
    join pg_attribute on pg_attribute.attrelid = ours.oid and pg_attribute.attnum > 0
    where ours.schema_name <> 'private'
      and pg_attribute.attname ~ '(embedding$|lexemes|lease|token_hash|secret|password|allowed_principals|principal_id)'
      -- Stands for a vector and is none.
      and pg_attribute.atttypid <> 'public.memory_embedding'::regtype
      and has_column_privilege('authenticated', ours.oid, pg_attribute.attname, 'select')
  $$,
  'vectors, leases and principals are not selectable in any exposed schema'
);
select set_eq(
  $$
    select ours.name
    from pg_temp.ours
    join pg_attribute on pg_attribute.attrelid = ours.oid and pg_attribute.attnum > 0
    where pg_attribute.atttypid in ('extensions.vector'::regtype, 'extensions.halfvec'::regtype, 'tsvector'::regtype)
      and has_column_privilege('authenticated', ours.oid, pg_attribute.attname, 'select')
  $$,
  array['private.search_lexemes', 'private.search_vectors'],
  'and in private only where search needs them'
);
select is_empty(
  $$
    select ours.name, pg_attribute.attname
    from pg_temp.ours
    join pg_attribute on pg_attribute.attrelid = ours.oid and pg_attribute.attnum > 0
    where pg_attribute.attname in ('tenant_id', 'owner_id', 'user_id', 'source_id', 'id', 'created_by', 'invited_by')
      and has_column_privilege('authenticated', ours.oid, pg_attribute.attname, 'update')
  $$,
  'nobody can hand a row to another tenant, person or parent'
);
select set_eq(
  $$
    select ours.name, pg_attribute.attname::text
    from pg_temp.ours
    join pg_attribute on pg_attribute.attrelid = ours.oid and pg_attribute.attnum > 0
    where pg_attribute.attname in ('owner_id', 'user_id', 'id', 'created_by', 'invited_by')
      and has_column_privilege('authenticated', ours.oid, pg_attribute.attname, 'insert')
  $$,
  $$values
    ('public.documents', 'owner_id'), ('public.memories', 'user_id'), ('public.group_members', 'user_id'), ('ai.source_grants', 'user_id')$$,
  'nobody signs a row for somebody else: where a person can be named, the policy asks who it is'
);

-- Schemas.
select is_empty(
  $$
    select pg_namespace.nspname, roles.name
    from pg_namespace
    cross join unnest(array['anon', 'authenticated', 'service_role', 'nobody_in_particular']) as roles (name)
    where pg_namespace.nspname in ('public', 'ai', 'private', 'pgboss') and has_schema_privilege(roles.name, pg_namespace.oid, 'create')
  $$,
  'nobody makes objects in our schemas'
);
select is_empty(
  $$
    select roles.name
    from unnest(array['anon', 'authenticated', 'service_role', 'nobody_in_particular', 'supabase_auth_admin']) as roles (name)
    where has_schema_privilege(roles.name, 'pgboss', 'usage')
  $$,
  'nobody enters the schema of the queue'
);
select is_empty(
  $$
    select pg_class.oid::regclass, roles.name
    from pg_class
    join pg_namespace on pg_namespace.oid = pg_class.relnamespace
    cross join unnest(array['anon', 'authenticated', 'service_role', 'nobody_in_particular']) as roles (name)
    where pg_namespace.nspname = 'pgboss' and pg_class.relkind in ('r', 'p', 'v')
      and has_table_privilege(roles.name, pg_class.oid, 'select, insert, update, delete, truncate')
  $$,
  'nor has rights on any of its tables'
);
select is_empty(
  $$
    select roles.name
    from unnest(array['anon', 'nobody_in_particular']) as roles (name)
    where has_schema_privilege(roles.name, 'private', 'usage')
  $$,
  'anon does not enter private'
);

select * from finish();
rollback;
