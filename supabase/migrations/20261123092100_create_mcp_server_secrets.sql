create function ai.mcp_server_secrets(server_id uuid, tenant_id uuid)
returns text
language sql
stable
set search_path = ''
as $$
  select agent_mcp_servers.secret_headers
  from ai.agent_mcp_servers
  where agent_mcp_servers.id = mcp_server_secrets.server_id and agent_mcp_servers.tenant_id = mcp_server_secrets.tenant_id;
$$;

comment on function ai.mcp_server_secrets(uuid, uuid) is
  'Ledger: the sealed headers of an MCP server, to ask it for its tools. Null when there are none.';

revoke execute on function ai.mcp_server_secrets(uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function ai.mcp_server_secrets(uuid, uuid) to service_role;
