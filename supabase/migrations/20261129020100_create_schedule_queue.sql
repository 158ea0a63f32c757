-- A schedule waits in a queue for its time: one job, put there by the transaction that sets the time. Whoever takes it asks the schedule
-- whether it is due, so that a job too many fires nothing; one too few is found by the sweep.
select pgboss.create_queue('fire_schedule_dead', '{"policy": "short", "retryLimit": 20, "retryDelay": 30, "notify": true}');
select pgboss.create_queue('fire_schedule', '{"policy": "short", "retryLimit": 4, "retryDelay": 1, "retryBackoff": true, "retryDelayMax": 60, "expireInSeconds": 300, "heartbeatSeconds": 10, "deleteAfterSeconds": 3600, "deadLetter": "fire_schedule_dead", "notify": true}');

-- As in take_turn(), what is looked for is the first entry of an index that has the order asked for: others' jobs are not looked at, however
-- many they are and whatever statistics say.
create function private.queue_schedule(schedule_id uuid, tenant_id uuid, due_at timestamptz)
returns void
language plpgsql
security definer -- whoever makes or changes the schedule
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
declare
  waiting uuid;
  -- As an expression of the index of turns has it.
  ones_of_tenant constant text := queue_schedule.tenant_id || '/';
begin
  update pgboss.job
  set
    start_after = queue_schedule.due_at,
    keep_until = queue_schedule.due_at + (select queue.retention_seconds from pgboss.queue where queue.name = 'fire_schedule') * interval '1 second'
  where job.name = 'fire_schedule' and job.state = 'created' and job.id = (
    select mine.id
    from pgboss.job as mine
    where mine.name = 'fire_schedule' and mine.state = 'created' and mine.policy = 'short'
      and coalesce(mine.singleton_key, '') between queue_schedule.schedule_id::text and queue_schedule.schedule_id::text
    order by coalesce(mine.singleton_key, '')
    limit 1
  )
  returning job.id into waiting;
  if waiting is null then
    waiting := private.enqueue(
      'fire_schedule', jsonb_build_object('id', queue_schedule.schedule_id), queue_schedule.due_at, queue_schedule.schedule_id::text
    );
  elsif queue_schedule.due_at <= now() then
    perform pg_notify('pgboss_' || left(encode(sha224('pgboss'::bytea), 'hex'), 24), 'fire_schedule');
  end if;
  -- Its turn is the number of those of its tenant that come before it; by a time that is still to come, those that are due now will be
  -- gone. The turn the queue has come to says nothing here, because most jobs wait for times that are far away.
  update pgboss.job
  set priority = -(
    select count(*)
    from (
      select
      from pgboss.job as others
      where others.name = 'fire_schedule' and others.state < 'active' and others.group_id is not null
        and others.group_id || '/' || coalesce(others.group_tier, '') between ones_of_tenant and ones_of_tenant
        and others.start_after <= queue_schedule.due_at and others.id <> waiting
        and (others.start_after > now() or queue_schedule.due_at <= now())
      order by others.group_id || '/' || coalesce(others.group_tier, ''), others.priority
      limit 1000
    ) as before
  )
  where job.name = 'fire_schedule' and job.id = waiting;
end;
$$;

comment on function private.queue_schedule(uuid, uuid, timestamptz) is
  'Lets the one job of a schedule wait until this time: moves it if it waits already, makes it if not. Its turn is that among the schedules of its tenant.';

create function private.queue_changed_schedule()
returns trigger
language plpgsql
security definer -- as queue_schedule
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
declare
  ones_of_tenant constant text := old.tenant_id || '/';
begin
  if tg_op <> 'DELETE' and new.enabled then
    -- Without a time it is to be planned, now.
    perform private.queue_schedule(new.id, new.tenant_id, coalesce(new.next_run_at, now()));
    return null;
  end if;
  delete from pgboss.job
  where job.name = 'fire_schedule' and job.id = any (array(
    select waiting.id
    from pgboss.job as waiting
    where waiting.name = 'fire_schedule' and waiting.state < 'active' and waiting.group_id is not null
      and waiting.group_id || '/' || coalesce(waiting.group_tier, '') between ones_of_tenant and ones_of_tenant
      and waiting.data ->> 'id' = old.id::text
    order by waiting.group_id || '/' || coalesce(waiting.group_tier, ''), waiting.priority
    limit 1000
  ));
  return null;
end;
$$;

comment on function private.queue_changed_schedule() is
  'Trigger: a schedule that is on has a job for its next time; of one that is switched off or deleted none waits.';

create trigger queue_inserted after insert on ai.schedules
for each row when (new.enabled) execute function private.queue_changed_schedule();
create trigger queue_updated after update on ai.schedules
for each row when ((old.enabled, old.next_run_at) is distinct from (new.enabled, new.next_run_at) or new.next_run_at is null)
execute function private.queue_changed_schedule();
create trigger queue_deleted after delete on ai.schedules
for each row when (old.enabled) execute function private.queue_changed_schedule();

create function private.requeue_schedules()
returns uuid[]
language plpgsql
security definer -- the queue is readable by nobody
set search_path = ''
as $$
declare
  lost record;
  requeued uuid[] := '{}';
begin
  for lost in
    with live as materialized (
      select job.data ->> 'id' as key, job.state, job.start_after
      from pgboss.job
      where job.name = 'fire_schedule' and job.state in ('created', 'retry', 'active')
    )
    select schedules.id, schedules.tenant_id, schedules.next_run_at
    from ai.schedules
    where schedules.enabled and (schedules.next_run_at is null or schedules.next_run_at < now() + interval '1 hour')
      and not exists (
        select from live
        where live.key = schedules.id::text
          and (live.state <> 'created' or live.start_after <= coalesce(schedules.next_run_at, now()))
      )
    order by schedules.next_run_at nulls first, schedules.id
    limit 500
    -- Whoever is at it queues it.
    for update of schedules skip locked
  loop
    perform private.queue_schedule(lost.id, lost.tenant_id, coalesce(lost.next_run_at, now()));
    requeued := requeued || lost.id;
  end loop;
  return requeued;
end;
$$;

comment on function private.requeue_schedules() is
  'Queues at most 500 schedules whose time has come, comes within the hour or is not known, while no job is about them, e.g. after the queue was purged. Returns their ids.';

create function ai.due_schedule(schedule_id uuid)
returns table (id uuid, tenant_id uuid, cron text, timezone text, next_run_at timestamptz)
language sql
stable
set search_path = ''
as $$
  select schedules.id, schedules.tenant_id, schedules.cron, schedules.timezone, schedules.next_run_at
  from ai.schedules
  where schedules.id = due_schedule.schedule_id
    and schedules.enabled and (schedules.next_run_at is null or schedules.next_run_at <= now());
$$;

comment on function ai.due_schedule(uuid) is
  'Ledger: the schedule of this id if its time has come, or has not been computed yet (next_run_at null); else no row.';
comment on function ai.due_schedules(int) is
  'Ledger: at most so many schedules whose time has come, or has not been computed yet. For executors of the version before, which look for them.';

revoke execute on function private.queue_schedule(uuid, uuid, timestamptz) from public, anon, authenticated, service_role;
revoke execute on function private.queue_changed_schedule() from public, anon, authenticated, service_role;
revoke execute on function private.requeue_schedules() from public, anon, authenticated, service_role;
revoke execute on function ai.due_schedule(uuid) from public, anon, authenticated, service_role;
grant execute on function ai.due_schedule(uuid) to service_role;

select private.queue_schedule(schedules.id, schedules.tenant_id, coalesce(schedules.next_run_at, now()))
from ai.schedules
where schedules.enabled;
