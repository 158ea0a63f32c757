-- What has to be done again and again, whoever does it: a row for each, queued when it is due, and done by the database in one call.
select pgboss.create_queue('sweep_dead', '{"policy": "short", "retryLimit": 20, "retryDelay": 30, "notify": true}');
select pgboss.create_queue('sweep', '{"policy": "short", "retryLimit": 4, "retryDelay": 1, "retryBackoff": true, "retryDelayMax": 60, "expireInSeconds": 300, "heartbeatSeconds": 10, "deleteAfterSeconds": 3600, "deadLetter": "sweep_dead", "notify": true}');

create table private.sweeps (
  id uuid primary key default gen_random_uuid(),
  name text not null,
  least_seconds int not null default 0,
  last_began_at timestamptz,
  last_ended_at timestamptz,
  last_failed_at timestamptz,
  last_error text,
  constraint sweeps_name_key unique (name),
  constraint sweeps_name_is_known check (
    name in (
      'requeue_work', 'requeue_enrichments', 'requeue_page_renderings', 'requeue_schedules', 'queue_maintenance', 'sweep_run_log',
      'expire_approvals', 'close_expired_searches', 'remove_stale_uploads'
    )
  ),
  constraint sweeps_least_seconds_is_a_day_at_most check (least_seconds between 0 and 86400),
  constraint sweeps_last_error_has_a_length check (char_length(last_error) between 1 and 200)
);

comment on table private.sweeps is 'What is done again and again, and when it was. The jobs of the queue `sweep` are about these rows.';
comment on column private.sweeps.least_seconds is 'Not more often than this, however often executors ask. The operator changes it.';
comment on column private.sweeps.last_began_at is 'When that began which ended at last_ended_at.';
comment on column private.sweeps.last_failed_at is 'When it last failed: nothing of that attempt is left.';
comment on column private.sweeps.last_error is 'Code of that failure; null once it has been done again.';

alter table private.sweeps enable row level security;
alter table private.sweeps force row level security;
revoke all on table private.sweeps from anon, authenticated, service_role;

insert into private.sweeps (name, least_seconds)
values
  ('requeue_work', 0), ('requeue_enrichments', 0), ('requeue_page_renderings', 0), ('requeue_schedules', 0), ('queue_maintenance', 0),
  ('sweep_run_log', 0), ('expire_approvals', 0), ('close_expired_searches', 0),
  -- Of those nobody sent for a day.
  ('remove_stale_uploads', 600);

create function private.queue_due_sweeps(interval_seconds numeric, leaves text[])
returns int
language plpgsql
security definer -- the queue is writable by nobody
set search_path = ''
as $$
declare
  due uuid;
  queued int := 0;
begin
  for due in
    select sweeps.id
    from private.sweeps
    where sweeps.name <> all (coalesce(queue_due_sweeps.leaves, '{}'))
      and (
        greatest(sweeps.last_began_at, sweeps.last_failed_at) is null
        -- Who asks every 15 seconds may once be a little early.
        or greatest(sweeps.last_began_at, sweeps.last_failed_at)
          <= now() - make_interval(secs => greatest(sweeps.least_seconds, least(greatest(queue_due_sweeps.interval_seconds, 0), 86400) * 0.8)::double precision)
      )
    order by sweeps.name
    -- It is being done at this moment.
    for update skip locked
  loop
    if private.enqueue('sweep', jsonb_build_object('id', due), now(), due::text) is not null then
      queued := queued + 1;
    end if;
  end loop;
  return queued;
end;
$$;

comment on function private.queue_due_sweeps(numeric, text[]) is 'Core of ai.queue_due_sweeps().';

create function ai.queue_due_sweeps(interval_seconds numeric, leaves text[] default '{}')
returns int
language sql
set search_path = ''
as $$
  select private.queue_due_sweeps(interval_seconds, leaves);
$$;

comment on function ai.queue_due_sweeps(numeric, text[]) is
  'Ledger: queues the sweeps that nobody has begun for so long, except those of these names, which the caller leaves to others. At most one job waits for each. Returns how many were queued.';

create function private.run_sweep(sweep_id uuid, leaves text[], graph_build_from int, graph_retire_below int)
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

comment on function private.run_sweep(uuid, text[], int, int) is 'Core of ai.run_sweep().';

create function ai.run_sweep(sweep_id uuid, leaves text[] default '{}', graph_build_from int default 4000, graph_retire_below int default 2500)
returns jsonb
language sql
set search_path = ''
as $$
  select private.run_sweep(sweep_id, leaves, graph_build_from, graph_retire_below);
$$;

comment on function ai.run_sweep(uuid, text[], int, int) is
  'Ledger: does what a sweep is about and notes that. Returns {name, requeued: [{kind, id}], counts}; null when there is no such sweep, it has been done lately or somebody else is at it, or its name is one the caller leaves to others, for whom it is queued again.';

create function private.note_failed_sweep(sweep_id uuid, error text)
returns text
language plpgsql
security definer -- sweeps are writable by nobody
set search_path = ''
as $$
declare
  sweep_name text;
begin
  update private.sweeps
  set last_failed_at = clock_timestamp(), last_error = coalesce(nullif(left(note_failed_sweep.error, 200), ''), 'internal')
  where sweeps.id = note_failed_sweep.sweep_id
  returning sweeps.name into sweep_name;
  return sweep_name;
end;
$$;

comment on function private.note_failed_sweep(uuid, text) is 'Core of ai.note_failed_sweep().';

create function ai.note_failed_sweep(sweep_id uuid, error text)
returns text
language sql
set search_path = ''
as $$
  select private.note_failed_sweep(sweep_id, error);
$$;

comment on function ai.note_failed_sweep(uuid, text) is
  'Ledger: notes that ai.run_sweep() has failed, and with which code; it is due again as if it had been done. Returns its name, null when there is no such sweep.';

create function private.sweep_health()
returns table (
  name text, least_seconds int, last_began_at timestamptz, last_ended_at timestamptz, last_failed_at timestamptz, last_error text
)
language sql
stable
security definer -- sweeps are readable by nobody
set search_path = ''
as $$
  select sweeps.name, sweeps.least_seconds, sweeps.last_began_at, sweeps.last_ended_at, sweeps.last_failed_at, sweeps.last_error
  from private.sweeps
  order by sweeps.name;
$$;

comment on function private.sweep_health() is 'Core of ai.sweep_health().';

create function ai.sweep_health()
returns table (
  name text, least_seconds int, last_began_at timestamptz, last_ended_at timestamptz, last_failed_at timestamptz, last_error text
)
language sql
stable
set search_path = ''
as $$
  select * from private.sweep_health();
$$;

comment on function ai.sweep_health() is
  'Operator: each sweep, when it was last done and when it last failed; last_error: the code, as long as it has not been done since. Needs the secret key.';

revoke execute on function private.queue_due_sweeps(numeric, text[]) from public, anon, authenticated, service_role;
revoke execute on function private.run_sweep(uuid, text[], int, int) from public, anon, authenticated, service_role;
revoke execute on function private.note_failed_sweep(uuid, text) from public, anon, authenticated, service_role;
revoke execute on function private.sweep_health() from public, anon, authenticated, service_role;
revoke execute on function ai.queue_due_sweeps(numeric, text[]) from public, anon, authenticated, service_role;
revoke execute on function ai.run_sweep(uuid, text[], int, int) from public, anon, authenticated, service_role;
revoke execute on function ai.note_failed_sweep(uuid, text) from public, anon, authenticated, service_role;
revoke execute on function ai.sweep_health() from public, anon, authenticated, service_role;
grant execute on function private.queue_due_sweeps(numeric, text[]) to service_role;
grant execute on function private.run_sweep(uuid, text[], int, int) to service_role;
grant execute on function private.note_failed_sweep(uuid, text) to service_role;
grant execute on function private.sweep_health() to service_role;
grant execute on function ai.queue_due_sweeps(numeric, text[]) to service_role;
grant execute on function ai.run_sweep(uuid, text[], int, int) to service_role;
grant execute on function ai.note_failed_sweep(uuid, text) to service_role;
grant execute on function ai.sweep_health() to service_role;
