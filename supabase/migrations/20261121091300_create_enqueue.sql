create function private.enqueue(queue text, payload jsonb default '{}', run_at timestamptz default now(), dedupe text default null)
returns uuid
language plpgsql
security definer -- nobody but the owner may write to the queue's tables
set search_path = ''
as $$
declare
  job_id uuid;
begin
  -- The queue's settings are copied into the job, as pg-boss does; above all `policy`, which its unique indexes read.
  insert into pgboss.job (
    name, data, start_after, singleton_key, created_on, expire_seconds, deletion_seconds, keep_until,
    retry_limit, retry_delay, retry_backoff, retry_delay_max, policy, dead_letter, heartbeat_seconds
  )
  select
    -- Under the policy `short` all jobs without a key would count as one.
    queue.name, payload, run_at, coalesce(dedupe, gen_random_uuid()::text), pgboss.job_now(), queue.expire_seconds, queue.deletion_seconds,
    run_at + queue.retention_seconds * interval '1 second',
    queue.retry_limit, queue.retry_delay, queue.retry_backoff, queue.retry_delay_max, queue.policy, queue.dead_letter,
    queue.heartbeat_seconds
  from pgboss.queue
  where queue.name = enqueue.queue
  on conflict do nothing
  returning id into job_id;

  if job_id is null then
    if not exists (select from pgboss.queue where queue.name = enqueue.queue) then
      raise exception 'There is no queue %.', enqueue.queue using errcode = '22023';
    end if;
    return null;
  end if;

  -- Wakes listening workers at commit; the channel is the one pg-boss derives from its schema's name.
  perform pg_notify('pgboss_' || left(encode(sha224('pgboss'::bytea), 'hex'), 24), enqueue.queue);
  return job_id;
end;
$$;

comment on function private.enqueue(text, jsonb, timestamptz, text) is 'Core of ai.enqueue(); called by the RPCs that register work, in their transaction.';

create function ai.enqueue(queue text, payload jsonb default '{}', run_at timestamptz default now(), dedupe text default null)
returns uuid
language sql
set search_path = ''
as $$
  select private.enqueue(enqueue.queue, enqueue.payload, enqueue.run_at, enqueue.dedupe);
$$;

comment on function ai.enqueue(text, jsonb, timestamptz, text) is
  'Inserts a pg-boss job in the caller''s transaction. `dedupe`: at most one waiting job with this key. Returns the job''s id, or null if such a job waits already. 22023 for an unknown queue.';

revoke execute on function private.enqueue(text, jsonb, timestamptz, text) from public;
revoke execute on function ai.enqueue(text, jsonb, timestamptz, text) from public, anon, authenticated, service_role;
grant execute on function private.enqueue(text, jsonb, timestamptz, text) to service_role;
grant execute on function ai.enqueue(text, jsonb, timestamptz, text) to service_role;
