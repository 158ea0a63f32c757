create table public.chat_messages (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null,
  user_id uuid not null,
  session_id uuid,
  reply_to_id uuid,
  role text not null default 'event',
  content text,
  status text not null default 'complete',
  payload jsonb not null default '{}',
  run_id uuid,
  -- Not now(): a question and its answer written in one transaction must keep their order.
  created_at timestamptz not null default clock_timestamp(),
  constraint chat_messages_tenant_id_fkey foreign key (tenant_id) references public.tenants (id) on delete cascade,
  constraint chat_messages_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade,
  constraint chat_messages_session_fkey foreign key (tenant_id, session_id, user_id) references public.chat_sessions (tenant_id, id, user_id) on delete cascade,
  constraint chat_messages_run_fkey foreign key (tenant_id, run_id) references ai.agent_runs (tenant_id, id) on delete set null (run_id),
  constraint chat_messages_id_session_id_key unique (id, session_id),
  constraint chat_messages_reply_to_fkey foreign key (reply_to_id, session_id) references public.chat_messages (id, session_id) on delete cascade,
  constraint chat_messages_reply_to_id_key unique (reply_to_id),
  constraint chat_messages_role_is_known check (role in ('user', 'assistant', 'event')),
  constraint chat_messages_status_is_known check (status in ('complete', 'failed')),
  constraint chat_messages_content_has_a_length check (char_length(content) <= 1000000),
  constraint chat_messages_spoken_in_a_session check (role = 'event' or (session_id is not null and content is not null))
);

comment on table public.chat_messages is 'One turn of a chat session, or (role event) an event that a backend mirrors, as in recipe 4 of the cookbook.';
comment on column public.chat_messages.reply_to_id is 'The question an answer belongs to; at most one answer each.';
comment on column public.chat_messages.payload is 'What the broadcast carries as `event`.';

create index chat_messages_session_id_created_at_idx on public.chat_messages (tenant_id, session_id, created_at, id);
create index chat_messages_user_id_idx on public.chat_messages (user_id);
create index chat_messages_tenant_id_run_id_idx on public.chat_messages (tenant_id, run_id);

alter table public.chat_messages enable row level security;
alter table public.chat_messages force row level security;
revoke all on table public.chat_messages from anon, authenticated, service_role;
-- No insert for clients: only a person's own words may be stored as theirs, and begin_chat_turn() does that.
grant select on table public.chat_messages to authenticated;
grant select, insert, update, delete on table public.chat_messages to service_role;

create policy "people read their own chat messages" on public.chat_messages
for select to authenticated
using (user_id = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids())));

create function private.complete_chat_message()
returns trigger
language plpgsql
security definer -- a backend that mirrors events names only the user
set search_path = ''
as $$
declare
  tenant_ids uuid[];
begin
  if new.tenant_id is null then
    select array_agg(memberships.tenant_id) into tenant_ids
    from public.memberships
    where memberships.user_id = new.user_id and memberships.tenant_id = all (private.tenant_narrowing());
    if coalesce(cardinality(tenant_ids), 0) <> 1 then
      perform private.raise_error(400, 'tenant_required', 'The tenant of this message cannot be told from its user.', 'Send tenant_id, or the x-tenant-id header.');
    end if;
    new.tenant_id := tenant_ids[1];
  end if;
  if not private.is_member(new.tenant_id, new.user_id) then
    perform private.raise_error(403, 'forbidden', 'The user is not a member of this tenant.', 'Check user_id and tenant_id.');
  end if;
  return new;
end;
$$;

comment on function private.complete_chat_message() is 'Trigger: fills tenant_id from the user''s only membership (or x-tenant-id), and refuses messages to people outside the tenant.';

create function private.broadcast_chat_message()
returns trigger
language plpgsql
security definer -- realtime.send() runs with the caller's rights and swallows the refusal: as invoker nothing would ever arrive
set search_path = ''
as $$
declare
  -- Larger ones are announced by id; the client reads the row under its own rights.
  is_large constant boolean := octet_length(new.payload::text) > 32768;
begin
  perform realtime.send(
    payload => jsonb_build_object(
      'message_id', new.id,
      'session_id', new.session_id,
      'role', new.role,
      'status', new.status,
      'event', case when is_large then null else new.payload end,
      'truncated', is_large
    ),
    event => 'chat_event',
    topic => 'chat:' || new.user_id::text,
    private => true
  );
  return null;
end;
$$;

comment on function private.broadcast_chat_message() is 'Trigger: tells the devices of a person about each of their messages on the private topic chat:{user_id}.';

revoke execute on function private.complete_chat_message() from public;
revoke execute on function private.broadcast_chat_message() from public;

create trigger complete_chat_message before insert on public.chat_messages for each row execute function private.complete_chat_message();
create trigger broadcast_chat_message after insert on public.chat_messages for each row execute function private.broadcast_chat_message();
create trigger refuse_tenant_change before update on public.chat_messages for each row execute function private.refuse_tenant_change();

-- Read only: without an insert policy nobody but the database can speak on these topics, so events cannot be forged.
create policy "people read their own chat channel" on realtime.messages
for select to authenticated
using (
  realtime.messages.extension = 'broadcast'
  and (select realtime.topic()) = 'chat:' || (select auth.uid())::text
  and exists (select private.caller_tenant_ids())
);
