create table public.memories (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null default private.acting_tenant_id(),
  user_id uuid default private.caller_user_id(),
  agent_id uuid,
  body text not null,
  embedding extensions.vector,
  embedding_model text,
  created_at timestamptz not null default now(),
  constraint memories_tenant_id_fkey foreign key (tenant_id) references public.tenants (id) on delete cascade,
  constraint memories_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade,
  constraint memories_agent_fkey foreign key (tenant_id, agent_id) references ai.agents (tenant_id, id) on delete cascade,
  constraint memories_body_has_a_length check (char_length(body) between 1 and 20000),
  constraint memories_embedding_names_its_model check ((embedding is null) = (embedding_model is null))
);

comment on table public.memories is 'What an agent should remember: about one person, or for the whole tenant when user_id is null.';
comment on column public.memories.embedding is 'Not selectable by clients: a vector can be inverted into its text.';

create index memories_tenant_id_user_id_idx on public.memories (tenant_id, user_id);
create index memories_tenant_id_agent_id_idx on public.memories (tenant_id, agent_id);
create index memories_user_id_idx on public.memories (user_id);

alter table public.memories enable row level security;
alter table public.memories force row level security;
revoke all on table public.memories from anon, authenticated, service_role;
grant select (id, tenant_id, user_id, agent_id, body, embedding_model, created_at) on table public.memories to authenticated;
grant insert (tenant_id, user_id, agent_id, body) on table public.memories to authenticated;
grant update (body) on table public.memories to authenticated;
grant delete on table public.memories to authenticated;
grant select, insert, update, delete on table public.memories to service_role;

create policy "people read their own memories and those of the tenant" on public.memories
for select to authenticated
using (
  tenant_id = any (array(select private.caller_tenant_ids()))
  and (user_id is null or user_id = (select auth.uid()) or tenant_id = any (array(select private.caller_backend_tenant_ids())))
);

create policy "people write their own memories, admins those of the tenant" on public.memories
for insert to authenticated
with check (
  (user_id = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids('member'))))
  or (user_id is null and tenant_id = any (array(select private.caller_tenant_ids('admin'))))
);

create policy "people change their own memories, admins those of the tenant" on public.memories
for update to authenticated
using (
  (user_id = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids('member'))))
  or (user_id is null and tenant_id = any (array(select private.caller_tenant_ids('admin'))))
)
with check (
  (user_id = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids('member'))))
  or (user_id is null and tenant_id = any (array(select private.caller_tenant_ids('admin'))))
);

create policy "people forget their own memories, admins those of the tenant" on public.memories
for delete to authenticated
using (
  (user_id = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids('member'))))
  or (user_id is null and tenant_id = any (array(select private.caller_tenant_ids('admin'))))
);

create function private.forget_stale_embedding()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if new.body <> old.body and new.embedding::text is not distinct from old.embedding::text then
    new.embedding := null;
    new.embedding_model := null;
  end if;
  return new;
end;
$$;

comment on function private.forget_stale_embedding() is 'Trigger: a changed body loses the vector of the old one.';

revoke execute on function private.forget_stale_embedding() from public;

create trigger forget_stale_embedding before update on public.memories for each row execute function private.forget_stale_embedding();
create trigger refuse_tenant_change before update on public.memories for each row execute function private.refuse_tenant_change();
