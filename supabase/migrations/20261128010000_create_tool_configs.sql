-- Where a tool sends what it is given, and how, is for those who set it up: the column cannot be selected by anybody any more,
-- and admins read it by a function. Runs read it by the ledger (ai.run_configuration).
-- Functions deployed before this select the column: until the new ones are there, GET, POST and PUT of /api/tools answer 403.
-- Nothing is written by the POST and PUT that fail.
revoke select (config) on table ai.tools from authenticated;

comment on column ai.tools.config is
  '{endpoint, method, timeout_seconds, forward_user_jwt, session_token, retry_safe}. Written by admins, who read it by ai.tool_configs; no client role selects it. No secrets: those are sealed in secret_headers.';

create function private.tool_configs(tool_ids uuid[])
returns table (tool_id uuid, config jsonb)
language sql
stable
security definer -- no client role may select the column; so the rows are those of the policies by which tools are changed
set search_path = ''
as $$
  select tools.id, tools.config
  from ai.tools
  where tools.tenant_id = any (array(select private.caller_tenant_ids('admin')))
    and (tool_configs.tool_ids is null or tools.id = any (tool_configs.tool_ids));
$$;

comment on function private.tool_configs(uuid[]) is 'Core of ai.tool_configs.';

create function ai.tool_configs(tool_ids uuid[] default null)
returns table (tool_id uuid, config jsonb)
language sql
stable
set search_path = ''
as $$
  select configs.tool_id, configs.config from private.tool_configs(tool_configs.tool_ids) as configs;
$$;

comment on function ai.tool_configs(uuid[]) is
  'The config of these tools, or of all, as far as the caller may change them: admins and owners of their tenant, and its backend. Others get no row.';

revoke execute on function private.tool_configs(uuid[]) from public, anon, authenticated, service_role;
revoke execute on function ai.tool_configs(uuid[]) from public, anon, authenticated, service_role;
grant execute on function private.tool_configs(uuid[]) to authenticated;
grant execute on function ai.tool_configs(uuid[]) to authenticated;
