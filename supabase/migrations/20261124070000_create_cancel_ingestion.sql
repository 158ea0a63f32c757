-- Work on a source can be called off while it waits or runs: who is at it loses the lease and writes nothing any more.
create function private.cancel_extraction(source_id uuid)
returns jsonb
language plpgsql
security definer -- as lock_own_source
set search_path = ''
as $$
declare
  source ai.sources := private.lock_own_source(source_id);
begin
  if source.uploaded_at is null then
    perform private.raise_error(409, 'upload_incomplete', 'The bytes of this source have not arrived.', 'Abandon the upload instead.');
  end if;
  if source.extraction_status not in ('pending', 'extracting') then
    perform private.raise_error(
      409, 'conflict', format('The source is %s; there is nothing to cancel.', source.extraction_status), 'Only pending and extracting sources can be cancelled.'
    );
  end if;
  update ai.sources
  set
    extraction_status = 'cancelled', error_code = null, reason_code = null, error_message = null, next_retry_at = null,
    lease_token = null, leased_by = null, lease_expires_at = null
  where sources.id = source.id
  returning * into source;
  return private.source_json(source);
end;
$$;

comment on function private.cancel_extraction(uuid) is 'Core of ai.cancel_extraction().';

create function private.cancel_indexing(indexed_source_id uuid)
returns jsonb
language plpgsql
security definer -- as lock_own_source
set search_path = ''
as $$
declare
  item ai.indexed_sources;
begin
  select * into item from ai.indexed_sources where indexed_sources.id = cancel_indexing.indexed_source_id;
  -- Before the indexed source, the order in which indexing takes these locks. Whose it is not, it does not exist for.
  perform private.lock_own_source(item.source_id);
  select * into item from ai.indexed_sources where indexed_sources.id = cancel_indexing.indexed_source_id for update;
  if item.id is null then
    perform private.raise_error(404, 'not_found', 'Source not found.', 'Check its id; only its owner and admins can do this.');
  end if;
  if item.index_status not in ('pending', 'indexing') then
    perform private.raise_error(
      409, 'conflict', format('The source is %s here; there is nothing to cancel.', item.index_status), 'Only pending and indexing sources can be cancelled.'
    );
  end if;
  update ai.indexed_sources
  set
    index_status = 'cancelled', error_code = null, reason_code = null, error_message = null, next_retry_at = null,
    lease_token = null, leased_by = null, lease_expires_at = null
  where indexed_sources.id = item.id
  returning * into item;
  delete from private.staged_chunks where staged_chunks.indexed_source_id = item.id;
  return jsonb_build_object('id', item.id, 'knowledge_base_id', item.knowledge_base_id, 'source_id', item.source_id, 'index_status', item.index_status);
end;
$$;

comment on function private.cancel_indexing(uuid) is 'Core of ai.cancel_indexing().';

create function private.reextract_source(source_id uuid)
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
    lease_token = null, leased_by = null, lease_expires_at = null
  where indexed_sources.source_id = source.id;
  return private.extraction_job(source.id);
end;
$$;

comment on function private.reextract_source(uuid) is 'Core of ai.reextract_source().';

create function ai.cancel_extraction(source_id uuid)
returns jsonb
language sql
set search_path = ''
as $$
  select private.cancel_extraction(source_id);
$$;

create function ai.cancel_indexing(indexed_source_id uuid)
returns jsonb
language sql
set search_path = ''
as $$
  select private.cancel_indexing(indexed_source_id);
$$;

create function ai.reextract_source(source_id uuid)
returns jsonb
language sql
set search_path = ''
as $$
  select private.reextract_source(source_id);
$$;

comment on function ai.cancel_extraction(uuid) is
  'Calls the extraction of a source off; retry_source() takes it up again. Returns the source. PT404; PT409 conflict unless it is pending or extracting, upload_incomplete before its bytes are there.';
comment on function ai.cancel_indexing(uuid) is
  'Calls the indexing of a source in one knowledge base off; what was searchable before stays. Returns {id, knowledge_base_id, source_id, index_status}. PT404; PT409 conflict unless it is pending or indexing.';
comment on function ai.reextract_source(uuid) is
  'Extracts a source again and indexes it again wherever it is indexed; until then search finds what it found. Returns the source. PT404; PT409 not_retryable while it waits or runs, or upload_incomplete.';

revoke execute on function private.cancel_extraction(uuid) from public;
revoke execute on function private.cancel_indexing(uuid) from public;
revoke execute on function private.reextract_source(uuid) from public;
revoke execute on function ai.cancel_extraction(uuid) from public, anon, authenticated, service_role;
revoke execute on function ai.cancel_indexing(uuid) from public, anon, authenticated, service_role;
revoke execute on function ai.reextract_source(uuid) from public, anon, authenticated, service_role;
grant execute on function private.cancel_extraction(uuid) to authenticated;
grant execute on function private.cancel_indexing(uuid) to authenticated;
grant execute on function private.reextract_source(uuid) to authenticated;
grant execute on function ai.cancel_extraction(uuid) to authenticated;
grant execute on function ai.cancel_indexing(uuid) to authenticated;
grant execute on function ai.reextract_source(uuid) to authenticated;
