create function ai.renew_lease(kind text, id uuid, lease_token uuid, lease_seconds int default 60)
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
  else
    raise exception 'kind must be extraction or indexing' using errcode = '22023';
  end if;
  return found;
end;
$$;

comment on function ai.renew_lease(text, uuid, uuid, int) is 'Ledger: keeps a lease for lease_seconds from now. False when it is lost; the holder must stop.';

create function ai.mark_dead_letter(kind text, id uuid, error_message text)
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
      and (sources.extraction_status = 'pending' or (sources.extraction_status = 'extracting' and sources.lease_expires_at < now()));
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
      );
  else
    raise exception 'kind must be extraction or indexing' using errcode = '22023';
  end if;
  return found;
end;
$$;

comment on function ai.mark_dead_letter(text, uuid, text) is
  'Ledger: the queue has given up. Sets failed with reason dead_letter, keeping what the last attempt said. False when it has been finished meanwhile or is being worked on.';

create function private.has_live_job(queue text, key text, counts_active boolean)
returns boolean
language sql
stable
security definer -- the queue is readable by nobody
set search_path = ''
as $$
  select exists (
    select from pgboss.job
    where job.name in (has_live_job.queue, has_live_job.queue || '_dead')
      and (job.state in ('created', 'retry') or (has_live_job.counts_active and job.state = 'active'))
      and job.data ->> 'id' = has_live_job.key
  );
$$;

comment on function private.has_live_job(text, text, boolean) is 'Whether a job about this id waits or will be retried, or (counts_active) runs; dead letters included.';

create function ai.due_ingestion()
returns table (kind text, id uuid)
language sql
stable
set search_path = ''
as $$
  select 'extraction', sources.id
  from ai.sources
  where sources.uploaded_at is not null
    and (
      (sources.extraction_status = 'pending' and coalesce(sources.next_retry_at, sources.updated_at) < now() - interval '10 seconds')
      or (sources.extraction_status = 'extracting' and sources.lease_expires_at < now())
    )
    -- The job of a worker that died stays active until its heartbeat is missed; the lease has told us before.
    and not private.has_live_job('extract_source', sources.id::text, sources.extraction_status = 'pending')
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
    and not private.has_live_job('index_source', indexed_sources.id::text, indexed_sources.index_status = 'pending');
$$;

comment on function ai.due_ingestion() is 'Ledger: sources and indexed sources that wait while no job is about them, e.g. after the queue was purged. The sweep queues them again.';

revoke execute on function ai.renew_lease(text, uuid, uuid, int) from public, anon, authenticated, service_role;
revoke execute on function ai.mark_dead_letter(text, uuid, text) from public, anon, authenticated, service_role;
revoke execute on function private.has_live_job(text, text, boolean) from public;
revoke execute on function ai.due_ingestion() from public, anon, authenticated, service_role;
grant execute on function ai.renew_lease(text, uuid, uuid, int) to service_role;
grant execute on function ai.mark_dead_letter(text, uuid, text) to service_role;
grant execute on function private.has_live_job(text, text, boolean) to service_role;
grant execute on function ai.due_ingestion() to service_role;

create function ai.remove_stale_uploads()
returns int
language plpgsql
set search_path = ''
as $$
declare
  removed int;
begin
  delete from ai.sources where sources.uploaded_at is null and sources.created_at < now() - interval '24 hours';
  get diagnostics removed = row_count;
  return removed;
end;
$$;

comment on function ai.remove_stale_uploads() is
  'Ledger: forgets uploads that were announced more than a day ago and never completed, and queues the removal of what may lie in the store. Returns how many. Called by the worker''s sweep.';

revoke execute on function ai.remove_stale_uploads() from public, anon, authenticated, service_role;
grant execute on function ai.remove_stale_uploads() to service_role;
