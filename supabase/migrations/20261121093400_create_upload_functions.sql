create function private.lock_own_source(source_id uuid)
returns ai.sources
language plpgsql
security definer -- takes a row lock on a table the caller may not update
set search_path = ''
as $$
declare
  source ai.sources;
begin
  select * into source
  from ai.sources
  where sources.id = source_id
    and sources.tenant_id = any (array(select private.caller_tenant_ids('member')))
    and (
      sources.owner_id = (select auth.uid())
      or (
        sources.tenant_id = any (array(select private.caller_tenant_ids('admin')))
        and (
          sources.visibility = 'tenant'
          or (sources.visibility = 'granted' and sources.allowed_principals && (select private.caller_principal_ids())::uuid[])
          or sources.tenant_id = any (array(select private.caller_backend_tenant_ids()))
        )
      )
    )
  for update;
  if source.id is null then
    perform private.raise_error(404, 'not_found', 'Source not found.', 'Check its id; only its owner and admins can do this.');
  end if;
  return source;
end;
$$;

comment on function private.lock_own_source(uuid) is 'Locks a source that the caller owns, or administers and can see. PT404 for all others alike.';

create function private.extraction_job(source_id uuid)
returns jsonb
language plpgsql
security definer -- the queue is writable by nobody
set search_path = ''
as $$
declare
  job_id uuid := private.enqueue('extract_source', jsonb_build_object('id', source_id), now(), source_id::text);
  source ai.sources;
begin
  update ai.sources
  set celery_task_id = coalesce(job_id::text, celery_task_id)
  where sources.id = source_id
  returning * into source;
  return private.source_json(source);
end;
$$;

comment on function private.extraction_job(uuid) is 'Queues the extraction of a source, in the caller''s transaction, and returns the source.';

create function private.complete_upload(source_id uuid)
returns jsonb
language plpgsql
security definer -- as lock_own_source
set search_path = ''
as $$
declare
  source ai.sources := private.lock_own_source(source_id);
begin
  if source.uploaded_at is not null then
    return private.source_json(source);
  end if;
  update ai.sources set uploaded_at = now() where sources.id = source.id;
  return private.extraction_job(source.id);
end;
$$;

create function private.abandon_upload(source_id uuid)
returns void
language plpgsql
security definer -- as lock_own_source
set search_path = ''
as $$
declare
  source ai.sources := private.lock_own_source(source_id);
begin
  if source.uploaded_at is not null then
    perform private.raise_error(409, 'already_uploaded', 'The upload is complete.', 'Delete the source instead.');
  end if;
  delete from ai.sources where sources.id = source.id;
end;
$$;

create function private.retry_source(source_id uuid)
returns jsonb
language plpgsql
security definer -- as lock_own_source
set search_path = ''
as $$
declare
  source ai.sources := private.lock_own_source(source_id);
begin
  if source.uploaded_at is null then
    perform private.raise_error(409, 'upload_incomplete', 'The bytes of this source have not arrived.', 'Upload the file and complete the upload.');
  end if;
  if source.extraction_status in ('failed', 'attention_required', 'cancelled') then
    update ai.sources
    set
      extraction_status = 'pending', attempts = 0, error_code = null, reason_code = null, error_message = null, next_retry_at = null
    where sources.id = source.id;
    return private.extraction_job(source.id);
  end if;
  if source.extraction_status = 'extracted' then
    -- The text is there; what can have failed is indexing.
    update ai.indexed_sources
    set index_status = 'pending', attempts = 0, error_code = null, reason_code = null, error_message = null, next_retry_at = null
    where indexed_sources.source_id = source.id and indexed_sources.index_status in ('failed', 'cancelled');
    if found then
      perform private.index_job(indexed_sources.id)
      from ai.indexed_sources
      where indexed_sources.source_id = source.id and indexed_sources.index_status = 'pending';
      return private.source_json(source);
    end if;
  end if;
  perform private.raise_error(
    409, 'not_retryable', format('The source is %s; there is nothing to retry.', source.extraction_status),
    'Only failed, cancelled and attention_required sources can be retried.'
  );
  return null; -- not reached
end;
$$;

comment on function private.complete_upload(uuid) is 'Core of ai.complete_upload().';
comment on function private.abandon_upload(uuid) is 'Core of ai.abandon_upload().';
comment on function private.retry_source(uuid) is 'Core of ai.retry_source().';

create function ai.complete_upload(source_id uuid)
returns jsonb
language sql
set search_path = ''
as $$
  select private.complete_upload(source_id);
$$;

create function ai.abandon_upload(source_id uuid)
returns void
language sql
set search_path = ''
as $$
  select private.abandon_upload(source_id);
$$;

create function ai.retry_source(source_id uuid)
returns jsonb
language sql
set search_path = ''
as $$
  select private.retry_source(source_id);
$$;

comment on function ai.complete_upload(uuid) is
  'The bytes are in place: queues extraction in the same transaction. Calling it again changes nothing. The worker checks size and SHA-256 itself. Returns the source; PT404.';
comment on function ai.abandon_upload(uuid) is 'Removes a source whose bytes never arrived or did not match. PT404; PT409 already_uploaded.';
comment on function ai.retry_source(uuid) is
  'Extracts (or, if only that failed, indexes) a source again. Returns the source; PT404; PT409 not_retryable or upload_incomplete.';

revoke execute on function private.lock_own_source(uuid) from public;
revoke execute on function private.extraction_job(uuid) from public;
revoke execute on function private.complete_upload(uuid) from public;
revoke execute on function private.abandon_upload(uuid) from public;
revoke execute on function private.retry_source(uuid) from public;
revoke execute on function ai.complete_upload(uuid) from public, anon, authenticated, service_role;
revoke execute on function ai.abandon_upload(uuid) from public, anon, authenticated, service_role;
revoke execute on function ai.retry_source(uuid) from public, anon, authenticated, service_role;
grant execute on function private.complete_upload(uuid) to authenticated;
grant execute on function private.abandon_upload(uuid) to authenticated;
grant execute on function private.retry_source(uuid) to authenticated;
grant execute on function ai.complete_upload(uuid) to authenticated;
grant execute on function ai.abandon_upload(uuid) to authenticated;
grant execute on function ai.retry_source(uuid) to authenticated;
