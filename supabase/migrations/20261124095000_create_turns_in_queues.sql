-- Fair picking. pg-boss picks by priority, then by age. Each job of a tenant takes a turn, and its priority is the negative of it:
-- the turn after the tenant's last waiting job in that queue, but not before the turn the queue has come to. So tenants take
-- turns however many jobs one of them has, a newcomer goes next instead of last, and nobody who waits is overtaken for ever.
create index job_turns_idx on pgboss.job (name, group_id, priority) where state < 'active' and group_id is not null;

create function private.tenant_of_job(queue text, id text)
returns uuid
language plpgsql
stable
security definer -- jobs are queued by the ledger and by functions that see less
set search_path = ''
as $$
declare
  subject uuid;
begin
  if id is null or id !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
    return null;
  end if;
  subject := id::uuid;
  return case regexp_replace(queue, '_dead$', '')
    when 'extract_source' then (select sources.tenant_id from ai.sources where sources.id = subject)
    when 'index_source' then (select indexed_sources.tenant_id from ai.indexed_sources where indexed_sources.id = subject)
    when 'run_agent' then (select agent_runs.tenant_id from ai.agent_runs where agent_runs.id = subject)
    when 'embed_memory' then (select memories.tenant_id from public.memories where memories.id = subject)
    when 'reembed_knowledge_base' then (select reembeddings.tenant_id from private.reembeddings where reembeddings.id = subject)
  end;
end;
$$;

comment on function private.tenant_of_job(text, text) is
  'The tenant of what a job is about, read from the row its id names: a job cannot say it itself. Null for work of no tenant.';

create function private.take_turn()
returns trigger
language plpgsql
security definer -- whoever queues the job
set search_path = ''
as $$
declare
  tenant constant uuid := private.tenant_of_job(new.name, new.data ->> 'id');
  mine int;
  present int;
begin
  if tenant is null then
    return new;
  end if;
  new.group_id := tenant::text;
  select -min(job.priority) into mine
  from pgboss.job
  where job.name = new.name and job.group_id = new.group_id and job.state < 'active' and job.group_id is not null;
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
  new.priority := -greatest(mine + 1, present, 0);
  return new;
end;
$$;

comment on function private.take_turn() is
  'Trigger: gives a job, also one that is to be tried again, the tenant it belongs to as its group and its turn among those of other tenants as its priority.';

revoke execute on function private.tenant_of_job(text, text) from public, anon, authenticated, service_role;
revoke execute on function private.take_turn() from public, anon, authenticated, service_role;

create trigger take_turn before insert on pgboss.job
for each row when (new.state in ('created', 'retry')) execute function private.take_turn();
