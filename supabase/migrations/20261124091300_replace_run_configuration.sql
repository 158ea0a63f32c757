create or replace function ai.run_configuration(run_id uuid, lease_token uuid)
returns jsonb
language sql
stable
set search_path = ''
as $$
  select jsonb_build_object(
    'principal_role', (
      case
        when agent_runs.user_id is null then 'backend'
        else (
          select memberships.role from public.memberships
          where memberships.tenant_id = agent_runs.tenant_id and memberships.user_id = agent_runs.user_id
        )
      end
    ),
    'tools', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object(
            'assignment_id', agent_tools.id, 'tool_type', agent_tools.tool_type, 'tool_name', agent_tools.tool_name,
            'tool_id', agent_tools.tool_id, 'config_override', agent_tools.config_override, 'name', tools.name,
            'description', tools.description, 'input_schema', tools.input_schema, 'config', tools.config,
            'secret_headers', tools.secret_headers, 'permissions', agent_tools.permissions
          )
          order by agent_tools.created_at, agent_tools.id
        ),
        '[]'
      )
      from ai.agent_tools
      left join ai.tools on tools.tenant_id = agent_tools.tenant_id and tools.id = agent_tools.tool_id
      where agent_tools.tenant_id = agent_runs.tenant_id and agent_tools.agent_id = agent_runs.agent_id
    ),
    'mcp_servers', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object(
            'id', agent_mcp_servers.id, 'name', agent_mcp_servers.name, 'url', agent_mcp_servers.url,
            'config', agent_mcp_servers.config, 'secret_headers', agent_mcp_servers.secret_headers,
            'pinned_tools', agent_mcp_servers.pinned_tools, 'permissions', agent_mcp_servers.permissions
          )
          order by agent_mcp_servers.created_at, agent_mcp_servers.id
        ),
        '[]'
      )
      from ai.agent_mcp_servers
      where agent_mcp_servers.tenant_id = agent_runs.tenant_id and agent_mcp_servers.agent_id = agent_runs.agent_id
        and agent_mcp_servers.enabled
    ),
    'hooks', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object(
            'id', hooks.id, 'event', hooks.event, 'matcher', hooks.matcher, 'type', hooks.type, 'config', hooks.config,
            'position', hooks.position
          )
          order by hooks.position, hooks.created_at, hooks.id
        ),
        '[]'
      )
      from ai.hooks
      where hooks.tenant_id = agent_runs.tenant_id and hooks.agent_id = agent_runs.agent_id and hooks.enabled
    ),
    'knowledge_bases', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object(
            'id', knowledge_bases.id, 'name', knowledge_bases.name, 'description', knowledge_bases.description,
            'config', agent_knowledge_bases.config
          )
          order by agent_knowledge_bases.created_at, agent_knowledge_bases.id
        ),
        '[]'
      )
      from ai.agent_knowledge_bases
      join ai.knowledge_bases
        on knowledge_bases.tenant_id = agent_knowledge_bases.tenant_id
        and knowledge_bases.id = agent_knowledge_bases.knowledge_base_id
      where agent_knowledge_bases.tenant_id = agent_runs.tenant_id and agent_knowledge_bases.agent_id = agent_runs.agent_id
    )
  )
  from ai.agent_runs
  where agent_runs.id = run_configuration.run_id and agent_runs.lease_token = run_configuration.lease_token;
$$;

comment on function ai.run_configuration(uuid, uuid) is
  'Ledger: what the agent of a run has been given, and the role of the person it acts for right now: {principal_role (viewer, member, admin, owner, or backend; null: not in the tenant any more), '
  'tools: [{assignment_id, tool_type, tool_name, tool_id, config_override, name, description, input_schema, config, secret_headers, permissions}], '
  'mcp_servers: [{id, name, url, config, secret_headers, pinned_tools, permissions}], hooks: [{id, event, matcher, type, config, position}], '
  'knowledge_bases: [{id, name, description, config}]}. Servers and hooks that are not enabled are left out; name to secret_headers are null for built-in tools. Null when the lease is lost.';
