-- What the worker may do to a source, with the secret key: each write carries the lease it was given, and a holder whose
-- lease was taken over is refused by the row itself.
create function ai.claim_extraction(source_id uuid, worker text, lease_seconds int default 60)
returns jsonb
language sql
set search_path = ''
as $$
  update ai.sources
  set
    extraction_status = 'extracting', lease_token = gen_random_uuid(), leased_by = claim_extraction.worker,
    lease_expires_at = now() + make_interval(secs => least(greatest(claim_extraction.lease_seconds, 1), 600)),
    attempts = sources.attempts + 1, next_retry_at = null, error_code = null, reason_code = null, error_message = null
  where sources.id = claim_extraction.source_id
    and sources.uploaded_at is not null
    and (
      sources.extraction_status = 'pending'
      or (sources.extraction_status = 'extracting' and sources.lease_expires_at < now())
    )
  returning jsonb_build_object(
    'lease_token', sources.lease_token, 'source_id', sources.id, 'tenant_id', sources.tenant_id, 'name', sources.name,
    'file_type', sources.file_type, 'mime_type', sources.mime_type, 'size_bytes', sources.size_bytes,
    'content_hash', sources.content_hash, 'storage_path', sources.storage_path, 'attempts', sources.attempts
  );
$$;

comment on function ai.claim_extraction(uuid, text, int) is
  'Ledger: takes the lease on an uploaded source that waits, or whose lease has run out. Null when there is nothing to do or somebody else is at it.';

create function ai.save_source_pages(source_id uuid, lease_token uuid, pages jsonb)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  tenant uuid;
begin
  select sources.tenant_id into tenant
  from ai.sources
  where sources.id = save_source_pages.source_id and sources.lease_token = save_source_pages.lease_token
  for update;
  if tenant is null then
    return false;
  end if;
  insert into ai.source_pages (tenant_id, source_id, page_number, text)
  select tenant, save_source_pages.source_id, page.page_number, page.text
  from jsonb_to_recordset(save_source_pages.pages) as page (page_number int, text text)
  on conflict on constraint source_pages_pkey do update set text = excluded.text;
  return true;
end;
$$;

comment on function ai.save_source_pages(uuid, uuid, jsonb) is
  'Ledger: stores pages [{"page_number", "text"}] of a source under extraction. False when the lease is lost.';

create function ai.finish_extraction(source_id uuid, lease_token uuid, page_count int, auto_metadata jsonb)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  tenant uuid;
begin
  update ai.sources
  set
    extraction_status = 'extracted', extracted_at = now(), page_count = finish_extraction.page_count,
    auto_metadata = finish_extraction.auto_metadata, lease_token = null, leased_by = null, lease_expires_at = null,
    derivatives = jsonb_build_object(
      'page_text',
      (
        select coalesce(jsonb_agg(jsonb_build_object('storage_path', null, 'page', numbers.page, 'format', 'txt') order by numbers.page), '[]')
        from generate_series(1, least(finish_extraction.page_count, 2000)) as numbers (page)
      )
    )
  where sources.id = finish_extraction.source_id and sources.lease_token = finish_extraction.lease_token
  returning sources.tenant_id into tenant;
  if tenant is null then
    return false;
  end if;
  -- An earlier extraction may have found more pages.
  delete from ai.source_pages
  where source_pages.source_id = finish_extraction.source_id and source_pages.page_number > finish_extraction.page_count;
  perform private.index_job(indexed_sources.id)
  from ai.indexed_sources
  where indexed_sources.source_id = finish_extraction.source_id and indexed_sources.index_status = 'pending';
  return true;
end;
$$;

comment on function ai.finish_extraction(uuid, uuid, int, jsonb) is
  'Ledger: the text is complete. Queues the indexing that waits for it, in the same transaction. False when the lease is lost.';

create function ai.fail_extraction(
  source_id uuid,
  lease_token uuid,
  status text,
  error_code text,
  reason_code text,
  error_message text,
  next_retry_at timestamptz default null
)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  if fail_extraction.status not in ('failed', 'attention_required', 'pending') then
    raise exception 'status must be failed, attention_required or pending' using errcode = '22023';
  end if;
  update ai.sources
  set
    extraction_status = fail_extraction.status, error_code = fail_extraction.error_code, reason_code = fail_extraction.reason_code,
    error_message = left(fail_extraction.error_message, 1000), next_retry_at = fail_extraction.next_retry_at,
    lease_token = null, leased_by = null, lease_expires_at = null
  where sources.id = fail_extraction.source_id and sources.lease_token = fail_extraction.lease_token;
  return found;
end;
$$;

comment on function ai.fail_extraction(uuid, uuid, text, text, text, text, timestamptz) is
  'Ledger: gives the lease back with the reason; status pending means the queue will retry at next_retry_at. False when the lease is lost.';

revoke execute on function ai.claim_extraction(uuid, text, int) from public, anon, authenticated, service_role;
revoke execute on function ai.save_source_pages(uuid, uuid, jsonb) from public, anon, authenticated, service_role;
revoke execute on function ai.finish_extraction(uuid, uuid, int, jsonb) from public, anon, authenticated, service_role;
revoke execute on function ai.fail_extraction(uuid, uuid, text, text, text, text, timestamptz) from public, anon, authenticated, service_role;
grant execute on function ai.claim_extraction(uuid, text, int) to service_role;
grant execute on function ai.save_source_pages(uuid, uuid, jsonb) to service_role;
grant execute on function ai.finish_extraction(uuid, uuid, int, jsonb) to service_role;
grant execute on function ai.fail_extraction(uuid, uuid, text, text, text, text, timestamptz) to service_role;
grant execute on function private.index_job(uuid) to service_role;
