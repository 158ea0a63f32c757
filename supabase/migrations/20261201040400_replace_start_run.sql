-- A number written as 1e131071 is 131,072 digits to whoever reads it, and to a check of its length as well.
create or replace function private.start_run(
  agent_id uuid,
  session_id text,
  message text,
  model text,
  provider text,
  retrieved_context jsonb,
  context_handler_id uuid,
  request jsonb,
  multitask_strategy text,
  streams boolean,
  chat_message_id uuid
)
returns jsonb
language plpgsql
security definer -- sessions and runs are written through functions only, so that the principal is always the caller
set search_path = ''
set enable_seqscan = off
as $$
declare
  caller uuid := private.caller_user_id();
  strategy constant text := coalesce(start_run.multitask_strategy, 'queue');
  -- Only with its request can another executor take a run up.
  is_resumable constant boolean := coalesce(start_run.request, '{}') <> '{}';
  wanted_priority constant text := coalesce(start_run.request ->> 'priority', 'normal');
  is_for_the_queue constant boolean := coalesce(start_run.request @> '{"background": true}', false);
  agent ai.agents;
  session ai.agent_sessions;
  run ai.agent_runs;
  other ai.agent_runs;
  is_new boolean := false;
  has_others boolean := false;
  begins_now boolean;
  most_queued int;
begin
  select * into agent
  from ai.agents
  where agents.id = start_run.agent_id and agents.tenant_id = any (array(select private.caller_tenant_ids()))
  for key share;
  if agent.id is null then
    perform private.raise_error(404, 'agent_not_found', 'Agent not found', 'Check the id of the agent.');
  end if;
  if start_run.message is null or char_length(start_run.message) not between 1 and 200000 then
    perform private.raise_error(400, 'invalid_request', 'message must have 1 to 200000 characters', null);
  end if;
  if start_run.session_id is not null and start_run.session_id !~ '^[A-Za-z0-9_.:@-]{1,200}$' then
    perform private.raise_error(400, 'invalid_request', 'session_id may hold 1 to 200 letters, digits and _ . : @ -', null);
  end if;
  if jsonb_typeof(start_run.retrieved_context) not in ('array', 'null') then
    perform private.raise_error(400, 'invalid_request', 'The context must be a list.', null);
  end if;
  if not (private.has_plain_numbers(start_run.retrieved_context) and private.has_plain_numbers(start_run.request)) then
    perform private.raise_error(
      400, 'invalid_request', 'A number has more than 309 digits, or more than 400 behind the point.', 'Send it as text.'
    );
  end if;
  if pg_column_size(start_run.retrieved_context) > 4194304 then
    perform private.raise_error(400, 'invalid_request', 'The context is too large.', 'Send less context.');
  end if;
  if jsonb_typeof(start_run.request) <> 'object' or octet_length(start_run.request::text) > 4194304 then
    perform private.raise_error(400, 'invalid_request', 'The request must be an object of at most 4 MB.', null);
  end if;
  if strategy not in ('reject', 'queue', 'interrupt', 'rollback') then
    perform private.raise_error(400, 'invalid_request', 'multitask_strategy must be reject, queue, interrupt or rollback', null);
  end if;
  if wanted_priority not in ('normal', 'low') then
    perform private.raise_error(400, 'invalid_request', 'priority must be normal or low', 'Nothing comes before normal.');
  end if;
  if not agent.published then
    perform private.raise_error(409, 'agent_unpublished', 'This agent is not published.', 'Publish it, or use another.');
  end if;
  if start_run.chat_message_id is not null then
    perform
    from public.chat_sessions
    where chat_sessions.id in (
      select chat_messages.session_id
      from public.chat_messages
      where chat_messages.id = start_run.chat_message_id and chat_messages.tenant_id = agent.tenant_id and chat_messages.user_id = caller
    )
    for key share;
    perform
    from public.chat_messages
    where chat_messages.id = start_run.chat_message_id and chat_messages.tenant_id = agent.tenant_id
      and chat_messages.user_id = caller and chat_messages.role = 'user'
    for key share;
    if not found then
      perform private.raise_error(404, 'not_found', 'Message not found.', 'The session may have been deleted meanwhile.');
    end if;
  end if;
  perform private.check_budget(agent.tenant_id, caller, agent.id);

  perform private.lock_tenant_runs(agent.tenant_id);
  insert into ai.agent_sessions (tenant_id, session_id, agent_id, user_id)
  values (
    agent.tenant_id, coalesce(start_run.session_id, 'sess_' || encode(extensions.gen_random_bytes(6), 'hex')), agent.id, caller
  )
  on conflict on constraint agent_sessions_tenant_id_session_id_key do nothing
  returning * into session;
  is_new := found;

  if not is_new then
    -- Strict: another person's session, the backend's, and one with another agent look alike. The backend itself goes on
    -- with a person's session only by naming the person: what it may read is not for that person's history.
    select * into session
    from ai.agent_sessions
    where agent_sessions.tenant_id = agent.tenant_id
      and agent_sessions.session_id = start_run.session_id
      and agent_sessions.agent_id = agent.id
      and agent_sessions.user_id is not distinct from caller
    for no key update;
    if session.id is null then
      perform private.raise_error(404, 'session_not_found', 'Session not found', 'Leave session_id out to begin a new session.');
    end if;
    update ai.agent_sessions set updated_at = now() where agent_sessions.id = session.id;
    perform
    from public.chat_messages
    join ai.agent_runs on agent_runs.tenant_id = chat_messages.tenant_id and agent_runs.chat_message_id = chat_messages.id
    where agent_runs.tenant_id = session.tenant_id and agent_runs.session_id = session.id
      and agent_runs.status in ('pending', 'running', 'waiting')
    for key share of chat_messages;

    for other in
      select agent_runs.*
      from ai.agent_runs
      where agent_runs.tenant_id = session.tenant_id and agent_runs.session_id = session.id
        and agent_runs.status in ('pending', 'running', 'waiting')
      order by agent_runs.created_at, agent_runs.id
    loop
      if other.status = 'running' and other.lease_expires_at <= now()
        and not exists (select from private.run_requests where run_requests.run_id = other.id)
      then
        -- Its executor died, and nobody can take it up.
        perform private.end_run(other.id, 'failed', 'The run was interrupted.', 'interrupted');
        continue;
      end if;
      if strategy = 'reject' then
        perform private.raise_error(
          409, 'session_busy', 'Another run of this session is not over.', 'Wait for it, or choose another multitask_strategy.',
          jsonb_build_object('run_id', other.run_id)
        );
      elsif strategy = 'rollback' then
        update ai.agent_runs set rolled_back = true where agent_runs.id = other.id;
      end if;
      if strategy = 'queue' or private.request_cancel(other.id) = 'running' then
        has_others := true;
      end if;
    end loop;
  end if;

  begins_now := not has_others and not is_for_the_queue and private.has_free_place(agent.tenant_id);
  if not begins_now then
    if not is_resumable and has_others then
      perform private.raise_error(409, 'session_busy', 'Another run of this session is not over.', 'A run without a request cannot wait: try again later.');
    end if;
    most_queued := coalesce(
      (select tenant_settings.max_queued_runs from ai.tenant_settings where tenant_settings.tenant_id = agent.tenant_id), 10000
    );
    if not is_resumable or most_queued <= (
      select count(*) from ai.agent_runs where agent_runs.tenant_id = agent.tenant_id and agent_runs.status = 'pending'
    ) then
      perform private.raise_error(
        409, 'limit_reached', 'Too many runs wait already.', 'Try again when some of them are over.', jsonb_build_object('limit', most_queued)
      );
    end if;
  end if;

  insert into ai.agent_runs (
    tenant_id, session_id, agent_id, user_id, principal_id, model, provider, input_messages, retrieved_context, context_handler_id,
    multitask_strategy, streams, is_new_session, chat_message_id, priority, status, lease_token, lease_expires_at, attempts, started_at, created_at
  )
  values (
    agent.tenant_id, session.id, agent.id, session.user_id, (select auth.uid()), coalesce(start_run.model, agent.model), start_run.provider,
    jsonb_build_array(jsonb_build_object('role', 'user', 'content', start_run.message)),
    coalesce(nullif(start_run.retrieved_context, 'null'), '[]'), start_run.context_handler_id,
    strategy, coalesce(start_run.streams, true), is_new, start_run.chat_message_id, wanted_priority,
    case when begins_now then 'running' else 'pending' end,
    case when begins_now then gen_random_uuid() end,
    -- Who cannot be replaced may take longer to say that they live.
    case when begins_now then now() + case when is_resumable then interval '7 seconds' else interval '2 minutes' end end,
    case when begins_now then 1 else 0 end,
    case when begins_now then now() end,
    -- The order of the session, whatever the clock does; its lock is held.
    greatest(
      clock_timestamp(),
      (
        select max(agent_runs.created_at) + interval '1 microsecond'
        from ai.agent_runs
        where agent_runs.tenant_id = session.tenant_id and agent_runs.session_id = session.id
      )
    )
  )
  returning * into run;
  if is_resumable then
    insert into private.run_requests (run_id, tenant_id, request) values (run.id, run.tenant_id, start_run.request);
  end if;
  if wanted_priority = 'normal' and has_others then
    -- Whoever waits behind a low one of the session would be as late as that; one that is at work may still be put back.
    update ai.agent_runs
    set priority = 'normal'
    where agent_runs.tenant_id = session.tenant_id and agent_runs.session_id = session.id
      and agent_runs.status in ('pending', 'running', 'waiting') and agent_runs.priority = 'low';
  end if;
  if not begins_now then
    perform private.enqueue('run_agent', jsonb_build_object('id', run.id), now(), run.id::text);
  end if;

  return jsonb_build_object(
    'id', run.id, 'run_id', run.run_id, 'session_id', session.session_id, 'session_uuid', session.id, 'is_new_session', is_new,
    'lease_token', run.lease_token, 'tenant_id', run.tenant_id, 'user_id', run.user_id, 'status', run.status, 'last_seq', run.last_seq,
    'history', private.session_history(session.tenant_id, session.id)
  );
end;
$$;
