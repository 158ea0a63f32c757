create table ai.agent_tools (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null default private.acting_tenant_id(),
  agent_id uuid not null,
  tool_type text not null,
  tool_name text not null,
  tool_id uuid,
  config_override jsonb not null default '{}',
  created_at timestamptz not null default now(),
  constraint agent_tools_agent_fkey foreign key (tenant_id, agent_id) references ai.agents (tenant_id, id) on delete cascade,
  constraint agent_tools_tool_fkey foreign key (tenant_id, tool_id) references ai.tools (tenant_id, id) on delete cascade,
  constraint agent_tools_agent_id_tool_name_key unique (agent_id, tool_name),
  constraint agent_tools_tool_type_is_known check (tool_type in ('builtin', 'custom')),
  constraint agent_tools_tool_id_matches_type check ((tool_type = 'custom') = (tool_id is not null)),
  -- Names are what the model calls: a custom tool takes neither a built-in one's nor one of an MCP server's.
  constraint agent_tools_tool_name_is_free check (
    tool_name ~ '^[A-Za-z0-9_-]{1,64}$'
    and (tool_type = 'builtin') = (
      tool_name in (
        'knowledge_search', 'database_query', 'database_write', 'storage_read', 'storage_write', 'http_request', 'web_scrape',
        'web_search', 'code_execute'
      )
    )
    and tool_name !~* '^mcp__'
  ),
  constraint agent_tools_config_override_is_an_object check (
    jsonb_typeof(config_override) = 'object' and pg_column_size(config_override) <= 65536
  )
);

comment on table ai.agent_tools is 'Which tools an agent has. A tool acts with the rights of the person asking, so most grant nothing; those that send data out are assigned by admins.';
comment on column ai.agent_tools.tool_name is 'Name the model calls it by; one of ours for a built-in tool.';
comment on column ai.agent_tools.config_override is 'Of a database tool: {schemas: {schema: [table]}}; of other built-in tools: arguments that are forced into every call.';

create index agent_tools_tenant_id_agent_id_idx on ai.agent_tools (tenant_id, agent_id, created_at);
create index agent_tools_tenant_id_tool_id_idx on ai.agent_tools (tenant_id, tool_id);

alter table ai.agent_tools enable row level security;
alter table ai.agent_tools force row level security;
revoke all on table ai.agent_tools from anon, authenticated, service_role;
grant select, delete on table ai.agent_tools to authenticated;
grant insert (tenant_id, agent_id, tool_type, tool_name, tool_id, config_override) on table ai.agent_tools to authenticated;
grant update (config_override) on table ai.agent_tools to authenticated;
grant select, insert, update, delete on table ai.agent_tools to service_role;

create function private.sends_data_out(tool_type text, tool_name text)
returns boolean
language sql
immutable
set search_path = ''
as $$
  select tool_type <> 'builtin' or tool_name in ('http_request', 'web_scrape', 'web_search', 'code_execute');
$$;

comment on function private.sends_data_out(text, text) is 'Whether a call of this tool takes data out of the tenant.';

revoke execute on function private.sends_data_out(text, text) from public;
grant execute on function private.sends_data_out(text, text) to authenticated;

create policy "members read the tools of the agents of their tenants" on ai.agent_tools
for select to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids())));

create policy "creators assign tools to agents, admins those that send data out" on ai.agent_tools
for insert to authenticated
with check (
  tenant_id = any (array(select private.caller_tenant_ids('admin')))
  or (
    not private.sends_data_out(tool_type, tool_name)
    and tenant_id = any (array(select private.caller_tenant_ids('member')))
    and private.may_change_agent(agent_id)
  )
);

create policy "creators configure tools of agents, admins those that send data out" on ai.agent_tools
for update to authenticated
using (
  tenant_id = any (array(select private.caller_tenant_ids('admin')))
  or (
    not private.sends_data_out(tool_type, tool_name)
    and tenant_id = any (array(select private.caller_tenant_ids('member')))
    and private.may_change_agent(agent_id)
  )
)
with check (
  tenant_id = any (array(select private.caller_tenant_ids('admin')))
  or (
    not private.sends_data_out(tool_type, tool_name)
    and tenant_id = any (array(select private.caller_tenant_ids('member')))
    and private.may_change_agent(agent_id)
  )
);

create policy "creators and admins take tools from agents" on ai.agent_tools
for delete to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids('member'))) and private.may_change_agent(agent_id));

create trigger refuse_tenant_change before update on ai.agent_tools for each row execute function private.refuse_tenant_change();
create trigger refuse_too_many_rows after insert on ai.agent_tools for each row execute function private.refuse_too_many_rows('agent_id', '50');
