-- The sweep and the leases know the new kinds of work, too.
create or replace function ai.renew_lease(kind text, id uuid, lease_token uuid, lease_seconds int default 60)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  until timestamptz := now() + make_interval(secs => least(greatest(renew_lease.lease_seconds, 1), 600));
begin
  if kind = 'extraction' then
    update ai.sources set lease_expires_at = until
    where sources.id = renew_lease.id and sources.lease_token = renew_lease.lease_token;
  elsif kind = 'indexing' then
    update ai.indexed_sources set lease_expires_at = until
    where indexed_sources.id = renew_lease.id and indexed_sources.lease_token = renew_lease.lease_token;
  elsif kind = 'reembedding' then
    update private.reembeddings set lease_expires_at = until
    where reembeddings.id = renew_lease.id and reembeddings.lease_token = renew_lease.lease_token;
  else
    raise exception 'kind must be extraction, indexing or reembedding' using errcode = '22023';
  end if;
  return found;
end;
$$;

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
  from (values ('extract_source'), ('index_source'), ('reembed_knowledge_base'), ('embed_memory'), ('maintain_search')) as queues (name)
  join pgboss.job on job.name in (queues.name, queues.name || '_dead')
  where job.state in ('created', 'retry', 'active');
$$;

comment on function private.live_jobs() is
  'Jobs of the worker that wait (now or for a retry) or run: queue, the id they are about, and whether they are in the queue''s dead letters.';

create or replace function ai.mark_dead_letter(kind text, id uuid, error_message text)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  sentence text := coalesce(nullif(left(mark_dead_letter.error_message, 1000), ''), 'Processing failed repeatedly.');
begin
  if kind = 'extraction' then
    update ai.sources
    set
      extraction_status = 'failed', error_code = coalesce(sources.error_code, 'internal'), reason_code = 'dead_letter',
      error_message = coalesce(sources.error_message, sentence), next_retry_at = null,
      lease_token = null, leased_by = null, lease_expires_at = null
    where sources.id = mark_dead_letter.id
      and (sources.extraction_status = 'pending' or (sources.extraction_status = 'extracting' and sources.lease_expires_at < now()))
      -- Somebody asked again meanwhile: that job decides.
      and not exists (
        select from private.live_jobs() as live
        where live.queue = 'extract_source' and live.key = mark_dead_letter.id::text and live.is_waiting and not live.is_dead_letter
      );
  elsif kind = 'indexing' then
    update ai.indexed_sources
    set
      index_status = 'failed', error_code = coalesce(indexed_sources.error_code, 'internal'), reason_code = 'dead_letter',
      error_message = coalesce(indexed_sources.error_message, sentence), next_retry_at = null,
      lease_token = null, leased_by = null, lease_expires_at = null
    where indexed_sources.id = mark_dead_letter.id
      and (
        indexed_sources.index_status = 'pending'
        or (indexed_sources.index_status = 'indexing' and indexed_sources.lease_expires_at < now())
      )
      and not exists (
        select from private.live_jobs() as live
        where live.queue = 'index_source' and live.key = mark_dead_letter.id::text and live.is_waiting and not live.is_dead_letter
      );
  elsif kind = 'reembedding' then
    update private.reembeddings
    set
      status = 'failed', error_code = coalesce(reembeddings.error_code, 'internal'), reason_code = 'dead_letter',
      error_message = coalesce(reembeddings.error_message, sentence), next_retry_at = null,
      lease_token = null, leased_by = null, lease_expires_at = null
    where reembeddings.id = mark_dead_letter.id
      and (reembeddings.status = 'pending' or (reembeddings.status = 'running' and reembeddings.lease_expires_at < now()))
      and not exists (
        select from private.live_jobs() as live
        where live.queue = 'reembed_knowledge_base' and live.key = mark_dead_letter.id::text and live.is_waiting and not live.is_dead_letter
      );
  else
    raise exception 'kind must be extraction, indexing or reembedding' using errcode = '22023';
  end if;
  return found;
end;
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
  where sources.extraction_status = 'extracted'
    and (
      (
        indexed_sources.index_status = 'pending'
        and coalesce(indexed_sources.next_retry_at, indexed_sources.last_dispatched_at, indexed_sources.created_at) < now() - interval '10 seconds'
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
  limit 500;
$$;

comment on function ai.due_ingestion() is
  'Ledger: at most 500 sources, indexed sources, re-embeddings and memories that wait while no job is about them, e.g. after the queue was purged. The sweep queues them again.';
