-- Indexing uses the model that the knowledge base is searched by, so that none ends up with vectors of two models in use.
create or replace function ai.claim_indexing(indexed_source_id uuid, worker text, lease_seconds int default 60)
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
    'page_count', sources.page_count, 'indexing_config', knowledge_bases.indexing_config, 'attempts', indexed_sources.attempts,
    'embedding_model', knowledge_bases.embedding_model
  );
$$;

comment on function ai.claim_indexing(uuid, text, int) is
  'Ledger: takes the lease on an extracted source that waits to be indexed, or whose lease has run out. Says which model to embed with; null: the worker''s own. Null when there is nothing to do.';

create or replace function ai.stage_chunks(indexed_source_id uuid, lease_token uuid, chunks jsonb, embedding_model text)
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
    indexed_source_id, tenant_id, chunk_index, content_hash, text, context, start_char, end_char, tokens, score, meta, embedding_model, embedding
  )
  select
    held.id, held.tenant_id, chunk.chunk_index, chunk.content_hash, chunk.text, chunk.context, chunk.start_char, chunk.end_char, chunk.tokens,
    chunk.score, coalesce(chunk.meta, '{}'), stage_chunks.embedding_model, chunk.embedding::text::extensions.vector
  from jsonb_to_recordset(stage_chunks.chunks) as chunk (
    chunk_index int, content_hash text, text text, context text, start_char int, end_char int, tokens int, score real, meta jsonb, embedding jsonb
  )
  on conflict on constraint staged_chunks_pkey do update set
    content_hash = excluded.content_hash, text = excluded.text, context = excluded.context, start_char = excluded.start_char,
    end_char = excluded.end_char, tokens = excluded.tokens, score = excluded.score, meta = excluded.meta,
    embedding_model = excluded.embedding_model, embedding = excluded.embedding;
  return true;
end;
$$;

create or replace function ai.finish_indexing(indexed_source_id uuid, lease_token uuid, chunk_count int, embedding_model text, stats jsonb)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  held ai.indexed_sources;
  source ai.sources;
  base ai.knowledge_bases;
  staged_count int;
begin
  -- First of all, the order in which switching models takes its locks: the model in use stays what it is until the end.
  perform private.hold_embedding_model(indexed_sources.knowledge_base_id, false)
  from ai.indexed_sources
  where indexed_sources.id = finish_indexing.indexed_source_id;
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

  -- The first source decides; two that are first at once wait for each other here.
  update ai.knowledge_bases
  set embedding_model = finish_indexing.embedding_model
  where knowledge_bases.id = held.knowledge_base_id and knowledge_bases.embedding_model is null and finish_indexing.chunk_count > 0;
  select knowledge_bases.* into base from ai.knowledge_bases where knowledge_bases.id = held.knowledge_base_id;
  if base.embedding_model <> finish_indexing.embedding_model and finish_indexing.chunk_count > 0 then
    perform private.raise_error(
      409, 'conflict', format('The knowledge base is searched by %s, not by %s.', base.embedding_model, finish_indexing.embedding_model),
      'Claim the source again and embed it with that model.'
    );
  end if;

  -- In the order in which store_reembedded() locks them.
  perform from ai.chunks where chunks.indexed_source_id = held.id order by chunks.id for update;
  delete from ai.chunks where chunks.indexed_source_id = held.id;
  insert into ai.chunks (
    tenant_id, indexed_source_id, knowledge_base_id, source_id, owner_id, visibility, allowed_principals, text, context, chunk_index,
    start_char, end_char, tokens, score, meta, embedding_model
  )
  select
    held.tenant_id, held.id, held.knowledge_base_id, held.source_id, source.owner_id, source.visibility,
    source.allowed_principals, staged_chunks.text, staged_chunks.context, staged_chunks.chunk_index, staged_chunks.start_char,
    staged_chunks.end_char, staged_chunks.tokens, staged_chunks.score, staged_chunks.meta, staged_chunks.embedding_model
  from private.staged_chunks
  where staged_chunks.indexed_source_id = held.id;
  perform private.store_vectors(
    finish_indexing.embedding_model, array_agg(chunks.id order by chunks.chunk_index), array_agg(staged_chunks.embedding order by chunks.chunk_index)
  )
  from ai.chunks
  join private.staged_chunks
    on staged_chunks.indexed_source_id = chunks.indexed_source_id and staged_chunks.chunk_index = chunks.chunk_index
  where chunks.indexed_source_id = held.id
  having count(*) > 0;
  delete from private.staged_chunks where staged_chunks.indexed_source_id = held.id;

  -- The new chunks have no vector yet of the model that is to follow.
  if base.next_embedding_model is not null then
    perform private.enqueue('reembed_knowledge_base', jsonb_build_object('id', reembeddings.id), now(), reembeddings.id::text)
    from private.reembeddings
    where reembeddings.tenant_id = held.tenant_id and reembeddings.knowledge_base_id = held.knowledge_base_id;
  end if;
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
  'Ledger: replaces the searchable chunks of the source by the staged ones, all at once. 55000 when some are missing, PT409 when the knowledge base is searched by another model (since); false when the lease is lost.';
