-- Ending a run never waits for whoever deletes its conversation.
create or replace function private.store_chat_answer()
returns trigger
language plpgsql
security definer -- executors end runs with other rights than those of the chat
set search_path = ''
as $$
declare
  run record;
  question public.chat_messages;
  is_complete boolean;
begin
  for run in
    select agent_runs.id, agent_runs.tenant_id, agent_runs.user_id, agent_runs.chat_message_id, new_events.payload
    from new_events
    join ai.agent_runs on agent_runs.id = new_events.run_id
    where new_events.type = 'complete' and agent_runs.chat_message_id is not null
    order by agent_runs.id
  loop
    -- Locked, so that both are still there when the answer refers to them. Who deletes them has locked them before the run, which is
    -- locked here already: waiting for that would be waiting in a circle. There is no answer to keep of what is being deleted.
    perform
    from public.chat_sessions
    join public.chat_messages on chat_messages.tenant_id = chat_sessions.tenant_id and chat_messages.session_id = chat_sessions.id
    where chat_messages.tenant_id = run.tenant_id and chat_messages.id = run.chat_message_id
    for key share of chat_sessions skip locked;
    continue when not found;
    question := null;
    select * into question
    from public.chat_messages
    where chat_messages.tenant_id = run.tenant_id and chat_messages.id = run.chat_message_id and chat_messages.user_id = run.user_id
      and chat_messages.role = 'user'
    for key share skip locked;
    -- Who is no longer a member gets no messages, and their run must be able to end.
    continue when question.id is null or not private.is_member(question.tenant_id, question.user_id);
    is_complete := run.payload ->> 'status' = 'completed';
    insert into public.chat_messages (tenant_id, user_id, session_id, reply_to_id, role, content, status, payload, run_id)
    values (
      question.tenant_id, question.user_id, question.session_id, question.id, 'assistant', left(coalesce(run.payload ->> 'content', ''), 1000000),
      case when is_complete then 'complete' else 'failed' end,
      jsonb_build_object(
        'event', 'complete', 'content', coalesce(run.payload ->> 'content', ''), 'status', run.payload ->> 'status',
        'citations', coalesce(nullif(run.payload -> 'citations', 'null'), '[]')
      )
      || case run.payload ->> 'status'
        when 'completed' then '{}'::jsonb
        when 'cancelled' then jsonb_build_object('error', coalesce(run.payload ->> 'error', 'The run was cancelled.'))
        else jsonb_build_object('error', coalesce(run.payload ->> 'error', 'The agent failed.'), 'code', coalesce(run.payload ->> 'code', 'upstream_failed'))
      end,
      run.id
    )
    on conflict on constraint chat_messages_reply_to_id_key do nothing;
    if found then
      update public.chat_sessions set updated_at = now() where chat_sessions.id = question.session_id;
    end if;
  end loop;
  return null;
end;
$$;
