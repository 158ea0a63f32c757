-- Schedules are queued for their tenant, too. One that waits for its time is no work that waits: it is counted as put off, and with nobody's jobs.
create or replace function private.tenant_of_job(queue text, id text)
returns uuid
language plpgsql
stable
security definer
set search_path = ''
set enable_seqscan = off
as $$
declare
  subject uuid;
begin
  if id is null or id !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
    return null;
  end if;
  subject := id::uuid;
  -- A statement for each: one for all is planned anew each time.
  case regexp_replace(queue, '_dead$', '')
    when 'extract_source', 'render_pages' then return (select sources.tenant_id from ai.sources where sources.id = subject);
    when 'index_source' then return (select indexed_sources.tenant_id from ai.indexed_sources where indexed_sources.id = subject);
    when 'run_agent' then return (select agent_runs.tenant_id from ai.agent_runs where agent_runs.id = subject);
    when 'embed_memory' then return (select memories.tenant_id from public.memories where memories.id = subject);
    when 'reembed_knowledge_base' then return (select reembeddings.tenant_id from private.reembeddings where reembeddings.id = subject);
    when 'enrich_knowledge_base' then return (select enrichments.tenant_id from ai.enrichments where enrichments.id = subject);
    when 'fire_schedule' then return (select schedules.tenant_id from ai.schedules where schedules.id = subject);
    else return null;
  end case;
end;
$$;

create or replace function private.queue_health()
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
      count(distinct job.group_id) filter (where job.state < 'active' and (job.name <> 'fire_schedule' or job.start_after <= now())) as tenants_waiting,
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

create or replace function private.queue_tenants()
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
      and (job.name <> 'fire_schedule' or job.state = 'active' or job.start_after <= now())
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
