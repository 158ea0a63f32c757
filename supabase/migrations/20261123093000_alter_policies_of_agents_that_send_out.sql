-- Once an admin has given an agent something that takes data out of the tenant, whoever words its prompt decides what leaves in
-- the runs of everybody. Its creator can then take tools away and link knowledge bases; the rest is the admins'.
create function private.agents_that_send_out()
returns setof uuid
language plpgsql
stable
security definer -- what a project hides from its members must be counted all the same
rows 100
set search_path = ''
set enable_seqscan = off
as $$
declare
  tenants constant uuid[] := private.caller_tenants('member');
begin
  return query
    select agent_tools.agent_id
    from ai.agent_tools
    where agent_tools.tenant_id = any (tenants) and private.sends_data_out(agent_tools.tool_type, agent_tools.tool_name)
    union
    -- What is switched off counts: who switches it on again does not expect another agent behind it.
    select agent_mcp_servers.agent_id
    from ai.agent_mcp_servers
    where agent_mcp_servers.tenant_id = any (tenants)
    union
    select hooks.agent_id
    from ai.hooks
    where hooks.tenant_id = any (tenants) and hooks.type = 'http';
end;
$$;

comment on function private.agents_that_send_out() is
  'Agents, in the tenants where the caller is a member or more, that have a tool which sends data out, an MCP server or a request as a hook.';

revoke execute on function private.agents_that_send_out() from public;
grant execute on function private.agents_that_send_out() to authenticated;

-- Updates are asked about the row as it was only: clients cannot change which agent it is about.
alter policy "creators and admins change agents" on ai.agents
using (
  tenant_id = any (array(select private.caller_tenant_ids('admin')))
  or (
    created_by = (select auth.uid())
    and tenant_id = any (array(select private.caller_tenant_ids('member')))
    and id <> all (array(select private.agents_that_send_out()))
  )
);

-- Adding as well: what was taken away could come back with another configuration.
alter policy "creators assign tools to agents, admins those that send data out" on ai.agent_tools
with check (
  tenant_id = any (array(select private.caller_tenant_ids('admin')))
  or (
    not private.sends_data_out(tool_type, tool_name)
    and tenant_id = any (array(select private.caller_tenant_ids('member')))
    and agent_id <> all (array(select private.agents_that_send_out()))
    and private.may_change_agent(agent_id)
  )
);

alter policy "creators configure tools of agents, admins those that send data out" on ai.agent_tools
using (
  tenant_id = any (array(select private.caller_tenant_ids('admin')))
  or (
    not private.sends_data_out(tool_type, tool_name)
    and tenant_id = any (array(select private.caller_tenant_ids('member')))
    and agent_id <> all (array(select private.agents_that_send_out()))
    and private.may_change_agent(agent_id)
  )
);

-- The message of a rule is read by the model, that of an approval by whoever decides.
alter policy "creators add rules and approvals to agents, admins requests too" on ai.hooks
with check (
  tenant_id = any (array(select private.caller_tenant_ids('admin')))
  or (
    type <> 'http'
    and tenant_id = any (array(select private.caller_tenant_ids('member')))
    and agent_id <> all (array(select private.agents_that_send_out()))
    and private.may_change_agent(agent_id)
  )
);

alter policy "creators remove rules and approvals from agents, admins requests too" on ai.hooks
using (
  tenant_id = any (array(select private.caller_tenant_ids('admin')))
  or (
    type <> 'http'
    and tenant_id = any (array(select private.caller_tenant_ids('member')))
    and agent_id <> all (array(select private.agents_that_send_out()))
    and private.may_change_agent(agent_id)
  )
);
