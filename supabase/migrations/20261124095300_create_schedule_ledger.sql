-- The times of a cron expression are computed by the worker, which then says what it took the schedule to be: whoever comes
-- second, or late, finds another next_run_at and does nothing.
create function ai.due_schedules(max_count int default 100)
returns table (id uuid, tenant_id uuid, cron text, timezone text, next_run_at timestamptz)
language sql
stable
set search_path = ''
as $$
  select due.id, due.tenant_id, due.cron, due.timezone, due.next_run_at
  from (
    select
      schedules.*,
      row_number() over (partition by schedules.tenant_id order by schedules.next_run_at nulls first, schedules.id) as place
    from ai.schedules
    where schedules.enabled and (schedules.next_run_at is null or schedules.next_run_at <= now())
  ) as due
  -- The first of each tenant before the second of any.
  order by due.place, due.next_run_at nulls first, due.id
  limit least(greatest(due_schedules.max_count, 1), 1000);
$$;

comment on function ai.due_schedules(int) is
  'Ledger: schedules whose time has come, or has not been computed yet (next_run_at null); tenants take turns. At most max_count (1 to 1000).';

create function ai.plan_schedule(schedule_id uuid, cron text, timezone text, next_run_at timestamptz)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  update ai.schedules
  set
    enabled = plan_schedule.next_run_at is not null,
    disabled_reason = case when plan_schedule.next_run_at is null then 'invalid_cron' end,
    next_run_at = plan_schedule.next_run_at
  where schedules.id = plan_schedule.schedule_id
    and schedules.enabled and schedules.next_run_at is null
    and schedules.cron = plan_schedule.cron and schedules.timezone = plan_schedule.timezone;
  return found;
end;
$$;

comment on function ai.plan_schedule(uuid, text, text, timestamptz) is
  'Ledger: the next time of a schedule, computed from this cron and timezone; null: there is none, and it is switched off as invalid_cron. False when it has changed or been planned meanwhile.';

create function private.open_scheduled_run(schedule_id uuid)
returns jsonb
language plpgsql
security definer -- acts for the creator, as a token minted for them would
set search_path = ''
as $$
declare
  -- Put back at the end; an error takes them back by itself.
  claims constant text := coalesce(current_setting('request.jwt.claims', true), '');
  subject constant text := coalesce(current_setting('request.jwt.claim.sub', true), '');
  headers constant text := coalesce(current_setting('request.headers', true), '');
  schedule ai.schedules;
  opened jsonb;
begin
  select * into strict schedule from ai.schedules where schedules.id = open_scheduled_run.schedule_id;
  perform set_config('request.jwt.claim.sub', '', true), set_config('request.headers', '', true);
  perform set_config(
    'request.jwt.claims',
    jsonb_build_object(
      'sub', schedule.created_by, 'role', 'authenticated', 'tenant_id', schedule.tenant_id,
      'act', jsonb_build_object('sub', 'schedule', 'schedule_id', schedule.id)
    )::text,
    true
  );
  opened := ai.start_run(
    agent_id => schedule.agent_id, session_id => schedule.session_id, message => schedule.message,
    request => jsonb_strip_nulls(jsonb_build_object('message', schedule.message, 'session_id', schedule.session_id)),
    multitask_strategy => 'queue', streams => true
  );
  -- Nobody is here to carry it out: it goes to the queue.
  if opened ->> 'lease_token' is not null then
    perform ai.suspend_run(
      run_id => (opened ->> 'id')::uuid, lease_token => (opened ->> 'lease_token')::uuid, first_seq => 1, events => '[]', journal => '[]',
      wait_reason => null
    );
  end if;
  perform
    set_config('request.jwt.claims', claims, true), set_config('request.jwt.claim.sub', subject, true),
    set_config('request.headers', headers, true);
  return opened;
end;
$$;

comment on function private.open_scheduled_run(uuid) is
  'Opens a run for the creator of a schedule, with that person''s rights of this moment, and hands it to the queue. What ai.start_run() refuses is refused here.';

create function private.fire_due_schedule(schedule_id uuid, expected_next_run_at timestamptz, following_run_at timestamptz)
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

comment on function private.fire_due_schedule(uuid, timestamptz, timestamptz) is 'Core of ai.fire_due_schedule().';

create function ai.fire_due_schedule(schedule_id uuid, expected_next_run_at timestamptz, following_run_at timestamptz)
returns jsonb
language sql
set search_path = ''
as $$
  select private.fire_due_schedule(schedule_id, expected_next_run_at, following_run_at);
$$;

comment on function ai.fire_due_schedule(uuid, timestamptz, timestamptz) is
  'Ledger: begins the run of a schedule that is due at expected_next_run_at, once, in the name of its creator, and puts it off to following_run_at (at least a minute later; null: never again). '
  'Returns {outcome: fired, id, run_id}, {outcome: skipped} while its last run goes on, {outcome: refused | disabled, reason}, or null when it is not due, not enabled or somebody else was first.';

revoke execute on function ai.due_schedules(int) from public, anon, authenticated, service_role;
revoke execute on function ai.plan_schedule(uuid, text, text, timestamptz) from public, anon, authenticated, service_role;
revoke execute on function private.open_scheduled_run(uuid) from public, anon, authenticated, service_role;
revoke execute on function private.fire_due_schedule(uuid, timestamptz, timestamptz) from public, anon, authenticated, service_role;
revoke execute on function ai.fire_due_schedule(uuid, timestamptz, timestamptz) from public, anon, authenticated, service_role;
grant execute on function ai.due_schedules(int) to service_role;
grant execute on function ai.plan_schedule(uuid, text, text, timestamptz) to service_role;
grant execute on function private.fire_due_schedule(uuid, timestamptz, timestamptz) to service_role;
grant execute on function ai.fire_due_schedule(uuid, timestamptz, timestamptz) to service_role;
