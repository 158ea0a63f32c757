-- A priority decides which job of a tenant takes which of the tenant's places, and nothing else. A new job adds the same place to the queue
-- whatever its priority is: the turn after the tenant's last one. A normal one that finds a low one of its tenant in front of it changes places with
-- it. So what other tenants wait for does not depend on anybody's priorities, and no job is moved but that one.
drop index pgboss.job_turns_idx;
create index job_turns_idx on pgboss.job (name, (group_id || '/' || coalesce(group_tier, '')), priority) where state < 'active' and group_id is not null;

create function private.priority_of_job(queue text, id text)
returns text
language plpgsql
stable
security definer -- as tenant_of_job
set search_path = ''
set enable_seqscan = off
as $$
declare
  subject uuid;
begin
  if queue not in ('extract_source', 'index_source', 'render_pages') or id is null or id !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
    return null;
  end if;
  subject := id::uuid;
  if queue <> 'index_source' then
    return (select sources.priority from ai.sources where sources.id = subject);
  end if;
  -- What is searchable stays so while it is indexed anew; what is not has somebody who waits for it.
  return (
    select case when indexed_sources.indexed_at is null then sources.priority else 'low' end
    from ai.indexed_sources
    join ai.sources on sources.tenant_id = indexed_sources.tenant_id and sources.id = indexed_sources.source_id
    where indexed_sources.id = subject
  );
end;
$$;

comment on function private.priority_of_job(text, text) is
  'normal or low: whether a job gives way to others of its tenant, read from the row its id names. Null in queues without priorities.';

create function private.wait_for_turns(tenant_id uuid, queue text)
returns void
language plpgsql
security definer -- as take_turn
set search_path = ''
set lock_timeout = '250ms'
as $$
declare
  turns_lock constant bigint := hashtextextended(format('turns of %s in %s', tenant_id, queue), 0);
begin
  if pg_try_advisory_xact_lock(turns_lock) or current_setting('bulkhead.turns_are_not_waited_for', true) = 'on' then
    return;
  end if;
  begin
    perform pg_advisory_xact_lock(turns_lock);
  exception
    when lock_not_available or deadlock_detected then
      perform set_config('bulkhead.turns_are_not_waited_for', 'on', true);
  end;
end;
$$;

comment on function private.wait_for_turns(uuid, text) is
  'Waits for whoever queues jobs of this tenant at the same moment, so that no two take one turn. Not for long, and in a transaction that waited in vain not again: somebody who goes on queuing, or who waits for us, is no reason to fail. Then two jobs may share a turn.';

-- Ten thousand jobs may come within a second, long before statistics know of them. So the planner is left no choice: what is looked for is the first entry
-- of an index, and of the one that has the order asked for, because nothing may be sorted. `between` is an equality that does not tell the planner so:
-- with an equality, the index of what is picked next would do as well, and be read as far as other tenants' jobs reach.
create or replace function private.take_turn()
returns trigger
language plpgsql
security definer -- whoever queues the job
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
declare
  tenant constant uuid := private.tenant_of_job(new.name, new.data ->> 'id');
  job_priority text;
  normal_ones text;
  low_ones text;
  last_normal int;
  last_low int;
  present int;
  overtaken pgboss.job;
  place int;
  since timestamptz;
begin
  if new.group_tier = 'moved' and pg_trigger_depth() > 1 then
    -- By this function, below.
    new.group_tier := 'low';
    return new;
  end if;
  if tenant is null then
    return new;
  end if;
  job_priority := private.priority_of_job(new.name, new.data ->> 'id');
  new.group_id := tenant::text;
  new.group_tier := nullif(job_priority, 'normal');
  normal_ones := new.group_id || '/';
  low_ones := new.group_id || '/low';
  if job_priority is not null then
    perform private.wait_for_turns(tenant, new.name);
  end if;
  select -job.priority into last_normal
  from pgboss.job
  where job.name = new.name and job.state < 'active' and job.group_id is not null
    and job.group_id || '/' || coalesce(job.group_tier, '') between normal_ones and normal_ones
  order by job.group_id || '/' || coalesce(job.group_tier, ''), job.priority
  limit 1;
  select -job.priority into last_low
  from pgboss.job
  where job.name = new.name and job.state < 'active' and job.group_id is not null
    and job.group_id || '/' || coalesce(job.group_tier, '') between low_ones and low_ones
  order by job.group_id || '/' || coalesce(job.group_tier, ''), job.priority
  limit 1;
  -- The turn the queue has come to: of what runs, or of what waits first.
  select greatest(
    (
      select -min(job.priority) from pgboss.job
      where job.name = new.name and job.state = 'active' and job.group_id is not null
    ),
    (
      select -job.priority from pgboss.job
      where job.name = new.name and job.state < 'active' and not job.blocked
      order by job.priority desc
      limit 1
    )
  ) into present;
  new.priority := -greatest(last_normal + 1, last_low + 1, present, 0);
  if job_priority is distinct from 'normal' or last_low is null then
    return new;
  end if;

  -- One like this waits already: this will not be inserted. It is locked, so that it is not fetched before that is found out.
  if new.state = 'created' and new.policy = 'short' then
    perform
    from pgboss.job
    where job.name = new.name and coalesce(job.singleton_key, '') = coalesce(new.singleton_key, '') and job.state = 'created' and job.policy = 'short'
    for update skip locked;
    if found then
      return new;
    end if;
  end if;
  -- The first low one that could be fetched: the place of one that is put off is not there yet for anybody. One that is being fetched at this moment has
  -- had its turn. It is deleted and inserted anew, not updated: somebody who looks for the
  -- next job would find it where it was, and take it with the turn that it has now.
  delete from pgboss.job
  where job.name = new.name and job.id = (
    select first.id
    from pgboss.job as first
    where first.name = new.name and first.state < 'active' and first.group_id is not null
      and first.group_id || '/' || coalesce(first.group_tier, '') between low_ones and low_ones
      and first.start_after <= pgboss.job_now()
    order by first.group_id || '/' || coalesce(first.group_tier, '') desc, first.priority desc
    limit 1
    for update skip locked
  )
  returning * into overtaken;
  if overtaken.id is null then
    return new;
  end if;
  -- With the time: within a turn, the oldest goes first, also among tenants.
  place := overtaken.priority;
  since := overtaken.created_on;
  overtaken.priority := new.priority;
  overtaken.created_on := new.created_on;
  overtaken.group_tier := 'moved';
  insert into pgboss.job select overtaken.*;
  new.priority := place;
  new.created_on := since;
  return new;
end;
$$;

comment on function private.take_turn() is
  'Trigger: gives a job that begins to wait, also once more, the tenant it belongs to as its group, low priority as its tier, and its turn among those of other tenants as its priority.';

-- Once more: what is put back without being inserted anew would keep a turn that may have been given to somebody else.
create trigger take_turn_again before update of state on pgboss.job
for each row when (old.state >= 'active' and new.state < 'active') execute function private.take_turn();

revoke execute on function private.priority_of_job(text, text) from public, anon, authenticated, service_role;
revoke execute on function private.wait_for_turns(uuid, text) from public, anon, authenticated, service_role;
