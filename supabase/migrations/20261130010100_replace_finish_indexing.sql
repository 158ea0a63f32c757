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
  -- Before the source: who deletes the tenant or the knowledge base holds it before anything of ours, and what is written below
  -- asks for both.
  perform
  from public.tenants
  where tenants.id = (
    select indexed_sources.tenant_id from ai.indexed_sources where indexed_sources.id = finish_indexing.indexed_source_id
  )
  for key share;
  perform
  from ai.knowledge_bases
  where knowledge_bases.id = (
    select indexed_sources.knowledge_base_id from ai.indexed_sources where indexed_sources.id = finish_indexing.indexed_source_id
  )
  for key share;
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
