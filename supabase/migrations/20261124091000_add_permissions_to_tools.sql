-- Whether a tool may be called, for whom, and who has to say yes first. Admins decide it; the agent's creator cannot take it back
-- by taking the tool away and giving it again.
create function private.is_approval_rule(rule jsonb)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
declare
  key text;
  value jsonb;
begin
  if rule is null or jsonb_typeof(rule) <> 'object' then
    return false;
  end if;
  for key, value in select * from jsonb_each(rule) loop
    if not coalesce(
      case key
        when 'role' then value = 'null' or value <@ '["viewer", "member", "admin", "owner"]'
        when 'group_id' then
          value = 'null'
          or (jsonb_typeof(value) = 'string' and value #>> '{}' ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$')
        when 'four_eyes' then jsonb_typeof(value) = 'boolean'
        when 'quorum' then value #>> '{}' ~ '^[0-9]{1,2}$' and jsonb_typeof(value) = 'number' and value between '1' and '20'
        when 'expires_in_seconds' then
          value #>> '{}' ~ '^[0-9]{1,7}$' and jsonb_typeof(value) = 'number' and value between '1' and '3456000'
        when 'message' then jsonb_typeof(value) = 'string' and char_length(value #>> '{}') <= 500
        else false
      end,
      false
    ) then
      return false;
    end if;
  end loop;
  return true;
end;
$$;

comment on function private.is_approval_rule(jsonb) is
  'Whether this says who may approve a call: {role, group_id, four_eyes, quorum (1 to 20), expires_in_seconds (1 to 3456000: 40 days), message}, each of them optional.';

create function private.is_tool_permissions(permissions jsonb, of_server boolean default false)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
declare
  key text;
  value jsonb;
  answers constant jsonb := '["allow", "ask", "deny"]';
begin
  if permissions is null or jsonb_typeof(permissions) <> 'object' or pg_column_size(permissions) > 16384 then
    return false;
  end if;
  for key, value in select * from jsonb_each(permissions) loop
    if not coalesce(
      case key
        when 'default' then jsonb_typeof(value) = 'string' and value <@ answers
        when 'roles' then
          jsonb_typeof(value) = 'object'
          and not exists (
            select from jsonb_each(value) as roles (name, answer)
            where roles.name not in ('viewer', 'member', 'admin', 'owner', 'backend')
              or jsonb_typeof(roles.answer) <> 'string' or not roles.answer <@ answers
          )
        when 'approval' then private.is_approval_rule(value)
        when 'tools' then
          of_server and jsonb_typeof(value) = 'object'
          and not exists (
            select from jsonb_each(value) as tools (name, permissions)
            where char_length(tools.name) not between 1 and 200 or not private.is_tool_permissions(tools.permissions)
          )
        else false
      end,
      false
    ) then
      return false;
    end if;
  end loop;
  return true;
end;
$$;

comment on function private.is_tool_permissions(jsonb, boolean) is
  'Whether this says who may call a tool: {default: allow, ask or deny, roles: {viewer, member, admin, owner, backend: the same}, approval: a rule}, each of them optional. '
  'Of a server also {tools: {name: the same}} for single tools of it.';

-- Clients write the columns, and a check is made with the rights of who writes.
revoke execute on function private.is_approval_rule(jsonb) from public;
revoke execute on function private.is_tool_permissions(jsonb, boolean) from public;
grant execute on function private.is_approval_rule(jsonb) to authenticated, service_role;
grant execute on function private.is_tool_permissions(jsonb, boolean) to authenticated, service_role;

alter table ai.agent_tools
add column permissions jsonb not null default '{}',
add constraint agent_tools_permissions_have_a_form check (private.is_tool_permissions(permissions));

comment on column ai.agent_tools.permissions is
  'Who may call it: {default, roles, approval}; {}: everybody. Set by admins, and what has any is taken away by them only.';

alter table ai.agent_mcp_servers
add column permissions jsonb not null default '{}',
add constraint agent_mcp_servers_permissions_have_a_form check (private.is_tool_permissions(permissions, true));

comment on column ai.agent_mcp_servers.permissions is
  'Who may call its tools: {default, roles, approval, tools: {name: {default, roles, approval}}}; {}: everybody.';

grant insert (permissions), update (permissions) on table ai.agent_tools to authenticated;
grant select (permissions), insert (permissions), update (permissions) on table ai.agent_mcp_servers to authenticated;

alter policy "creators assign tools to agents, admins those that send data out" on ai.agent_tools
with check (
  tenant_id = any (array(select private.caller_tenant_ids('admin')))
  or (
    permissions = '{}'
    and not private.sends_data_out(tool_type, tool_name)
    and tenant_id = any (array(select private.caller_tenant_ids('member')))
    and agent_id <> all (array(select private.agents_that_send_out()))
    and private.may_change_agent(agent_id)
  )
);

alter policy "creators configure tools of agents, admins those that send data out" on ai.agent_tools
using (
  tenant_id = any (array(select private.caller_tenant_ids('admin')))
  or (
    permissions = '{}'
    and not private.sends_data_out(tool_type, tool_name)
    and tenant_id = any (array(select private.caller_tenant_ids('member')))
    and agent_id <> all (array(select private.agents_that_send_out()))
    and private.may_change_agent(agent_id)
  )
)
with check (
  tenant_id = any (array(select private.caller_tenant_ids('admin')))
  or (
    permissions = '{}'
    and not private.sends_data_out(tool_type, tool_name)
    and tenant_id = any (array(select private.caller_tenant_ids('member')))
    and private.may_change_agent(agent_id)
  )
);

alter policy "creators and admins take tools from agents" on ai.agent_tools
using (
  tenant_id = any (array(select private.caller_tenant_ids('admin')))
  or (
    permissions = '{}'
    and tenant_id = any (array(select private.caller_tenant_ids('member')))
    and private.may_change_agent(agent_id)
  )
);
