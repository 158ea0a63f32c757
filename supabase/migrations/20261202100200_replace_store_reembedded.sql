-- Ten beginnings without an end were taken for something that ends its worker each time. But a call of the function `worker` has a
-- minute or two, and many knowledge bases take more than ten of those: they were given up although each call had brought them on.
create or replace function ai.store_reembedded(reembedding_id uuid, lease_token uuid, items jsonb)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  held private.reembeddings;
  item_ids uuid[];
  embeddings extensions.vector[];
begin
  -- Before the lease: who deletes the tenant or the knowledge base holds it before anything of ours.
  perform
  from public.tenants
  where tenants.id = (select reembeddings.tenant_id from private.reembeddings where reembeddings.id = store_reembedded.reembedding_id)
  for key share;
  perform
  from ai.knowledge_bases
  where knowledge_bases.id = (select reembeddings.knowledge_base_id from private.reembeddings where reembeddings.id = store_reembedded.reembedding_id)
  for key share;
  held := private.holds_reembedding_lease(store_reembedded.reembedding_id, store_reembedded.lease_token);
  if held.id is null then
    return false;
  end if;
  -- Spent, whatever becomes of the vectors. Before anything is locked: who deletes a person locks them before what is theirs.
  insert into ai.usage_entries (tenant_id, user_id, kind, model, prompt_tokens, total_tokens, is_estimate)
  select held.tenant_id, measured.owner_id, 'embedding', held.embedding_model, sum(measured.tokens), sum(measured.tokens), true
  from (
    select sources.owner_id, chunks.tokens
    from jsonb_to_recordset(store_reembedded.items) as item (id uuid)
    join ai.chunks on chunks.id = item.id
    join ai.sources on sources.tenant_id = chunks.tenant_id and sources.id = chunks.source_id
    where held.knowledge_base_id is not null and chunks.tenant_id = held.tenant_id and chunks.knowledge_base_id = held.knowledge_base_id
    union all
    select memories.user_id, greatest(ceil(char_length(memories.body) / 4.0), 1)::bigint
    from jsonb_to_recordset(store_reembedded.items) as item (id uuid)
    join public.memories on memories.id = item.id
    where held.knowledge_base_id is null and memories.tenant_id = held.tenant_id
  ) as measured
  group by measured.owner_id;
  -- Locked: what is being deleted or shown to others at this moment is waited for, and left out if it is gone or reads otherwise.
  if held.knowledge_base_id is not null then
    -- Who deletes a source, or takes it out of the knowledge base, holds these rows before its chunks, and locks those in an order of its own.
    perform
    from ai.indexed_sources
    where indexed_sources.id = any (
      array(
        select chunks.indexed_source_id
        from jsonb_to_recordset(store_reembedded.items) as item (id uuid)
        join ai.chunks on chunks.id = item.id
        where chunks.tenant_id = held.tenant_id and chunks.knowledge_base_id = held.knowledge_base_id
      )
    )
    order by indexed_sources.id
    for key share;
    select array_agg(kept.id), array_agg(kept.embedding)
    into item_ids, embeddings
    from (
      select chunks.id, item.embedding::text::extensions.vector as embedding
      from jsonb_to_recordset(store_reembedded.items) as item (id uuid, text_hash text, embedding jsonb)
      join ai.chunks on chunks.id = item.id
      where chunks.tenant_id = held.tenant_id
        and chunks.knowledge_base_id = held.knowledge_base_id
        and md5(private.embedded_text(chunks.text, chunks.context, chunks.meta)) = item.text_hash
      order by chunks.id
      for share of chunks
    ) as kept;
  else
    select array_agg(kept.id), array_agg(kept.embedding)
    into item_ids, embeddings
    from (
      select memories.id, item.embedding::text::extensions.vector as embedding
      from jsonb_to_recordset(store_reembedded.items) as item (id uuid, text_hash text, embedding jsonb)
      join public.memories on memories.id = item.id
      where memories.tenant_id = held.tenant_id and md5(memories.body) = item.text_hash
      order by memories.id
      for share of memories
    ) as kept;
  end if;
  if item_ids is not null then
    perform private.store_vectors(held.embedding_model, item_ids, embeddings);
    -- What is counted are beginnings that brought nothing.
    update private.reembeddings set attempts = 1 where reembeddings.id = held.id and reembeddings.attempts > 1;
  end if;
  return true;
end;
$$;
