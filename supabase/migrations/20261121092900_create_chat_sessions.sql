create table public.chat_sessions (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null default private.acting_tenant_id(),
  user_id uuid not null default auth.uid(),
  agent_id uuid,
  title text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint chat_sessions_tenant_id_fkey foreign key (tenant_id) references public.tenants (id) on delete cascade,
  constraint chat_sessions_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade,
  constraint chat_sessions_agent_fkey foreign key (tenant_id, agent_id) references ai.agents (tenant_id, id) on delete set null (agent_id),
  constraint chat_sessions_tenant_id_id_user_id_key unique (tenant_id, id, user_id),
  constraint chat_sessions_title_has_a_length check (char_length(title) <= 200)
);

comment on table public.chat_sessions is 'A person''s conversation in the app. Belongs to that person alone.';

create index chat_sessions_tenant_id_user_id_updated_at_idx on public.chat_sessions (tenant_id, user_id, updated_at desc, id);
create index chat_sessions_user_id_idx on public.chat_sessions (user_id);
create index chat_sessions_tenant_id_agent_id_idx on public.chat_sessions (tenant_id, agent_id);

alter table public.chat_sessions enable row level security;
alter table public.chat_sessions force row level security;
revoke all on table public.chat_sessions from anon, authenticated, service_role;
grant select, delete on table public.chat_sessions to authenticated;
grant insert (tenant_id, agent_id, title) on table public.chat_sessions to authenticated;
grant update (title) on table public.chat_sessions to authenticated;
grant select, insert, update, delete on table public.chat_sessions to service_role;

create policy "people read their own chat sessions" on public.chat_sessions
for select to authenticated
using (user_id = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids())));

create policy "people begin chat sessions of their own" on public.chat_sessions
for insert to authenticated
with check (
  user_id = (select auth.uid())
  and (select private.caller_user_id()) is not null
  and tenant_id = any (array(select private.caller_tenant_ids()))
);

create policy "people retitle their own chat sessions" on public.chat_sessions
for update to authenticated
using (user_id = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids())))
with check (user_id = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids())));

create policy "people delete their own chat sessions" on public.chat_sessions
for delete to authenticated
using (user_id = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids())));

create trigger refuse_tenant_change before update on public.chat_sessions for each row execute function private.refuse_tenant_change();
create trigger touch_updated_at before update on public.chat_sessions for each row execute function private.touch_updated_at();
