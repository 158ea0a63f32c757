create table private.queue_limits (
  queue text primary key,
  max_active_per_tenant int not null,
  constraint queue_limits_queue_fkey foreign key (queue) references pgboss.queue (name) on delete cascade,
  constraint queue_limits_max_is_positive check (max_active_per_tenant between 1 and 10000)
);

comment on table private.queue_limits is
  'How many jobs of one tenant may run at once in a queue, over all workers. The operator changes it; a queue without a row has no such limit.';

alter table private.queue_limits enable row level security;
alter table private.queue_limits force row level security;
revoke all on table private.queue_limits from anon, authenticated, service_role;

-- As many as a worker has places by default: each worker keeps one place more, so that there is always one for somebody else.
-- A worker that died counts until its heartbeat is missed, so what takes a moment only, as a memory does, has no limit.
insert into private.queue_limits (queue, max_active_per_tenant)
values ('extract_source', 2), ('index_source', 2);

create function private.hold_queue_limit()
returns trigger
language plpgsql
security definer -- limits are readable by nobody
set search_path = ''
as $$
declare
  most int;
begin
  select queue_limits.max_active_per_tenant into most from private.queue_limits where queue_limits.queue = new.name;
  if most is null then
    return new;
  end if;
  -- Two workers that pick at once would not see each other's job. One lock per queue: a pick of several jobs takes no second one.
  perform pg_advisory_xact_lock(hashtextextended('picks from ' || new.name, 0));
  if (
    select count(*) from pgboss.job
    where job.name = new.name and job.group_id = new.group_id and job.state = 'active' and job.group_id is not null
  ) >= most then
    return null;
  end if;
  return new;
end;
$$;

comment on function private.hold_queue_limit() is
  'Trigger: a job beyond the limit of its tenant is not picked; it stays as it is and waits. The worker leaves such jobs aside anyway; this holds when several pick at once.';

create function private.queue_limits()
returns jsonb
language sql
stable
security definer -- as hold_queue_limit
set search_path = ''
as $$
  select coalesce(jsonb_object_agg(queue_limits.queue, queue_limits.max_active_per_tenant), '{}') from private.queue_limits;
$$;

comment on function private.queue_limits() is 'Core of ai.queue_limits().';

create function ai.queue_limits()
returns jsonb
language sql
stable
set search_path = ''
as $$
  select private.queue_limits();
$$;

comment on function ai.queue_limits() is 'Ledger: jobs of one tenant that may run at once, by queue. Queues without a limit are left out.';

revoke execute on function private.hold_queue_limit() from public, anon, authenticated, service_role;
revoke execute on function private.queue_limits() from public, anon, authenticated, service_role;
revoke execute on function ai.queue_limits() from public, anon, authenticated, service_role;
grant execute on function private.queue_limits() to service_role;
grant execute on function ai.queue_limits() to service_role;

create trigger hold_queue_limit before update of state on pgboss.job
for each row when (new.state = 'active' and old.state < 'active' and new.group_id is not null)
execute function private.hold_queue_limit();
