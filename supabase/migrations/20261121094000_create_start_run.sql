create function private.start_run(
  agent_id uuid,
  session_id text,
  message text,
  model text,
  provider text,
  retrieved_context jsonb,
  context_handler_id uuid
)
returns jsonb
language plpgsql
security definer -- sessions and runs are written through functions only, so that the principal is always the caller
set search_path = ''
as $$
declare
  caller uuid := private.caller_user_id();
  agent ai.agents;
  session ai.agent_sessions;
  run ai.agent_runs;
  is_new boolean := false;
  history jsonb;
begin
  select * into agent
  from ai.agents
  where agents.id = start_run.agent_id and agents.tenant_id = any (array(select private.caller_tenant_ids()));
  if agent.id is null then
    perform private.raise_error(404, 'agent_not_found', 'Agent not found', 'Check the id of the agent.');
  end if;
  if start_run.message is null or char_length(start_run.message) not between 1 and 200000 then
    perform private.raise_error(400, 'invalid_request', 'message must have 1 to 200000 characters', null);
  end if;
  if start_run.session_id is not null and start_run.session_id !~ '^[A-Za-z0-9_.:@-]{1,200}$' then
    perform private.raise_error(400, 'invalid_request', 'session_id may hold 1 to 200 letters, digits and _ . : @ -', null);
  end if;
  if pg_column_size(start_run.retrieved_context) > 4194304 then
    perform private.raise_error(400, 'invalid_request', 'The context is too large.', 'Send less context.');
  end if;

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
    for update;
    if session.id is null then
      perform private.raise_error(404, 'session_not_found', 'Session not found', 'Leave session_id out to begin a new session.');
    end if;
    update ai.agent_sessions set updated_at = now() where agent_sessions.id = session.id;
  end if;

  select coalesce(jsonb_agg(turn.entry order by turn.created_at, turn.part), '[]')
  into history
  from (
    select runs.created_at, sides.part, sides.entry
    from (
      select agent_runs.created_at, agent_runs.input_messages, agent_runs.content
      from ai.agent_runs
      where agent_runs.tenant_id = session.tenant_id and agent_runs.session_id = session.id and agent_runs.status = 'completed'
      order by agent_runs.created_at desc
      limit 50
    ) as runs
    cross join lateral (
      values
        (1, jsonb_build_object('role', 'user', 'content', runs.input_messages -> -1 ->> 'content')),
        (2, jsonb_build_object('role', 'assistant', 'content', runs.content))
    ) as sides (part, entry)
  ) as turn;

  insert into ai.agent_runs (
    tenant_id, session_id, agent_id, user_id, principal_id, model, provider, input_messages, retrieved_context, context_handler_id,
    lease_token, lease_expires_at, started_at
  )
  values (
    agent.tenant_id, session.id, agent.id, session.user_id, (select auth.uid()), coalesce(start_run.model, agent.model), start_run.provider,
    jsonb_build_array(jsonb_build_object('role', 'user', 'content', start_run.message)),
    coalesce(start_run.retrieved_context, '[]'), start_run.context_handler_id,
    gen_random_uuid(), now() + interval '2 minutes', now()
  )
  returning * into run;

  return jsonb_build_object(
    'id', run.id, 'run_id', run.run_id, 'session_id', session.session_id, 'session_uuid', session.id, 'is_new_session', is_new,
    'lease_token', run.lease_token, 'tenant_id', run.tenant_id, 'user_id', run.user_id, 'history', history
  );
end;
$$;

comment on function private.start_run(uuid, text, text, text, text, jsonb, uuid) is 'Core of ai.start_run().';

create function ai.start_run(
  agent_id uuid,
  session_id text default null,
  message text default null,
  model text default null,
  provider text default null,
  retrieved_context jsonb default '[]',
  context_handler_id uuid default null
)
returns jsonb
language sql
set search_path = ''
as $$
  select private.start_run(agent_id, session_id, message, model, provider, retrieved_context, context_handler_id);
$$;

comment on function ai.start_run(uuid, text, text, text, text, jsonb, uuid) is
  'Opens a run for the caller, who becomes its principal; an unknown session_id is created. Returns {id, run_id, session_id, session_uuid, is_new_session, lease_token, tenant_id, '
  'user_id, history: [{role, content}]} with the last 50 completed turns. PT404 agent_not_found or session_not_found, PT400 invalid_request.';

revoke execute on function private.start_run(uuid, text, text, text, text, jsonb, uuid) from public;
revoke execute on function ai.start_run(uuid, text, text, text, text, jsonb, uuid) from public, anon, authenticated, service_role;
grant execute on function private.start_run(uuid, text, text, text, text, jsonb, uuid) to authenticated;
grant execute on function ai.start_run(uuid, text, text, text, text, jsonb, uuid) to authenticated;
