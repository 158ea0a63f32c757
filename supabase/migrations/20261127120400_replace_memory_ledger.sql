-- The vector of a memory is usage, as those of chunks are: of the person it belongs to, or of nobody for one of the tenant's. Counted by our own
-- measure of tokens, a quarter of the characters, and in no budget.
create or replace function ai.store_memory_vector(memory_id uuid, body_hash text, embedding_model text, embedding jsonb)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  memory public.memories;
  model_in_use text;
begin
  -- Spent, whatever becomes of the vector. Before anything of the memory is locked: who deletes the person locks them before their memories.
  insert into ai.usage_entries (tenant_id, user_id, kind, model, prompt_tokens, total_tokens, is_estimate)
  select memories.tenant_id, memories.user_id, 'embedding', store_memory_vector.embedding_model, measured.tokens, measured.tokens, true
  from public.memories
  cross join lateral (select greatest(ceil(char_length(memories.body) / 4.0), 1)::bigint as tokens) as measured
  where memories.id = store_memory_vector.memory_id and md5(memories.body) = store_memory_vector.body_hash;
  perform private.hold_embedding_model(memories.tenant_id, false)
  from public.memories
  where memories.id = store_memory_vector.memory_id;
  -- Locked: a change or removal under way is waited for, and then this vector is of a text that is no more.
  select memories.* into memory from public.memories where memories.id = store_memory_vector.memory_id for no key update;
  if memory.id is null or md5(memory.body) <> store_memory_vector.body_hash then
    return false;
  end if;
  -- The first memory decides; two that are first at once wait for each other here.
  update public.tenants
  set memory_embedding_model = store_memory_vector.embedding_model
  where tenants.id = memory.tenant_id and tenants.memory_embedding_model is null;
  select tenants.memory_embedding_model into model_in_use from public.tenants where tenants.id = memory.tenant_id;
  if model_in_use <> store_memory_vector.embedding_model then
    return false;
  end if;
  perform private.store_vectors(
    store_memory_vector.embedding_model, array[memory.id], array[store_memory_vector.embedding::text::extensions.vector]
  );
  update public.memories set embedding_model = store_memory_vector.embedding_model where memories.id = memory.id;
  return true;
end;
$$;

comment on function ai.store_memory_vector(uuid, text, text, jsonb) is
  'Ledger: stores the vector of a memory whose text still has this hash, of the model that its tenant''s memories are searched by, and writes its tokens down as usage. False when either has changed; 22023 for a vector of another length.';
