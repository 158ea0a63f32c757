create function private.create_session(agent_id uuid, user_id uuid, initial_messages jsonb)
returns text
language plpgsql
security definer -- sessions and runs are written through functions only
set search_path = ''
as $$
declare
  caller constant uuid := private.caller_user_id();
  agent ai.agents;
  session ai.agent_sessions;
  message_count int := 0;
begin
  select * into agent
  from ai.agents
  where agents.id = create_session.agent_id and agents.tenant_id = any (array(select private.caller_tenant_ids()));
  if agent.id is null then
    perform private.raise_error(404, 'agent_not_found', 'Agent not found', 'Check the id of the agent.');
  end if;

  if caller is not null then
    if create_session.user_id is distinct from caller and create_session.user_id is not null then
      perform private.raise_error(403, 'forbidden', 'A session can be opened for oneself only.', 'Leave user_id out.');
    end if;
    -- What an assistant is supposed to have said cannot come from the person who asks it.
    if create_session.initial_messages is not null then
      perform private.raise_error(403, 'forbidden', 'Only the backend can begin a session with messages.', 'Use the secret key, and name the person in user_id.');
    end if;
  else
    if create_session.initial_messages is not null and create_session.user_id is null then
      perform private.raise_error(400, 'invalid_request', 'user_id is required with initial_messages', null);
    end if;
    if create_session.user_id is not null and not private.is_member(agent.tenant_id, create_session.user_id) then
      perform private.raise_error(403, 'forbidden', 'user_id names nobody in this tenant.', 'Name a member of the tenant.');
    end if;
  end if;

  if create_session.initial_messages is not null then
    if jsonb_typeof(create_session.initial_messages) <> 'array' then
      perform private.raise_error(400, 'invalid_request', 'initial_messages must be a list', null);
    end if;
    message_count := jsonb_array_length(create_session.initial_messages);
    if message_count > 200 then
      perform private.raise_error(400, 'invalid_request', 'initial_messages may have 200 messages', null);
    end if;
    if message_count % 2 = 1 or exists (
      select
      from jsonb_array_elements(create_session.initial_messages) with ordinality as message (value, place)
      where message.value ->> 'role' is distinct from case when message.place % 2 = 1 then 'user' else 'assistant' end
        or jsonb_typeof(message.value -> 'content') is distinct from 'string'
        or char_length(message.value ->> 'content') not between 1 and 20000
    ) then
      perform private.raise_error(
        400, 'invalid_request', 'initial_messages must be pairs of a user and an assistant message, each with 1 to 20000 characters of content', null
      );
    end if;
  end if;

  insert into ai.agent_sessions (tenant_id, session_id, agent_id, user_id)
  values (
    agent.tenant_id, 'sess_' || encode(extensions.gen_random_bytes(6), 'hex'), agent.id, coalesce(caller, create_session.user_id)
  )
  returning * into session;

  -- The messages of a session are its runs. These lie a little in the past, in order, before all that follow.
  insert into ai.agent_runs (
    tenant_id, session_id, agent_id, user_id, principal_id, provider, status, input_messages, output_messages, content, started_at,
    completed_at, created_at
  )
  select
    session.tenant_id, session.id, agent.id, session.user_id, (select auth.uid()), 'imported', 'completed',
    jsonb_build_array(jsonb_build_object('role', 'user', 'content', question.value ->> 'content')),
    jsonb_build_array(jsonb_build_object('role', 'assistant', 'content', answer.value ->> 'content')),
    answer.value ->> 'content', moment.at, moment.at, moment.at
  from generate_series(0, message_count / 2 - 1) as turn (number)
  cross join lateral (select create_session.initial_messages -> (2 * turn.number)) as question (value)
  cross join lateral (select create_session.initial_messages -> (2 * turn.number + 1)) as answer (value)
  cross join lateral (select now() - make_interval(secs => (message_count / 2 - turn.number) * 0.001)) as moment (at);

  return session.session_id;
end;
$$;

comment on function private.create_session(uuid, uuid, jsonb) is 'Core of ai.create_session().';

create function ai.create_session(agent_id uuid, user_id uuid default null, initial_messages jsonb default null)
returns text
language sql
set search_path = ''
as $$
  select private.create_session(agent_id, user_id, initial_messages);
$$;

comment on function ai.create_session(uuid, uuid, jsonb) is
  'Opens a session of the caller with an agent and returns its public id. The tenant''s backend may name the person it is for, and then begin it with messages: '
  'up to 200 {role, content}, user and assistant in turn. PT404 agent_not_found, PT403 forbidden, PT400 invalid_request.';

revoke execute on function private.create_session(uuid, uuid, jsonb) from public;
revoke execute on function ai.create_session(uuid, uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function private.create_session(uuid, uuid, jsonb) to authenticated;
grant execute on function ai.create_session(uuid, uuid, jsonb) to authenticated;

comment on column ai.agent_runs.provider is
  'Who answered, e.g. openai or offline; with model it says what stands behind an answer. imported: nobody here, the session began with it.';
