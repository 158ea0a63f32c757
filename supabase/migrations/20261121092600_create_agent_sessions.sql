create table ai.agent_sessions (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null,
  session_id text not null,
  agent_id uuid,
  user_id uuid,
  session_data jsonb not null default '{}',
  metadata jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint agent_sessions_tenant_id_fkey foreign key (tenant_id) references public.tenants (id) on delete cascade,
  constraint agent_sessions_agent_fkey foreign key (tenant_id, agent_id) references ai.agents (tenant_id, id) on delete set null (agent_id),
  constraint agent_sessions_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade,
  constraint agent_sessions_tenant_id_id_key unique (tenant_id, id),
  -- Per tenant: a client-chosen id neither collides with nor reveals another tenant's.
  constraint agent_sessions_tenant_id_session_id_key unique (tenant_id, session_id),
  constraint agent_sessions_session_id_has_a_form check (session_id ~ '^[A-Za-z0-9_.:@-]{1,200}$')
);

comment on table ai.agent_sessions is 'A conversation with an agent. Its messages are its runs.';
comment on column ai.agent_sessions.session_id is 'Public id, chosen by the client or made as sess_ and 12 hex digits.';
comment on column ai.agent_sessions.user_id is 'The person it belongs to; null for a conversation of the tenant''s backend, which no person can reach.';

create index agent_sessions_tenant_id_agent_id_idx on ai.agent_sessions (tenant_id, agent_id);
create index agent_sessions_user_id_idx on ai.agent_sessions (user_id);

alter table ai.agent_sessions enable row level security;
alter table ai.agent_sessions force row level security;
revoke all on table ai.agent_sessions from anon, authenticated, service_role;
grant select, delete on table ai.agent_sessions to authenticated;
grant select, insert, update, delete on table ai.agent_sessions to service_role;

create policy "people read their own sessions" on ai.agent_sessions
for select to authenticated
using (
  (user_id = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids())))
  or tenant_id = any (array(select private.caller_backend_tenant_ids()))
);

create policy "people delete their own sessions" on ai.agent_sessions
for delete to authenticated
using (
  (user_id = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids())))
  or tenant_id = any (array(select private.caller_backend_tenant_ids()))
);

create trigger refuse_tenant_change before update on ai.agent_sessions for each row execute function private.refuse_tenant_change();
create trigger touch_updated_at before update on ai.agent_sessions for each row execute function private.touch_updated_at();
