-- The queues for an executor that cannot be a client of pg-boss: the function `worker`, which has the Data API and nothing else. A
-- job goes the same ways, fenced by its attempt: active with a heartbeat; gone when it is done; again later, or to the dead letters.
create function private.fail_job(queue text, job_id uuid)
returns void
language plpgsql
security definer -- the queue is writable by nobody
set search_path = ''
as $$
declare
  failed pgboss.job;
  delay double precision;
begin
  select * into failed from pgboss.job where job.name = fail_job.queue and job.id = fail_job.job_id and job.state = 'active' for update;
  if failed.id is null then
    return;
  end if;
  if failed.retry_count < failed.retry_limit then
    -- As long as pg-boss waits: between half of it and all of it.
    delay := case
      when failed.retry_backoff
        then least(coalesce(failed.retry_delay_max, 86400), greatest(failed.retry_delay, 1) * 2 ^ least(16, failed.retry_count + 1) * (0.5 + random() / 2))
      else failed.retry_delay
    end;
    update pgboss.job
    set state = 'retry', heartbeat_on = null, start_after = pgboss.job_now() + make_interval(secs => delay)
    where job.name = failed.name and job.id = failed.id;
    return;
  end if;
  delete from pgboss.job where job.name = failed.name and job.id = failed.id;
  if failed.dead_letter is not null then
    perform private.enqueue(failed.dead_letter, failed.data, now(), failed.data ->> 'id');
  end if;
end;
$$;

comment on function private.fail_job(text, uuid) is
  'Ends an attempt at a job in vain: it waits for the next one, or, after the last, goes to the dead letters of its queue.';

create function private.take_jobs(queue text, max_count int, max_bytes bigint)
returns jsonb
language plpgsql
security definer -- as fail_job
set search_path = ''
as $$
declare
  most int;
  candidate uuid;
  taken jsonb := '[]';
  answer jsonb;
begin
  -- Where no worker runs, nobody else looks after those whose executor has died.
  for candidate in
    select job.id
    from pgboss.job
    where job.name = take_jobs.queue and job.state = 'active'
      and (
        job.started_on + make_interval(secs => job.expire_seconds) < pgboss.job_now()
        or coalesce(job.heartbeat_on, job.started_on) + make_interval(secs => job.heartbeat_seconds) < pgboss.job_now()
      )
    for update skip locked
  loop
    perform private.fail_job(take_jobs.queue, candidate);
  end loop;
  select queue_limits.max_active_per_tenant into most from private.queue_limits where queue_limits.queue = take_jobs.queue;
  for candidate in
    select job.id
    from pgboss.job
    where job.name = take_jobs.queue and job.state < 'active' and not job.blocked and job.start_after <= pgboss.job_now()
      and (
        most is null or job.group_id is null
        or (
          select count(*)
          from pgboss.job as others
          where others.name = job.name and others.group_id = job.group_id and others.state = 'active' and others.group_id is not null
        ) < most
      )
      and not (
        job.name = 'extract_source'
        and exists (
          select from ai.sources
          where sources.size_bytes > take_jobs.max_bytes
            and sources.id = case when job.data ->> 'id' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then (job.data ->> 'id')::uuid end
        )
      )
    order by job.priority desc, job.created_on, job.id
    limit least(greatest(take_jobs.max_count, 0), 100)
    for update of job skip locked
  loop
    -- The limit of the tenant holds here, too: hold_queue_limit refuses what is beyond it.
    update pgboss.job
    set
      state = 'active', started_on = pgboss.job_now(), heartbeat_on = pgboss.job_now(),
      retry_count = case when job.started_on is not null then job.retry_count + 1 else job.retry_count end
    where job.name = take_jobs.queue and job.id = candidate
    returning jsonb_build_object(
      'id', job.id, 'queue', job.name, 'subject', job.data ->> 'id', 'attempt', job.retry_count,
      'retry_seconds', case
        when job.retry_count >= job.retry_limit then null
        when job.retry_backoff
          then least(coalesce(job.retry_delay_max, 86400), greatest(job.retry_delay, 1) * 2 ^ least(16, job.retry_count + 1))
        else job.retry_delay
      end
    ) into answer;
    if found then
      taken := taken || answer;
    end if;
  end loop;
  return taken;
end;
$$;

comment on function private.take_jobs(text, int, bigint) is 'Core of ai.take_jobs().';

create function private.beat_jobs(job_ids uuid[])
returns int
language plpgsql
security definer -- as fail_job
set search_path = ''
as $$
declare
  beaten int;
begin
  update pgboss.job set heartbeat_on = pgboss.job_now() where job.state = 'active' and job.id = any (beat_jobs.job_ids);
  get diagnostics beaten = row_count;
  return beaten;
end;
$$;

comment on function private.beat_jobs(uuid[]) is 'Core of ai.beat_jobs().';

create function private.finish_job(queue text, job_id uuid, attempt int, succeeded boolean)
returns boolean
language plpgsql
security definer -- as fail_job
set search_path = ''
as $$
begin
  perform from pgboss.job
  where job.name = finish_job.queue and job.id = finish_job.job_id and job.state = 'active' and job.retry_count = finish_job.attempt
  for update;
  if not found then
    return false;
  end if;
  if finish_job.succeeded then
    delete from pgboss.job where job.name = finish_job.queue and job.id = finish_job.job_id;
  else
    perform private.fail_job(finish_job.queue, finish_job.job_id);
  end if;
  return true;
end;
$$;

comment on function private.finish_job(text, uuid, int, boolean) is 'Core of ai.finish_job().';

create function ai.take_jobs(queue text, max_count int default 1, max_bytes bigint default null)
returns jsonb
language sql
set search_path = ''
as $$
  select private.take_jobs(queue, max_count, max_bytes);
$$;

comment on function ai.take_jobs(text, int, bigint) is
  'Ledger: takes at most max_count (to 100) jobs of a queue, by turns of tenants and within their limits; first gives back those whose executor has missed its heartbeat. Sources of more than max_bytes are left to an executor that can read them. Returns [{id, queue, subject, attempt, retry_seconds}]; retry_seconds: the longest wait before the next attempt, null in the last. To be kept alive by ai.beat_jobs() and ended by ai.finish_job().';

create function ai.beat_jobs(job_ids uuid[])
returns int
language sql
set search_path = ''
as $$
  select private.beat_jobs(job_ids);
$$;

comment on function ai.beat_jobs(uuid[]) is 'Ledger: says that jobs taken by ai.take_jobs() are still worked on. Returns how many still are one''s own.';

create function ai.finish_job(queue text, job_id uuid, attempt int, succeeded boolean)
returns boolean
language sql
set search_path = ''
as $$
  select private.finish_job(queue, job_id, attempt, succeeded);
$$;

comment on function ai.finish_job(text, uuid, int, boolean) is
  'Ledger: ends an attempt at a job. Without success it is tried again later or, after its last attempt, goes to the dead letters. False when the job has been given to somebody else meanwhile.';

revoke execute on function private.fail_job(text, uuid) from public, anon, authenticated, service_role;
revoke execute on function private.take_jobs(text, int, bigint) from public, anon, authenticated, service_role;
revoke execute on function private.beat_jobs(uuid[]) from public, anon, authenticated, service_role;
revoke execute on function private.finish_job(text, uuid, int, boolean) from public, anon, authenticated, service_role;
revoke execute on function ai.take_jobs(text, int, bigint) from public, anon, authenticated, service_role;
revoke execute on function ai.beat_jobs(uuid[]) from public, anon, authenticated, service_role;
revoke execute on function ai.finish_job(text, uuid, int, boolean) from public, anon, authenticated, service_role;
grant execute on function private.take_jobs(text, int, bigint) to service_role;
grant execute on function private.beat_jobs(uuid[]) to service_role;
grant execute on function private.finish_job(text, uuid, int, boolean) to service_role;
grant execute on function ai.take_jobs(text, int, bigint) to service_role;
grant execute on function ai.beat_jobs(uuid[]) to service_role;
grant execute on function ai.finish_job(text, uuid, int, boolean) to service_role;
