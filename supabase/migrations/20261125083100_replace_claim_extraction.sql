-- Says who held the source before and has gone without a word: an executor that has no process for each document does not read
-- again what one of its kind has not survived.
create or replace function ai.claim_extraction(source_id uuid, worker text, lease_seconds int default 60)
returns jsonb
language sql
set search_path = ''
as $$
  with before as materialized (
    select sources.id, case when sources.extraction_status = 'extracting' then sources.leased_by end as holder
    from ai.sources
    where sources.id = claim_extraction.source_id
    for update
  )
  update ai.sources
  set
    extraction_status = 'extracting', lease_token = gen_random_uuid(), leased_by = claim_extraction.worker,
    lease_expires_at = now() + make_interval(secs => least(greatest(claim_extraction.lease_seconds, 1), 600)),
    attempts = sources.attempts + 1, next_retry_at = null, error_code = null, reason_code = null, error_message = null
  from before
  where sources.id = before.id
    and sources.uploaded_at is not null
    and (
      sources.extraction_status = 'pending'
      or (sources.extraction_status = 'extracting' and sources.lease_expires_at < now())
    )
  returning jsonb_build_object(
    'lease_token', sources.lease_token, 'source_id', sources.id, 'tenant_id', sources.tenant_id, 'name', sources.name,
    'file_type', sources.file_type, 'mime_type', sources.mime_type, 'size_bytes', sources.size_bytes,
    'content_hash', sources.content_hash, 'storage_path', sources.storage_path, 'attempts', sources.attempts,
    'lost_holder', before.holder
  );
$$;

comment on function ai.claim_extraction(uuid, text, int) is
  'Ledger: takes the lease on an uploaded source that waits, or whose lease has run out; lost_holder: who held that lease, else null. Null when there is nothing to do or somebody else is at it.';
