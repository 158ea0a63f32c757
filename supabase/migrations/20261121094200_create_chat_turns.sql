create function private.begin_chat_turn(session_id uuid, agent_id uuid, message text)
returns jsonb
language plpgsql
security definer -- messages are written through functions only, so that nobody's words can be put into another's mouth
set search_path = ''
as $$
declare
  caller uuid := private.caller_user_id();
  session public.chat_sessions;
  tenant uuid;
  agent ai.agents;
  spoken public.chat_messages;
  is_new boolean := begin_chat_turn.session_id is null;
begin
  if caller is null then
    perform private.raise_error(403, 'forbidden', 'Only a signed-in person can chat.', 'Sign in, or use the agent API.');
  end if;
  if begin_chat_turn.message is null or char_length(btrim(begin_chat_turn.message)) = 0 or char_length(begin_chat_turn.message) > 20000 then
    perform private.raise_error(400, 'invalid_request', 'message must have 1 to 20000 characters.', null);
  end if;

  if not is_new then
    select * into session
    from public.chat_sessions
    where chat_sessions.id = begin_chat_turn.session_id
      and chat_sessions.user_id = caller
      and chat_sessions.tenant_id = any (array(select private.caller_tenant_ids()));
    if session.id is null then
      perform private.raise_error(404, 'session_not_found', 'Session not found', 'Leave session_id out to begin a new session.');
    end if;
  end if;

  if begin_chat_turn.agent_id is null and session.id is null then
    tenant := private.acting_tenant_id();
  else
    tenant := session.tenant_id;
  end if;
  select * into agent
  from ai.agents
  where case
    when coalesce(begin_chat_turn.agent_id, session.agent_id) is not null then agents.id = coalesce(begin_chat_turn.agent_id, session.agent_id)
    else agents.is_default and agents.tenant_id = tenant
  end
    and agents.tenant_id = any (array(select private.caller_tenant_ids()))
    and (session.tenant_id is null or agents.tenant_id = session.tenant_id);
  if agent.id is null then
    perform private.raise_error(404, 'agent_not_found', 'Agent not found', 'Check agent_id.');
  end if;

  if is_new then
    insert into public.chat_sessions (tenant_id, user_id, agent_id, title)
    values (agent.tenant_id, caller, agent.id, left(btrim(regexp_replace(begin_chat_turn.message, '\s+', ' ', 'g')), 80))
    returning * into session;
  else
    update public.chat_sessions set agent_id = agent.id where chat_sessions.id = session.id;
  end if;

  insert into public.chat_messages (tenant_id, user_id, session_id, role, content, payload)
  values (session.tenant_id, caller, session.id, 'user', begin_chat_turn.message, jsonb_build_object('event', 'user_message', 'content', begin_chat_turn.message))
  returning * into spoken;

  return jsonb_build_object(
    'session_id', session.id, 'is_new_session', is_new, 'agent_id', agent.id, 'tenant_id', session.tenant_id, 'user_id', caller,
    'message_id', spoken.id,
    'knowledge_base_ids', (
      select coalesce(jsonb_agg(agent_knowledge_bases.knowledge_base_id order by agent_knowledge_bases.created_at), '[]')
      from ai.agent_knowledge_bases
      where agent_knowledge_bases.agent_id = agent.id
    )
  );
end;
$$;

comment on function private.begin_chat_turn(uuid, uuid, text) is 'Core of public.begin_chat_turn().';

create function public.begin_chat_turn(session_id uuid default null, agent_id uuid default null, message text default null)
returns jsonb
language sql
set search_path = ''
as $$
  select private.begin_chat_turn(session_id, agent_id, message);
$$;

comment on function public.begin_chat_turn(uuid, uuid, text) is
  'Stores the caller''s message in one of their sessions, or in a new one with the given agent or the tenant''s default. Returns {session_id, is_new_session, agent_id, tenant_id, '
  'user_id, message_id, knowledge_base_ids}. PT404 session_not_found or agent_not_found, PT400 invalid_request or tenant_required.';

create function ai.finish_chat_turn(
  session_id uuid,
  user_message_id uuid,
  run_id uuid default null,
  content text default '',
  status text default 'complete',
  payload jsonb default '{}'
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  question public.chat_messages;
  answer public.chat_messages;
begin
  select * into question
  from public.chat_messages
  where chat_messages.id = finish_chat_turn.user_message_id
    and chat_messages.session_id = finish_chat_turn.session_id
    and chat_messages.role = 'user';
  if question.id is null then
    perform private.raise_error(404, 'not_found', 'Message not found.', 'The session may have been deleted meanwhile.');
  end if;
  insert into public.chat_messages (tenant_id, user_id, session_id, reply_to_id, role, content, status, payload, run_id)
  select
    question.tenant_id, question.user_id, question.session_id, question.id, 'assistant', finish_chat_turn.content,
    finish_chat_turn.status, finish_chat_turn.payload,
    -- Only a run of the same person can stand behind the answer.
    (
      select agent_runs.id
      from ai.agent_runs
      where agent_runs.tenant_id = question.tenant_id and agent_runs.user_id = question.user_id and agent_runs.id = finish_chat_turn.run_id
    )
  on conflict on constraint chat_messages_reply_to_id_key do nothing
  returning * into answer;
  if answer.id is null then
    select * into answer from public.chat_messages where chat_messages.reply_to_id = question.id;
  else
    update public.chat_sessions set updated_at = now() where chat_sessions.id = question.session_id;
  end if;
  return to_jsonb(answer);
end;
$$;

comment on function ai.finish_chat_turn(uuid, uuid, uuid, text, text, jsonb) is
  'Ledger: stores the answer to a question, once; a second call returns the first answer. status complete or failed. PT404 when the question is gone.';

revoke execute on function private.begin_chat_turn(uuid, uuid, text) from public;
revoke execute on function public.begin_chat_turn(uuid, uuid, text) from public, anon, authenticated, service_role;
revoke execute on function ai.finish_chat_turn(uuid, uuid, uuid, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function private.begin_chat_turn(uuid, uuid, text) to authenticated;
grant execute on function public.begin_chat_turn(uuid, uuid, text) to authenticated;
grant execute on function ai.finish_chat_turn(uuid, uuid, uuid, text, text, jsonb) to service_role;
