create table ai.agents (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null default private.acting_tenant_id(),
  name text not null,
  model text,
  system_prompt text,
  settings jsonb not null default '{}',
  is_default boolean not null default false,
  created_by uuid default private.caller_user_id(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint agents_tenant_id_fkey foreign key (tenant_id) references public.tenants (id) on delete cascade,
  constraint agents_created_by_fkey foreign key (created_by) references auth.users (id) on delete set null,
  constraint agents_tenant_id_id_key unique (tenant_id, id),
  constraint agents_name_has_a_length check (char_length(btrim(name)) between 1 and 200),
  constraint agents_model_has_a_length check (char_length(model) <= 200),
  constraint agents_system_prompt_has_a_length check (char_length(system_prompt) <= 100000),
  constraint agents_settings_is_an_object check (jsonb_typeof(settings) = 'object' and pg_column_size(settings) <= 65536)
);

comment on table ai.agents is 'A configured assistant.';
comment on column ai.agents.model is 'Name the chat provider knows; null means the provider''s default.';
comment on column ai.agents.is_default is 'The one a chat without agent_id talks to; each tenant has exactly one, made with it.';

create unique index agents_default_key on ai.agents (tenant_id) where is_default;
create index agents_tenant_id_created_at_idx on ai.agents (tenant_id, created_at desc, id);
create index agents_created_by_idx on ai.agents (created_by);

alter table ai.agents enable row level security;
alter table ai.agents force row level security;
revoke all on table ai.agents from anon, authenticated, service_role;
grant select, delete on table ai.agents to authenticated;
grant insert (tenant_id, name, model, system_prompt, settings) on table ai.agents to authenticated;
grant update (name, model, system_prompt, settings) on table ai.agents to authenticated;
grant select, insert, update, delete on table ai.agents to service_role;

create policy "members read the agents of their tenants" on ai.agents
for select to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids())));

create policy "members create agents" on ai.agents
for insert to authenticated
with check (
  tenant_id = any (array(select private.caller_tenant_ids('member')))
  and created_by is not distinct from (select private.caller_user_id())
);

create policy "creators and admins change agents" on ai.agents
for update to authenticated
using (
  tenant_id = any (array(select private.caller_tenant_ids('admin')))
  or (created_by = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids('member'))))
)
with check (
  tenant_id = any (array(select private.caller_tenant_ids('admin')))
  or (created_by = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids('member'))))
);

create policy "creators and admins delete agents, but the default one" on ai.agents
for delete to authenticated
using (
  not is_default
  and (
    tenant_id = any (array(select private.caller_tenant_ids('admin')))
    or (created_by = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids('member'))))
  )
);

create trigger refuse_tenant_change before update on ai.agents for each row execute function private.refuse_tenant_change();
create trigger touch_updated_at before update on ai.agents for each row execute function private.touch_updated_at();
