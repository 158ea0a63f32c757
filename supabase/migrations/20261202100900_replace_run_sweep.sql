-- With removals of bytes whose job is lost, and the sweep of kept answers.
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
      when 'remove_expired_answers' then
        counts := jsonb_build_object('count', ai.remove_expired_answers());
    end case;
  end if;

  update private.sweeps set last_began_at = began, last_ended_at = clock_timestamp(), last_error = null where sweeps.id = sweep.id;
  return jsonb_build_object('name', sweep.name, 'requeued', requeued, 'counts', counts);
end;
$$;
