create function ai.claim_indexing(indexed_source_id uuid, worker text, lease_seconds int default 60)
returns jsonb
language sql
set search_path = ''
as $$
  update ai.indexed_sources
  set
    index_status = 'indexing', lease_token = gen_random_uuid(), leased_by = claim_indexing.worker,
    lease_expires_at = now() + make_interval(secs => least(greatest(claim_indexing.lease_seconds, 1), 600)),
    attempts = indexed_sources.attempts + 1, next_retry_at = null, error_code = null, reason_code = null, error_message = null,
    indexing_config_snapshot = knowledge_bases.indexing_config
  from ai.knowledge_bases, ai.sources
  where indexed_sources.id = claim_indexing.indexed_source_id
    and knowledge_bases.id = indexed_sources.knowledge_base_id
    and sources.id = indexed_sources.source_id
    and sources.extraction_status = 'extracted'
    and (
      indexed_sources.index_status = 'pending'
      or (indexed_sources.index_status = 'indexing' and indexed_sources.lease_expires_at < now())
    )
  returning jsonb_build_object(
    'lease_token', indexed_sources.lease_token, 'indexed_source_id', indexed_sources.id, 'tenant_id', indexed_sources.tenant_id,
    'source_id', sources.id, 'knowledge_base_id', knowledge_bases.id, 'source_name', sources.name,
    'page_count', sources.page_count, 'indexing_config', knowledge_bases.indexing_config, 'attempts', indexed_sources.attempts
  );
$$;

comment on function ai.claim_indexing(uuid, text, int) is
  'Ledger: takes the lease on an extracted source that waits to be indexed, or whose lease has run out. Null when there is nothing to do.';

create function private.holds_indexing_lease(indexed_source_id uuid, lease_token uuid)
returns ai.indexed_sources
language sql
set search_path = ''
as $$
  select indexed_sources
  from ai.indexed_sources
  where indexed_sources.id = holds_indexing_lease.indexed_source_id and indexed_sources.lease_token = holds_indexing_lease.lease_token
  for update;
$$;

comment on function private.holds_indexing_lease(uuid, uuid) is 'Locks and returns the indexed source if this token still holds its lease, else null.';

create function ai.read_pages(indexed_source_id uuid, lease_token uuid, from_page int, page_limit int)
returns jsonb
language sql
set search_path = ''
as $$
  select coalesce(jsonb_agg(jsonb_build_object('page_number', pages.page_number, 'text', pages.text) order by pages.page_number), '[]')
  from (
    select source_pages.page_number, source_pages.text
    from private.holds_indexing_lease(read_pages.indexed_source_id, read_pages.lease_token) as held
    join ai.source_pages on source_pages.source_id = held.source_id
    where source_pages.page_number >= read_pages.from_page
    order by source_pages.page_number
    limit least(greatest(read_pages.page_limit, 1), 500)
  ) as pages;
$$;

comment on function ai.read_pages(uuid, uuid, int, int) is 'Ledger: pages of the source under indexing, for the holder of its lease only.';

create function ai.read_staged_chunks(indexed_source_id uuid, lease_token uuid)
returns jsonb
language sql
set search_path = ''
as $$
  select coalesce(
    jsonb_agg(
      jsonb_build_object(
        'chunk_index', staged_chunks.chunk_index, 'content_hash', staged_chunks.content_hash, 'embedding_model', staged_chunks.embedding_model
      )
      order by staged_chunks.chunk_index
    ),
    '[]'
  )
  from private.holds_indexing_lease(read_staged_chunks.indexed_source_id, read_staged_chunks.lease_token) as held
  join private.staged_chunks on staged_chunks.indexed_source_id = held.id;
$$;

comment on function ai.read_staged_chunks(uuid, uuid) is 'Ledger: what an earlier attempt has embedded already.';

create function ai.stage_chunks(indexed_source_id uuid, lease_token uuid, chunks jsonb, embedding_model text)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  held ai.indexed_sources := private.holds_indexing_lease(indexed_source_id, lease_token);
begin
  if held.id is null then
    return false;
  end if;
  insert into private.staged_chunks (
    indexed_source_id, tenant_id, chunk_index, content_hash, text, start_char, end_char, tokens, score, meta, embedding_model, embedding
  )
  select
    held.id, held.tenant_id, chunk.chunk_index, chunk.content_hash, chunk.text, chunk.start_char, chunk.end_char, chunk.tokens,
    chunk.score, coalesce(chunk.meta, '{}'), stage_chunks.embedding_model, chunk.embedding::text::extensions.vector
  from jsonb_to_recordset(stage_chunks.chunks) as chunk (
    chunk_index int, content_hash text, text text, start_char int, end_char int, tokens int, score real, meta jsonb, embedding jsonb
  )
  on conflict on constraint staged_chunks_pkey do update set
    content_hash = excluded.content_hash, text = excluded.text, start_char = excluded.start_char, end_char = excluded.end_char,
    tokens = excluded.tokens, score = excluded.score, meta = excluded.meta, embedding_model = excluded.embedding_model,
    embedding = excluded.embedding;
  return true;
end;
$$;

comment on function ai.stage_chunks(uuid, uuid, jsonb, text) is
  'Ledger: keeps embedded chunks aside until all are there; the same chunk_index again replaces it. False when the lease is lost.';

create function ai.finish_indexing(indexed_source_id uuid, lease_token uuid, chunk_count int, embedding_model text, stats jsonb)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  held ai.indexed_sources;
  source ai.sources;
  staged_count int;
begin
  -- Locked, so that a change of who may see the source either finds the new chunks or is copied into them; and before the
  -- indexed source, the order in which deleting, retrying and extracting take these locks.
  select sources.* into source
  from ai.sources
  where sources.id = (
    select indexed_sources.source_id from ai.indexed_sources where indexed_sources.id = finish_indexing.indexed_source_id
  )
  for update;
  held := private.holds_indexing_lease(finish_indexing.indexed_source_id, finish_indexing.lease_token);
  if held.id is null then
    return false;
  end if;

  delete from private.staged_chunks
  where staged_chunks.indexed_source_id = held.id and staged_chunks.chunk_index >= finish_indexing.chunk_count;
  select count(*) into staged_count
  from private.staged_chunks
  where staged_chunks.indexed_source_id = held.id and staged_chunks.embedding_model = finish_indexing.embedding_model;
  if staged_count <> finish_indexing.chunk_count then
    raise exception 'staged % of % chunks', staged_count, finish_indexing.chunk_count using errcode = '55000';
  end if;

  delete from ai.chunks where chunks.indexed_source_id = held.id;
  with moved as (
    delete from private.staged_chunks where staged_chunks.indexed_source_id = held.id returning *
  ),
  named as materialized (
    select gen_random_uuid() as id, moved.*, to_tsvector('pg_catalog.english', moved.text) as lexemes from moved
  ),
  inserted as (
    insert into ai.chunks (
      id, tenant_id, indexed_source_id, knowledge_base_id, source_id, owner_id, visibility, allowed_principals, text, chunk_index,
      start_char, end_char, tokens, score, meta, embedding_model
    )
    select
      named.id, held.tenant_id, held.id, held.knowledge_base_id, held.source_id, source.owner_id, source.visibility,
      source.allowed_principals, named.text, named.chunk_index, named.start_char, named.end_char, named.tokens, named.score,
      named.meta, named.embedding_model
    from named
  )
  insert into private.chunk_index (chunk_id, tenant_id, knowledge_base_id, embedding_model, embedding, lexemes, lexeme_count)
  select
    named.id, held.tenant_id, held.knowledge_base_id, named.embedding_model, named.embedding, named.lexemes,
    (select coalesce(sum(cardinality(positions.positions)), 0) from unnest(named.lexemes) as positions)
  from named;

  update ai.indexed_sources
  set
    index_status = 'indexed', indexed_at = now(), embedding_model = finish_indexing.embedding_model,
    stats = coalesce(finish_indexing.stats, '{}') || jsonb_build_object('chunk_count', finish_indexing.chunk_count),
    lease_token = null, leased_by = null, lease_expires_at = null
  where indexed_sources.id = held.id;
  return true;
end;
$$;

comment on function ai.finish_indexing(uuid, uuid, int, text, jsonb) is
  'Ledger: replaces the searchable chunks of the source by the staged ones, all at once. 55000 when some are missing; false when the lease is lost.';

create function ai.fail_indexing(
  indexed_source_id uuid,
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
  if fail_indexing.status not in ('failed', 'pending') then
    raise exception 'status must be failed or pending' using errcode = '22023';
  end if;
  update ai.indexed_sources
  set
    index_status = fail_indexing.status, error_code = fail_indexing.error_code, reason_code = fail_indexing.reason_code,
    error_message = left(fail_indexing.error_message, 1000), next_retry_at = fail_indexing.next_retry_at,
    lease_token = null, leased_by = null, lease_expires_at = null
  where indexed_sources.id = fail_indexing.indexed_source_id and indexed_sources.lease_token = fail_indexing.lease_token;
  return found;
end;
$$;

comment on function ai.fail_indexing(uuid, uuid, text, text, text, text, timestamptz) is
  'Ledger: gives the lease back with the reason; status pending means the queue will retry at next_retry_at. False when the lease is lost.';

revoke execute on function private.holds_indexing_lease(uuid, uuid) from public;
revoke execute on function ai.claim_indexing(uuid, text, int) from public, anon, authenticated, service_role;
revoke execute on function ai.read_pages(uuid, uuid, int, int) from public, anon, authenticated, service_role;
revoke execute on function ai.read_staged_chunks(uuid, uuid) from public, anon, authenticated, service_role;
revoke execute on function ai.stage_chunks(uuid, uuid, jsonb, text) from public, anon, authenticated, service_role;
revoke execute on function ai.finish_indexing(uuid, uuid, int, text, jsonb) from public, anon, authenticated, service_role;
revoke execute on function ai.fail_indexing(uuid, uuid, text, text, text, text, timestamptz) from public, anon, authenticated, service_role;
grant execute on function private.holds_indexing_lease(uuid, uuid) to service_role;
grant execute on function ai.claim_indexing(uuid, text, int) to service_role;
grant execute on function ai.read_pages(uuid, uuid, int, int) to service_role;
grant execute on function ai.read_staged_chunks(uuid, uuid) to service_role;
grant execute on function ai.stage_chunks(uuid, uuid, jsonb, text) to service_role;
grant execute on function ai.finish_indexing(uuid, uuid, int, text, jsonb) to service_role;
grant execute on function ai.fail_indexing(uuid, uuid, text, text, text, text, timestamptz) to service_role;
