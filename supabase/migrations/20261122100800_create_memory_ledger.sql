create function ai.claim_memory(memory_id uuid)
returns jsonb
language sql
set search_path = ''
as $$
  update public.memories
  set embedding_attempted_at = now()
  from public.tenants
  where memories.id = claim_memory.memory_id and memories.embedding_model is null and tenants.id = memories.tenant_id
  returning jsonb_build_object(
    'memory_id', memories.id, 'tenant_id', memories.tenant_id, 'body', memories.body, 'body_hash', md5(memories.body),
    'embedding_model', tenants.memory_embedding_model
  );
$$;

comment on function ai.claim_memory(uuid) is
  'Ledger: the text of a memory that has no vector, and which model to embed it with (null: the worker''s own). Null when there is nothing to do. Two may claim it: the vector counts for this body_hash only.';

create function ai.store_memory_vector(memory_id uuid, body_hash text, embedding_model text, embedding jsonb)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  memory public.memories;
  model_in_use text;
begin
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
  'Ledger: stores the vector of a memory whose text still has this hash, of the model that its tenant''s memories are searched by. False when either has changed; 22023 for a vector of another length.';

revoke execute on function ai.claim_memory(uuid) from public, anon, authenticated, service_role;
revoke execute on function ai.store_memory_vector(uuid, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function ai.claim_memory(uuid) to service_role;
grant execute on function ai.store_memory_vector(uuid, text, text, jsonb) to service_role;
