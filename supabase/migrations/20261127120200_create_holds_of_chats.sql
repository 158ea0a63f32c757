-- Whoever deletes a conversation of the chat locks it, then its messages, then the runs that they were asked and answered in. Deleting runs goes
-- the other way by itself: an answer refers to its run, so it is changed when that goes. So what deletes runs holds their conversations first:
-- session, conversations of the chat, runs, their answers. Held so that nobody deletes them, and an answer can still come in.
create function private.hold_chats_of_runs(run_ids uuid[], waits boolean)
returns uuid[]
language plpgsql
security definer -- whoever deletes runs need not see the conversations
set search_path = ''
set enable_seqscan = off
as $$
declare
  chat_ids uuid[];
  held_ids uuid[];
begin
  chat_ids := array(
    select chat_messages.session_id
    from ai.agent_runs
    join public.chat_messages on chat_messages.tenant_id = agent_runs.tenant_id and chat_messages.id = agent_runs.chat_message_id
    where agent_runs.id = any (hold_chats_of_runs.run_ids)
    union
    select chat_messages.session_id
    from ai.agent_runs
    join public.chat_messages on chat_messages.tenant_id = agent_runs.tenant_id and chat_messages.run_id = agent_runs.id
    where agent_runs.id = any (hold_chats_of_runs.run_ids)
  );
  if hold_chats_of_runs.waits then
    perform from public.chat_sessions where chat_sessions.id = any (chat_ids) order by chat_sessions.id for key share;
    return hold_chats_of_runs.run_ids;
  end if;
  held_ids := array(
    select chat_sessions.id from public.chat_sessions where chat_sessions.id = any (chat_ids) for key share skip locked
  );
  return array(
    select agent_runs.id
    from ai.agent_runs
    where agent_runs.id = any (hold_chats_of_runs.run_ids)
      and not exists (
        select
        from public.chat_messages
        where chat_messages.tenant_id = agent_runs.tenant_id
          and (chat_messages.id = agent_runs.chat_message_id or chat_messages.run_id = agent_runs.id)
          and chat_messages.session_id <> all (held_ids)
      )
  );
end;
$$;

comment on function private.hold_chats_of_runs(uuid[], boolean) is
  'Keeps the conversations of the chat that these runs belong to from being deleted until the transaction ends. Returns the runs whose conversations are all held: every one, after a wait for who is deleting them, or those that nobody is.';

create function private.hold_chats_of_session()
returns trigger
language plpgsql
security definer -- as above
set search_path = ''
as $$
begin
  perform private.hold_chats_of_runs(
    array(
      select agent_runs.id
      from ai.agent_runs
      where agent_runs.tenant_id = old.tenant_id and agent_runs.session_id = old.id
        and (
          agent_runs.chat_message_id is not null
          or exists (
            select from public.chat_messages where chat_messages.tenant_id = agent_runs.tenant_id and chat_messages.run_id = agent_runs.id
          )
        )
    ),
    true
  );
  return old;
end;
$$;

comment on function private.hold_chats_of_session() is
  'Trigger: a session that is deleted takes its runs along, so the conversations they belong to are held first.';

revoke execute on function private.hold_chats_of_runs(uuid[], boolean) from public, anon, authenticated, service_role;
revoke execute on function private.hold_chats_of_session() from public, anon, authenticated, service_role;
-- The sweep runs with the secret key's rights.
grant execute on function private.hold_chats_of_runs(uuid[], boolean) to service_role;

create trigger hold_chats before delete on ai.agent_sessions for each row execute function private.hold_chats_of_session();
