-- Rendering of pages takes turns among tenants, and is seen and put back by the operator, as what else is queued.
create or replace function private.tenant_of_job(queue text, id text)
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
    when 'enrich_knowledge_base' then (select enrichments.tenant_id from ai.enrichments where enrichments.id = subject)
    when 'render_pages' then (select sources.tenant_id from ai.sources where sources.id = subject)
  end;
end;
$$;

create or replace function private.dead_letters()
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
  where reembeddings.status = 'failed' and reembeddings.reason_code = 'dead_letter'
  union
  select 'enrich_knowledge_base', enrichments.id, enrichments.tenant_id from ai.enrichments
  where enrichments.status = 'failed' and enrichments.reason_code = 'dead_letter'
  union
  select 'render_pages', page_renderings.source_id, page_renderings.tenant_id from private.page_renderings
  where page_renderings.status = 'failed' and page_renderings.reason_code = 'dead_letter';
$$;

create or replace function private.redrive_dead_letters(queue text, max_count int)
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
      when 'enrich_knowledge_base' then
        update ai.enrichments
        set
          status = 'enriching', attempts = 0, error_code = null, reason_code = null, error_message = null, next_retry_at = null, finished_at = null
        where enrichments.id = letter.subject and enrichments.status = 'failed' and enrichments.reason_code = 'dead_letter';
      when 'render_pages' then
        update private.page_renderings
        set status = 'pending', attempts = 0, reason_code = null, next_retry_at = null
        where page_renderings.source_id = letter.subject and page_renderings.status = 'failed' and page_renderings.reason_code = 'dead_letter';
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
