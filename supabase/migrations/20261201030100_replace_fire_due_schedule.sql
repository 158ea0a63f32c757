-- A run that waits for a person is not over: a schedule began another beside it each time, and each asked a person once more.
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

  -- One that takes longer than its interval does not pile up, nor does one that waits for a person.
  if exists (
    select from ai.agent_runs
    where agent_runs.tenant_id = schedule.tenant_id and agent_runs.id = schedule.last_run_id and agent_runs.status in ('pending', 'running', 'waiting')
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
