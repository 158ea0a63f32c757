-- A schedule hands its priority to its runs; like what they are asked, it is its creator's to say.
create or replace function private.check_schedule()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if tg_op = 'INSERT' or new.timezone is distinct from old.timezone then
    begin
      perform now() at time zone new.timezone;
    exception
      when invalid_parameter_value then
        perform private.raise_error(400, 'invalid_request', format('There is no time zone %s.', new.timezone), 'Use a name like Europe/Berlin.');
    end;
  end if;
  if tg_op = 'INSERT' then
    return new;
  end if;
  if (select auth.uid()) is not null and (select auth.uid()) is distinct from old.created_by
    and (
      new.enabled
      or (new.name, new.cron, new.timezone, new.message, new.session_id, new.priority)
        is distinct from (old.name, old.cron, old.timezone, old.message, old.session_id, old.priority)
    )
  then
    -- Its runs act with the creator's rights: what they are asked is not for others to say.
    perform private.raise_error(
      403, 'forbidden', 'A schedule acts in the name of its creator: others can only switch it off or delete it.', 'Make one of your own.'
    );
  end if;
  if not new.enabled then
    new.next_run_at := null;
  elsif not old.enabled then
    new.disabled_reason := null;
    new.last_error := null;
    new.failure_count := 0;
    new.next_run_at := null;
  elsif (new.cron, new.timezone) is distinct from (old.cron, old.timezone) then
    new.next_run_at := null;
  end if;
  return new;
end;
$$;

create or replace function private.open_scheduled_run(schedule_id uuid)
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
    request => jsonb_strip_nulls(
      jsonb_build_object('message', schedule.message, 'session_id', schedule.session_id, 'priority', nullif(schedule.priority, 'normal'))
    ),
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
