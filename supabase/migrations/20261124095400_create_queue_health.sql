-- What an operator looks at, and what they do about dead letters. With the secret key, or as the owner of the database.
create function private.dead_letters()
returns table (queue text, subject uuid, tenant_id uuid)
language sql
stable
security definer -- the queue is readable by nobody
set search_path = ''
as $$
  -- What the queue gave up and nobody has taken note of yet ...
  select regexp_replace(job.name, '_dead$', ''), case when job.data ->> 'id' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then (job.data ->> 'id')::uuid end,
    case when job.group_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then job.group_id::uuid end
  from pgboss.job
  where job.name like '%\_dead' and job.state in ('created', 'retry', 'active')
  union
  -- ... and what carries the verdict already.
  select 'extract_source', sources.id, sources.tenant_id from ai.sources
  where sources.extraction_status = 'failed' and sources.reason_code = 'dead_letter'
  union
  select 'index_source', indexed_sources.id, indexed_sources.tenant_id from ai.indexed_sources
  where indexed_sources.index_status = 'failed' and indexed_sources.reason_code = 'dead_letter'
  union
  select 'reembed_knowledge_base', reembeddings.id, reembeddings.tenant_id from private.reembeddings
  where reembeddings.status = 'failed' and reembeddings.reason_code = 'dead_letter';
$$;

comment on function private.dead_letters() is 'Work that was given up: its queue, the id it is about, the tenant.';

create function private.queue_health()
returns table (
  queue text, waiting bigint, deferred bigint, active bigint, dead bigint, tenants_waiting bigint, oldest_waiting_seconds numeric,
  oldest_active_seconds numeric, max_active_per_tenant int
)
language sql
stable
security definer -- as dead_letters
set search_path = ''
as $$
  with jobs as (
    select
      job.name,
      count(*) filter (where job.state < 'active' and job.start_after <= now()) as waiting,
      count(*) filter (where job.state < 'active' and job.start_after > now()) as deferred,
      count(*) filter (where job.state = 'active') as active,
      count(distinct job.group_id) filter (where job.state < 'active') as tenants_waiting,
      min(greatest(job.created_on, job.start_after)) filter (where job.state < 'active' and job.start_after <= now()) as waiting_since,
      min(job.started_on) filter (where job.state = 'active') as active_since
    from pgboss.job
    where job.state in ('created', 'retry', 'active')
    group by job.name
  ), dead as (
    select dead_letters.queue, count(*) as count from private.dead_letters() group by dead_letters.queue
  )
  select
    queue.name, coalesce(jobs.waiting, 0), coalesce(jobs.deferred, 0), coalesce(jobs.active, 0), coalesce(dead.count, 0),
    coalesce(jobs.tenants_waiting, 0), round(extract(epoch from now() - jobs.waiting_since), 1),
    round(extract(epoch from now() - jobs.active_since), 1), queue_limits.max_active_per_tenant
  from pgboss.queue
  left join jobs on jobs.name = queue.name
  left join dead on dead.queue = queue.name
  left join private.queue_limits on queue_limits.queue = queue.name
  where queue.name not like '%\_dead' and queue.name not like '\_\_pgboss%'
  order by queue.name;
$$;

comment on function private.queue_health() is 'Core of ai.queue_health().';

create function ai.queue_health()
returns table (
  queue text, waiting bigint, deferred bigint, active bigint, dead bigint, tenants_waiting bigint, oldest_waiting_seconds numeric,
  oldest_active_seconds numeric, max_active_per_tenant int
)
language sql
stable
set search_path = ''
as $$
  select * from private.queue_health();
$$;

comment on function ai.queue_health() is
  'Operator: each queue with its jobs that wait, wait for a later time, run, and were given up; the tenants waiting; the age of the oldest that waits and runs, in seconds; the limit per tenant. Needs the secret key.';

create function private.queue_tenants()
returns table (
  tenant_id uuid, tenant_name text, waiting_jobs bigint, active_jobs bigint, pending_runs bigint, running_runs bigint, waiting_runs bigint, dead bigint
)
language sql
stable
security definer -- as dead_letters
set search_path = ''
as $$
  with counts as (
    select
      job.group_id::uuid as tenant_id, count(*) filter (where job.state < 'active') as waiting_jobs, count(*) filter (where job.state = 'active') as active_jobs,
      0::bigint as pending_runs, 0::bigint as running_runs, 0::bigint as waiting_runs, 0::bigint as dead
    from pgboss.job
    where job.state in ('created', 'retry', 'active') and job.name not like '%\_dead'
      and job.group_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
    group by job.group_id
    union all
    select
      agent_runs.tenant_id, 0, 0, count(*) filter (where agent_runs.status = 'pending'), count(*) filter (where agent_runs.status = 'running'),
      count(*) filter (where agent_runs.status = 'waiting'), 0
    from ai.agent_runs
    where agent_runs.status in ('pending', 'running', 'waiting')
    group by agent_runs.tenant_id
    union all
    select dead_letters.tenant_id, 0, 0, 0, 0, 0, count(*) from private.dead_letters() group by dead_letters.tenant_id
  )
  select
    tenants.id, tenants.name, sum(counts.waiting_jobs)::bigint, sum(counts.active_jobs)::bigint, sum(counts.pending_runs)::bigint,
    sum(counts.running_runs)::bigint, sum(counts.waiting_runs)::bigint, sum(counts.dead)::bigint
  from counts
  join public.tenants on tenants.id = counts.tenant_id
  group by tenants.id, tenants.name
  order by sum(counts.waiting_jobs + counts.pending_runs) desc, tenants.id;
$$;

comment on function private.queue_tenants() is 'Core of ai.queue_tenants().';

create function ai.queue_tenants()
returns table (
  tenant_id uuid, tenant_name text, waiting_jobs bigint, active_jobs bigint, pending_runs bigint, running_runs bigint, waiting_runs bigint, dead bigint
)
language sql
stable
set search_path = ''
as $$
  select * from private.queue_tenants();
$$;

comment on function ai.queue_tenants() is
  'Operator: the tenants with jobs, unfinished runs or dead letters, and how many. waiting_runs wait for a person. Needs the secret key.';

create function private.redrive_dead_letters(queue text, max_count int)
returns int
language plpgsql
security definer -- as dead_letters
set search_path = ''
as $$
declare
  letter record;
  redriven int := 0;
begin
  if not exists (select from pgboss.queue as queues where queues.name = redrive_dead_letters.queue and queues.dead_letter is not null) then
    perform private.raise_error(
      404, 'not_found', format('There is no queue %s with dead letters.', redrive_dead_letters.queue), 'Look at ai.queue_health().'
    );
  end if;
  for letter in
    select dead_letters.subject from private.dead_letters() as dead_letters
    where dead_letters.queue = redrive_dead_letters.queue and dead_letters.subject is not null
    order by dead_letters.subject
    limit least(greatest(redrive_dead_letters.max_count, 1), 10000)
  loop
    case redrive_dead_letters.queue
      when 'extract_source' then
        update ai.sources
        set
          extraction_status = 'pending', attempts = 0, error_code = null, reason_code = null, error_message = null, next_retry_at = null
        where sources.id = letter.subject and sources.extraction_status = 'failed' and sources.reason_code = 'dead_letter';
      when 'index_source' then
        update ai.indexed_sources
        set index_status = 'pending', attempts = 0, error_code = null, reason_code = null, error_message = null, next_retry_at = null
        where indexed_sources.id = letter.subject and indexed_sources.index_status = 'failed' and indexed_sources.reason_code = 'dead_letter';
      when 'reembed_knowledge_base' then
        update private.reembeddings
        set status = 'pending', attempts = 0, error_code = null, reason_code = null, error_message = null, next_retry_at = null, finished_at = null
        where reembeddings.id = letter.subject and reembeddings.status = 'failed' and reembeddings.reason_code = 'dead_letter';
      else
        null;
    end case;
    delete from pgboss.job
    where job.name = redrive_dead_letters.queue || '_dead' and job.data ->> 'id' = letter.subject::text and job.state in ('created', 'retry');
    perform private.enqueue(redrive_dead_letters.queue, jsonb_build_object('id', letter.subject), now(), letter.subject::text);
    redriven := redriven + 1;
  end loop;
  return redriven;
end;
$$;

comment on function private.redrive_dead_letters(text, int) is 'Core of ai.redrive_dead_letters().';

create function ai.redrive_dead_letters(queue text, max_count int default 1000)
returns int
language sql
set search_path = ''
as $$
  select private.redrive_dead_letters(queue, max_count);
$$;

comment on function ai.redrive_dead_letters(text, int) is
  'Operator: puts what a queue has given up back into it, with all its attempts; at most max_count (1 to 10000). Returns how many. Twice is harmless: a job that waits already is not queued again. PT404. Needs the secret key.';

revoke execute on function private.dead_letters() from public, anon, authenticated, service_role;
revoke execute on function private.queue_health() from public, anon, authenticated, service_role;
revoke execute on function private.queue_tenants() from public, anon, authenticated, service_role;
revoke execute on function private.redrive_dead_letters(text, int) from public, anon, authenticated, service_role;
revoke execute on function ai.queue_health() from public, anon, authenticated, service_role;
revoke execute on function ai.queue_tenants() from public, anon, authenticated, service_role;
revoke execute on function ai.redrive_dead_letters(text, int) from public, anon, authenticated, service_role;
grant execute on function private.queue_health() to service_role;
grant execute on function private.queue_tenants() to service_role;
grant execute on function private.redrive_dead_letters(text, int) to service_role;
grant execute on function ai.queue_health() to service_role;
grant execute on function ai.queue_tenants() to service_role;
grant execute on function ai.redrive_dead_letters(text, int) to service_role;
