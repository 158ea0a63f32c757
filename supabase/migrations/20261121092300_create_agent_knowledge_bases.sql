create table ai.agent_knowledge_bases (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null default private.acting_tenant_id(),
  agent_id uuid not null,
  knowledge_base_id uuid not null,
  config jsonb not null default '{}',
  created_at timestamptz not null default now(),
  constraint agent_knowledge_bases_agent_fkey foreign key (tenant_id, agent_id) references ai.agents (tenant_id, id) on delete cascade,
  constraint agent_knowledge_bases_knowledge_base_fkey foreign key (tenant_id, knowledge_base_id) references ai.knowledge_bases (tenant_id, id) on delete cascade,
  constraint agent_knowledge_bases_agent_id_knowledge_base_id_key unique (agent_id, knowledge_base_id),
  constraint agent_knowledge_bases_config_is_an_object check (jsonb_typeof(config) = 'object' and pg_column_size(config) <= 65536)
);

comment on table ai.agent_knowledge_bases is 'Which knowledge bases an agent draws on. Linking grants nothing: search runs with the rights of the person asking.';

create index agent_knowledge_bases_tenant_id_agent_id_idx on ai.agent_knowledge_bases (tenant_id, agent_id);
create index agent_knowledge_bases_tenant_id_knowledge_base_id_idx on ai.agent_knowledge_bases (tenant_id, knowledge_base_id);

alter table ai.agent_knowledge_bases enable row level security;
alter table ai.agent_knowledge_bases force row level security;
revoke all on table ai.agent_knowledge_bases from anon, authenticated, service_role;
grant select, delete on table ai.agent_knowledge_bases to authenticated;
grant insert (tenant_id, agent_id, knowledge_base_id, config) on table ai.agent_knowledge_bases to authenticated;
grant update (config) on table ai.agent_knowledge_bases to authenticated;
grant select, insert, update, delete on table ai.agent_knowledge_bases to service_role;

create policy "members read the links of their tenants" on ai.agent_knowledge_bases
for select to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids())));

-- Whoever may change the agent may change what it draws on.
create function private.may_change_agent(agent_id uuid)
returns boolean
language sql
stable
set search_path = ''
as $$
  select exists (
    select from ai.agents
    where agents.id = may_change_agent.agent_id
      and (
        agents.tenant_id = any (array(select private.caller_tenant_ids('admin')))
        or (agents.created_by = (select auth.uid()) and agents.tenant_id = any (array(select private.caller_tenant_ids('member'))))
      )
  );
$$;

comment on function private.may_change_agent(uuid) is 'Whether the caller created this agent or is an admin of its tenant.';

revoke execute on function private.may_change_agent(uuid) from public;
grant execute on function private.may_change_agent(uuid) to authenticated;

create policy "creators and admins link knowledge bases" on ai.agent_knowledge_bases
for insert to authenticated
with check (tenant_id = any (array(select private.caller_tenant_ids('member'))) and private.may_change_agent(agent_id));

create policy "creators and admins change links" on ai.agent_knowledge_bases
for update to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids('member'))) and private.may_change_agent(agent_id))
with check (tenant_id = any (array(select private.caller_tenant_ids('member'))) and private.may_change_agent(agent_id));

create policy "creators and admins unlink knowledge bases" on ai.agent_knowledge_bases
for delete to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids('member'))) and private.may_change_agent(agent_id));

create trigger refuse_tenant_change before update on ai.agent_knowledge_bases for each row execute function private.refuse_tenant_change();
