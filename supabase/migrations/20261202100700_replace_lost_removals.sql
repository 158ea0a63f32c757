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

create or replace function private.run_sweep(sweep_id uuid, leaves text[], graph_build_from int, graph_retire_below int)
returns jsonb
language plpgsql
security definer -- the queue is writable by nobody
set search_path = ''
as $$
declare
  -- What upkeep is about: nothing in particular. What is to be done is asked of the index.
  nothing constant text := '00000000-0000-0000-0000-000000000000';
  began constant timestamptz := clock_timestamp();
  sweep private.sweeps;
  waiting record;
  requeued jsonb := '[]';
  counts jsonb := '{}';
begin
  select * into sweep from private.sweeps where sweeps.id = run_sweep.sweep_id for update skip locked;
  if sweep.id is null or sweep.last_began_at > began - sweep.least_seconds * 0.8 * interval '1 second' then
    return null;
  end if;
  if sweep.name = any (run_sweep.leaves) then
    -- For somebody who does it, as long as there is somebody.
    if sweep.last_ended_at > began - interval '10 minutes' then
      perform private.enqueue('sweep', jsonb_build_object('id', sweep.id), now() + interval '3 seconds', sweep.id::text);
    end if;
    return null;
  end if;

  if sweep.name in ('requeue_work', 'requeue_enrichments', 'requeue_page_renderings') then
    for waiting in
      select due.kind, due.id
      from ai.due_ingestion() as due
      where sweep.name = 'requeue_work'
      union all
      select 'enrichment', due.id
      from ai.due_enrichments() as due (id)
      where sweep.name = 'requeue_enrichments'
      union all
      select 'page_rendering', due.id
      from ai.due_page_renderings() as due (id)
      where sweep.name = 'requeue_page_renderings'
    loop
      perform private.enqueue(
        case waiting.kind
          when 'extraction' then 'extract_source'
          when 'indexing' then 'index_source'
          when 'reembedding' then 'reembed_knowledge_base'
          when 'memory' then 'embed_memory'
          when 'enrichment' then 'enrich_knowledge_base'
          when 'page_rendering' then 'render_pages'
          when 'removal' then 'remove_object'
        end,
        jsonb_build_object('id', waiting.id), now(), waiting.id::text
      );
      requeued := requeued || jsonb_build_object('kind', waiting.kind, 'id', waiting.id);
    end loop;
  else
    case sweep.name
      when 'requeue_schedules' then
        select coalesce(jsonb_agg(jsonb_build_object('kind', 'schedule', 'id', lost.id)), '[]') into requeued
        from unnest(private.requeue_schedules()) as lost (id);
      when 'queue_maintenance' then
        if ai.due_search_maintenance(run_sweep.graph_build_from, run_sweep.graph_retire_below)
          and private.enqueue('maintain_search', jsonb_build_object('id', nothing), now(), nothing) is not null
        then
          counts := '{"count": 1}';
        end if;
      when 'sweep_run_log' then
        counts := ai.sweep_run_log();
      when 'expire_approvals' then
        counts := jsonb_build_object('count', ai.expire_approvals());
      when 'close_expired_searches' then
        counts := jsonb_build_object('count', ai.close_expired_searches());
      when 'remove_stale_uploads' then
        counts := jsonb_build_object('count', ai.remove_stale_uploads());
    end case;
  end if;

  update private.sweeps set last_began_at = began, last_ended_at = clock_timestamp(), last_error = null where sweeps.id = sweep.id;
  return jsonb_build_object('name', sweep.name, 'requeued', requeued, 'counts', counts);
end;
$$;
