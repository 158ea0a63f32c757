-- Whoever has a source extracted anew, or its indexing tried again, has it indexed anew and pays for the models that are asked. So far
-- whoever had put it into a knowledge base did: the owner of a source could use up a colleague's budget with it.
create or replace function private.reextract_source(source_id uuid)
returns jsonb
language plpgsql
security definer -- as lock_own_source
set search_path = ''
as $$
declare
  source ai.sources := private.lock_own_source(source_id);
begin
  if source.extraction_status <> 'extracted' then
    return private.retry_source(source.id);
  end if;
  update ai.sources
  set
    extraction_status = 'pending', extracted_at = null, attempts = 0, error_code = null, reason_code = null, error_message = null,
    next_retry_at = null
  where sources.id = source.id;
  -- Indexed again when the text is there; what is searchable now stays so until then.
  update ai.indexed_sources
  set
    index_status = 'pending', attempts = 0, error_code = null, reason_code = null, error_message = null, next_retry_at = null,
    lease_token = null, leased_by = null, lease_expires_at = null, requested_by = private.caller_user_id()
  where indexed_sources.source_id = source.id;
  return private.extraction_job(source.id);
end;
$$;

create or replace function private.retry_source(source_id uuid)
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
    set
      index_status = 'pending', attempts = 0, error_code = null, reason_code = null, error_message = null, next_retry_at = null,
      requested_by = private.caller_user_id()
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
