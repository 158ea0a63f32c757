-- A removal whose job is lost, by a purge of the queue or because no worker came for as long as jobs are kept, was never made up for:
-- the bytes of a deleted document stayed. The sweep queues it again, as it does all other work.
create or replace function private.live_jobs()
returns table (queue text, key text, is_waiting boolean, is_dead_letter boolean)
language sql
stable
security definer -- the queue is readable by nobody
set search_path = ''
as $$
  select
    queues.name,
    job.data ->> 'id',
    job.state in ('created', 'retry'),
    job.name <> queues.name
  from (values ('extract_source'), ('index_source'), ('reembed_knowledge_base'), ('embed_memory'), ('remove_object'), ('maintain_search')) as queues (name)
  join pgboss.job on job.name in (queues.name, queues.name || '_dead')
  where job.state in ('created', 'retry', 'active');
$$;

create or replace function ai.due_ingestion()
returns table (kind text, id uuid)
language sql
stable
set search_path = ''
as $$
  with live as materialized (
    select live_jobs.queue, live_jobs.key, live_jobs.is_waiting from private.live_jobs()
  )
  select 'extraction', sources.id
  from ai.sources
  where sources.uploaded_at is not null
    and (
      (sources.extraction_status = 'pending' and coalesce(sources.next_retry_at, sources.updated_at) < now() - interval '10 seconds')
      or (sources.extraction_status = 'extracting' and sources.lease_expires_at < now())
    )
    and not exists (
      select from live
      where live.queue = 'extract_source'
        and live.key = sources.id::text
        -- The job of a worker that died stays active until its heartbeat is missed; the lease has told us before.
        and (live.is_waiting or sources.extraction_status = 'pending')
    )
  union all
  select 'indexing', indexed_sources.id
  from ai.indexed_sources
  join ai.sources on sources.id = indexed_sources.source_id
  join ai.knowledge_bases on knowledge_bases.id = indexed_sources.knowledge_base_id
  where sources.extraction_status = 'extracted'
    and (
      (
        indexed_sources.index_status = 'pending'
        and coalesce(indexed_sources.next_retry_at, indexed_sources.last_dispatched_at, indexed_sources.created_at) < now() - interval '10 seconds'
        -- Whoever draws the pages queues it; if nobody does, it is due when it has waited long enough.
        and not private.waits_for_page_images(sources.id, knowledge_bases.indexing_config)
      )
      or (indexed_sources.index_status = 'indexing' and indexed_sources.lease_expires_at < now())
    )
    and not exists (
      select from live
      where live.queue = 'index_source'
        and live.key = indexed_sources.id::text
        and (live.is_waiting or indexed_sources.index_status = 'pending')
    )
  union all
  select 'reembedding', reembeddings.id
  from private.reembeddings
  where (
      (reembeddings.status = 'pending' and coalesce(reembeddings.next_retry_at, reembeddings.created_at) < now() - interval '10 seconds')
      or (reembeddings.status = 'running' and reembeddings.lease_expires_at < now())
    )
    and not exists (
      select from live
      where live.queue = 'reembed_knowledge_base'
        and live.key = reembeddings.id::text
        and (live.is_waiting or reembeddings.status = 'pending')
    )
  union all
  (
    select 'memory', memories.id
    from public.memories
    where memories.embedding_model is null
      -- What could not be embedded is tried again from time to time.
      and coalesce(memories.embedding_attempted_at + interval '1 hour', memories.created_at + interval '10 seconds') < now()
      and not exists (select from live where live.queue = 'embed_memory' and live.key = memories.id::text)
    limit 200
  )
  union all
  (
    select 'removal', object_removals.id
    from private.object_removals
    -- Some are queued for later: when what was sent by a link has arrived.
    where object_removals.created_at < now() - interval '1 hour'
      and not exists (select from live where live.queue = 'remove_object' and live.key = object_removals.id::text)
    limit 200
  )
  limit 500;
$$;
