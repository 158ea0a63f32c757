create table ai.hooks (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null default private.acting_tenant_id(),
  agent_id uuid not null,
  event text not null,
  matcher text,
  type text not null,
  config jsonb not null,
  enabled boolean not null default true,
  position int not null default 0,
  created_at timestamptz not null default now(),
  constraint hooks_agent_fkey foreign key (tenant_id, agent_id) references ai.agents (tenant_id, id) on delete cascade,
  constraint hooks_event_is_known check (
    event in ('OnRunStart', 'PreToolUse', 'PostToolUse', 'OnDelegation', 'PreResponse', 'OnRunComplete')
  ),
  constraint hooks_type_is_known check (type in ('http', 'rule', 'approval')),
  constraint hooks_type_can_act_on_event check (
    case type
      when 'rule' then event in ('OnRunStart', 'PreToolUse', 'OnDelegation', 'PreResponse')
      when 'approval' then event = 'PreToolUse'
      else true
    end
  ),
  constraint hooks_matcher_has_a_length check (char_length(matcher) between 1 and 200),
  constraint hooks_matcher_is_of_a_tool check (matcher is null or event in ('PreToolUse', 'PostToolUse')),
  constraint hooks_config_is_an_object check (jsonb_typeof(config) = 'object' and pg_column_size(config) <= 65536),
  constraint hooks_config_holds_no_headers check (not config ? 'headers'),
  constraint hooks_position_is_in_range check (position between 0 and 10000)
);

comment on table ai.hooks is 'What stands between an agent and the world: requests, rules and approvals at six points of a run.';
comment on column ai.hooks.matcher is 'Tool the hook is about; null: all.';
comment on column ai.hooks.config is 'http: {url, timeout, include_run_context}; rule: {condition, action, message} or {rules}; approval: {message, timeout}. No secrets: members read it.';

create index hooks_tenant_id_agent_id_idx on ai.hooks (tenant_id, agent_id, position, created_at);

alter table ai.hooks enable row level security;
alter table ai.hooks force row level security;
revoke all on table ai.hooks from anon, authenticated, service_role;
grant select, delete on table ai.hooks to authenticated;
grant insert (tenant_id, agent_id, event, matcher, type, config, enabled, position) on table ai.hooks to authenticated;
grant select, insert, update, delete on table ai.hooks to service_role;

create policy "members read the hooks of their tenants" on ai.hooks
for select to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids())));

-- A request takes the arguments of tools, and answers, out of the tenant.
create policy "creators add rules and approvals to agents, admins requests too" on ai.hooks
for insert to authenticated
with check (
  tenant_id = any (array(select private.caller_tenant_ids('admin')))
  or (
    type <> 'http'
    and tenant_id = any (array(select private.caller_tenant_ids('member')))
    and private.may_change_agent(agent_id)
  )
);

create policy "creators remove rules and approvals from agents, admins requests too" on ai.hooks
for delete to authenticated
using (
  tenant_id = any (array(select private.caller_tenant_ids('admin')))
  or (
    type <> 'http'
    and tenant_id = any (array(select private.caller_tenant_ids('member')))
    and private.may_change_agent(agent_id)
  )
);

create trigger refuse_tenant_change before update on ai.hooks for each row execute function private.refuse_tenant_change();
create trigger refuse_too_many_rows after insert on ai.hooks for each row execute function private.refuse_too_many_rows('agent_id', '50');
