-- An agent that is deleted holds its sessions and conversations, then its runs (20261128030100). So nobody who holds a run waits for a
-- conversation that somebody is only changing; a schedule is locked behind its agent, its tenant's runs and the session it goes on with, and
-- a conversation behind the agent it goes on with.
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
      -- Whoever changes it at this moment sets the time as well, and may wait for the run.
      update public.chat_sessions
      set updated_at = now()
      where chat_sessions.id in (
        select chat_sessions.id from public.chat_sessions where chat_sessions.id = question.session_id for no key update skip locked
      );
    end if;
  end loop;
  return null;
end;
$$;

create or replace function private.fire_due_schedule(schedule_id uuid, expected_next_run_at timestamptz, following_run_at timestamptz)
returns jsonb
language plpgsql
security definer -- as open_scheduled_run
set search_path = ''
as $$
declare
  most_failures constant int := 10;
  schedule ai.schedules;
  creator_role text;
  opened jsonb;
  state text;
  problem text;
  refusal text;
  reason text;
begin
  -- What deletes a schedule, or takes its last run from it, has locked its agent or its session before: so they come first here, too.
  perform
  from ai.agents
  join ai.schedules on schedules.tenant_id = agents.tenant_id and schedules.agent_id = agents.id
  where schedules.id = fire_due_schedule.schedule_id
  for key share of agents;
  -- Whoever begins or takes up a run of that session has this before it.
  perform private.lock_tenant_runs(schedules.tenant_id) from ai.schedules where schedules.id = fire_due_schedule.schedule_id;
  perform
  from ai.agent_sessions
  join ai.schedules on schedules.tenant_id = agent_sessions.tenant_id and schedules.session_id = agent_sessions.session_id
  where schedules.id = fire_due_schedule.schedule_id
  for no key update of agent_sessions;
  select * into schedule from ai.schedules where schedules.id = fire_due_schedule.schedule_id for update;
  if schedule.id is null or not schedule.enabled or schedule.next_run_at > now()
    or schedule.next_run_at is distinct from fire_due_schedule.expected_next_run_at
  then
    return null;
  end if;
  if fire_due_schedule.following_run_at < schedule.next_run_at + interval '1 minute' then
    raise exception 'following_run_at must be a minute after the last time' using errcode = '22023';
  end if;

  select memberships.role into creator_role
  from public.memberships
  where memberships.tenant_id = schedule.tenant_id and memberships.user_id = schedule.created_by;
  if creator_role is null or private.role_rank(creator_role) < private.role_rank('member') then
    reason := case when creator_role is null then 'creator_left' else 'creator_lost_role' end;
    update ai.schedules set enabled = false, disabled_reason = reason where schedules.id = schedule.id;
    return jsonb_build_object('outcome', 'disabled', 'reason', reason);
  end if;

  -- One that takes longer than its interval does not pile up.
  if exists (
    select from ai.agent_runs
    where agent_runs.tenant_id = schedule.tenant_id and agent_runs.id = schedule.last_run_id and agent_runs.status in ('pending', 'running')
  ) then
    update ai.schedules set skipped_count = schedules.skipped_count + 1, next_run_at = fire_due_schedule.following_run_at
    where schedules.id = schedule.id;
    return jsonb_build_object('outcome', 'skipped');
  end if;

  begin
    opened := private.open_scheduled_run(schedule.id);
  exception
    when others then
      get stacked diagnostics state = returned_sqlstate, problem = pg_exception_detail;
      refusal := case when state like 'PT%' and problem is json object then problem::jsonb ->> 'code' end;
      if refusal is null and left(state, 2) in ('08', '40', '53', '55', '57') then
        -- Passing trouble of the server: it stays due, and is tried again.
        raise;
      end if;
      refusal := coalesce(refusal, 'internal');
  end;
  if refusal is not null then
    reason := case
      when refusal = 'agent_unpublished' then 'agent_unpublished'
      when schedule.failure_count + 1 >= most_failures then 'failed_repeatedly'
    end;
    update ai.schedules
    set
      last_error = refusal, failure_count = schedules.failure_count + 1, enabled = reason is null, disabled_reason = reason,
      next_run_at = case when reason is null then fire_due_schedule.following_run_at end
    where schedules.id = schedule.id;
    return jsonb_build_object('outcome', case when reason is null then 'refused' else 'disabled' end, 'reason', coalesce(reason, refusal));
  end if;

  update ai.schedules
  set
    last_run_at = now(), last_run_id = (opened ->> 'id')::uuid, last_error = null, failure_count = 0,
    next_run_at = fire_due_schedule.following_run_at, enabled = fire_due_schedule.following_run_at is not null,
    disabled_reason = case when fire_due_schedule.following_run_at is null then 'invalid_cron' end
  where schedules.id = schedule.id;
  return jsonb_build_object('outcome', 'fired', 'id', opened ->> 'id', 'run_id', opened ->> 'run_id');
end;
$$;

create or replace function private.begin_chat_turn(session_id uuid, agent_id uuid, message text)
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
    and (session.tenant_id is null or agents.tenant_id = session.tenant_id)
  for key share; -- before the conversation that goes on with it, as whoever deletes it does
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
