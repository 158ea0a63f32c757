-- Deleting an agent clears its id in sessions, conversations, runs, approvals, calls and usage, and takes its budgets and schedules along.
-- One order for everybody: the agent, then sessions, conversations of the chat, runs, what belongs to runs, budgets and their counters.
-- An agent is locked before anything else, or not waited for at all.
create function private.hold_runs_of_agent()
returns trigger
language plpgsql
security definer -- whoever deletes an agent need not see the conversations others had with it
set search_path = ''
as $$
begin
  perform
  from ai.agent_sessions
  where agent_sessions.tenant_id = old.tenant_id and agent_sessions.agent_id = old.id
  order by agent_sessions.id
  for no key update;
  -- Also where the conversation has gone on with another agent: who deletes it holds it before its runs.
  perform
  from public.chat_sessions
  where chat_sessions.id in (
    select chats.id from public.chat_sessions as chats where chats.tenant_id = old.tenant_id and chats.agent_id = old.id
    union
    select chat_messages.session_id
    from ai.agent_runs
    join public.chat_messages on chat_messages.tenant_id = agent_runs.tenant_id and chat_messages.id = agent_runs.chat_message_id
    where agent_runs.tenant_id = old.tenant_id and agent_runs.agent_id = old.id
  )
  order by chat_sessions.id
  for no key update;
  perform
  from ai.agent_runs
  where agent_runs.tenant_id = old.tenant_id and agent_runs.agent_id = old.id
  order by agent_runs.id
  for no key update;
  perform from ai.budgets where budgets.tenant_id = old.tenant_id and budgets.agent_id = old.id order by budgets.id for update;
  perform
  from private.budget_counters
  where budget_counters.budget_id in (
    select budgets.id from ai.budgets where budgets.tenant_id = old.tenant_id and budgets.agent_id = old.id
  )
  order by budget_counters.budget_id, budget_counters.subject_id, budget_counters.period_start
  for update;
  return old;
end;
$$;

comment on function private.hold_runs_of_agent() is
  'Trigger: an agent that is deleted is cleared from its sessions, conversations and runs, so they are held first, in the order in which everybody locks them.';

create function private.name_no_vanishing_agent()
returns trigger
language plpgsql
security definer -- whoever writes the row need not see the agent
set search_path = ''
as $$
begin
  select agents.id into new.agent_id
  from ai.agents
  where agents.tenant_id = new.tenant_id and agents.id = new.agent_id
  for key share skip locked;
  return new;
end;
$$;

comment on function private.name_no_vanishing_agent() is
  'Trigger: a row about a run names no agent that is gone or being deleted. It is written while the run is locked, which the deletion waits for.';

revoke execute on function private.hold_runs_of_agent() from public, anon, authenticated, service_role;
revoke execute on function private.name_no_vanishing_agent() from public, anon, authenticated, service_role;

create trigger hold_runs before delete on ai.agents for each row execute function private.hold_runs_of_agent();

-- In the order in which a run that ends writes them.
create trigger name_no_vanishing_agent before insert on ai.usage_entries
for each row when (new.agent_id is not null) execute function private.name_no_vanishing_agent();
create trigger name_no_vanishing_agent before insert on ai.tool_call_events
for each row when (new.agent_id is not null) execute function private.name_no_vanishing_agent();
create trigger name_no_vanishing_agent before insert on ai.approvals
for each row when (new.agent_id is not null) execute function private.name_no_vanishing_agent();
