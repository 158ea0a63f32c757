-- Memories are written and changed while another model takes over, and nothing of that holds the model. What was looked at is held
-- from here on, so that a text which changes at this moment is seen to lack a vector; and only what has one is said to.
create or replace function private.apply_embedding_model(tenant_id uuid, knowledge_base_id uuid, embedding_model text)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  if apply_embedding_model.knowledge_base_id is null then
    -- Before it is asked what lacks a vector: whoever is changing one is waited for, and then it lacks one.
    perform
    from public.memories
    where memories.tenant_id = apply_embedding_model.tenant_id
      and memories.embedding_model is distinct from apply_embedding_model.embedding_model
    order by memories.id
    for no key update;
  end if;
  if exists (
    select from private.items_without_vector(
      apply_embedding_model.tenant_id, apply_embedding_model.knowledge_base_id, apply_embedding_model.embedding_model, 1
    )
  ) then
    return false;
  end if;
  if apply_embedding_model.knowledge_base_id is null then
    update public.memories
    set embedding_model = apply_embedding_model.embedding_model
    where memories.tenant_id = apply_embedding_model.tenant_id
      and memories.embedding_model is distinct from apply_embedding_model.embedding_model
      -- Not one that was written since: it has a job, which embeds it with the model that is in use then.
      and exists (
        select from private.search_vectors
        join private.vector_sets on vector_sets.id = search_vectors.vector_set_id
        where search_vectors.item_id = memories.id
          and vector_sets.tenant_id = memories.tenant_id
          and vector_sets.embedding_model = apply_embedding_model.embedding_model
      );
    update public.tenants
    set
      memory_embedding_model = apply_embedding_model.embedding_model,
      next_memory_embedding_model = nullif(tenants.next_memory_embedding_model, apply_embedding_model.embedding_model)
    where tenants.id = apply_embedding_model.tenant_id;
  else
    update ai.knowledge_bases
    set
      embedding_model = apply_embedding_model.embedding_model,
      next_embedding_model = nullif(knowledge_bases.next_embedding_model, apply_embedding_model.embedding_model)
    where knowledge_bases.tenant_id = apply_embedding_model.tenant_id and knowledge_bases.id = apply_embedding_model.knowledge_base_id;
    update ai.indexed_sources
    set embedding_model = apply_embedding_model.embedding_model
    where indexed_sources.tenant_id = apply_embedding_model.tenant_id
      and indexed_sources.knowledge_base_id = apply_embedding_model.knowledge_base_id
      and indexed_sources.indexed_at is not null
      and indexed_sources.embedding_model is distinct from apply_embedding_model.embedding_model;
  end if;
  update private.reembeddings
  set
    status = 'complete', finished_at = now(), error_code = null, reason_code = null, error_message = null, next_retry_at = null,
    lease_token = null, leased_by = null, lease_expires_at = null
  where reembeddings.tenant_id = apply_embedding_model.tenant_id
    and reembeddings.knowledge_base_id is not distinct from apply_embedding_model.knowledge_base_id
    and reembeddings.embedding_model = apply_embedding_model.embedding_model;
  return true;
end;
$$;
