create function ai.claim_reembedding(reembedding_id uuid, worker text, lease_seconds int default 60)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  claimed private.reembeddings;
begin
  update private.reembeddings
  set
    status = 'running', lease_token = gen_random_uuid(), leased_by = claim_reembedding.worker,
    lease_expires_at = now() + make_interval(secs => least(greatest(claim_reembedding.lease_seconds, 1), 600)),
    attempts = case when reembeddings.status = 'complete' then 1 else reembeddings.attempts + 1 end,
    next_retry_at = null, error_code = null, reason_code = null, error_message = null, finished_at = null
  where reembeddings.id = claim_reembedding.reembedding_id
    and (
      -- Complete ones again, while nobody has switched: chunks have come since.
      reembeddings.status in ('pending', 'complete')
      or (reembeddings.status = 'running' and reembeddings.lease_expires_at < now())
    )
    and (
      exists (
        select from ai.knowledge_bases
        where knowledge_bases.id = reembeddings.knowledge_base_id
          and knowledge_bases.next_embedding_model = reembeddings.embedding_model
      )
      or (
        reembeddings.knowledge_base_id is null
        and exists (
          select from public.tenants
          where tenants.id = reembeddings.tenant_id and tenants.next_memory_embedding_model = reembeddings.embedding_model
        )
      )
    )
  returning * into claimed;
  if claimed.id is null then
    return null;
  end if;
  return jsonb_build_object(
    'lease_token', claimed.lease_token, 'reembedding_id', claimed.id, 'tenant_id', claimed.tenant_id,
    'knowledge_base_id', claimed.knowledge_base_id, 'embedding_model', claimed.embedding_model, 'attempts', claimed.attempts
  );
end;
$$;

comment on function ai.claim_reembedding(uuid, text, int) is
  'Ledger: takes the lease on a re-embedding that waits, whose lease has run out, or that was complete before more chunks came. Null when there is nothing to do.';

create function private.holds_reembedding_lease(reembedding_id uuid, lease_token uuid)
returns private.reembeddings
language sql
set search_path = ''
as $$
  select reembeddings
  from private.reembeddings
  where reembeddings.id = holds_reembedding_lease.reembedding_id and reembeddings.lease_token = holds_reembedding_lease.lease_token
  for update;
$$;

comment on function private.holds_reembedding_lease(uuid, uuid) is 'Locks and returns the re-embedding if this token still holds its lease, else null.';

create function ai.read_unembedded(reembedding_id uuid, lease_token uuid, item_limit int)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  held constant private.reembeddings := private.holds_reembedding_lease(reembedding_id, lease_token);
  lacking uuid[];
begin
  if held.id is null then
    return null;
  end if;
  lacking := array(
    select private.items_without_vector(
      held.tenant_id, held.knowledge_base_id, held.embedding_model, least(greatest(item_limit, 1), 1000)
    )
  );
  return coalesce(
    (
      select jsonb_agg(jsonb_build_object('id', items.id, 'text', items.text, 'text_hash', md5(items.text)))
      from (
        select chunks.id, private.embedded_text(chunks.text, chunks.context, chunks.meta) as text
        from ai.chunks
        where held.knowledge_base_id is not null and chunks.id = any (lacking)
        union all
        select memories.id, memories.body
        from public.memories
        where held.knowledge_base_id is null and memories.id = any (lacking)
      ) as items
    ),
    '[]'
  );
end;
$$;

comment on function ai.read_unembedded(uuid, uuid, int) is
  'Ledger: at most item_limit (1..1000) texts that have no vector of the new model, for the holder of the lease; null when it is lost.';

create function ai.store_reembedded(reembedding_id uuid, lease_token uuid, items jsonb)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  held constant private.reembeddings := private.holds_reembedding_lease(reembedding_id, lease_token);
  item_ids uuid[];
  embeddings extensions.vector[];
begin
  if held.id is null then
    return false;
  end if;
  -- Locked: what is being deleted or shown to others at this moment is waited for, and left out if it is gone or reads otherwise.
  if held.knowledge_base_id is not null then
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
  end if;
  return true;
end;
$$;

comment on function ai.store_reembedded(uuid, uuid, jsonb) is
  'Ledger: stores vectors of the new model beside those in use: [{id, text_hash, embedding}]. Items that are gone or read otherwise meanwhile are left out. False when the lease is lost; 22023 for vectors of unequal length.';

create function ai.finish_reembedding(reembedding_id uuid, lease_token uuid)
returns text
language plpgsql
set search_path = ''
as $$
declare
  held private.reembeddings;
begin
  perform private.hold_embedding_model(coalesce(reembeddings.knowledge_base_id, reembeddings.tenant_id), true)
  from private.reembeddings
  where reembeddings.id = finish_reembedding.reembedding_id;
  held := private.holds_reembedding_lease(finish_reembedding.reembedding_id, finish_reembedding.lease_token);
  if held.id is null then
    return 'lost';
  end if;
  if held.switches_when_complete then
    return case when private.apply_embedding_model(held.tenant_id, held.knowledge_base_id, held.embedding_model) then 'switched' else 'incomplete' end;
  end if;
  if exists (select from private.items_without_vector(held.tenant_id, held.knowledge_base_id, held.embedding_model, 1)) then
    return 'incomplete';
  end if;
  update private.reembeddings
  set status = 'complete', finished_at = now(), lease_token = null, leased_by = null, lease_expires_at = null
  where reembeddings.id = held.id;
  return 'complete';
end;
$$;

comment on function ai.finish_reembedding(uuid, uuid) is
  'Ledger: switched (search compares the new vectors from now on), complete (a person switches), incomplete (more has come: read on) or lost (the lease).';

create function ai.fail_reembedding(
  reembedding_id uuid,
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
  if fail_reembedding.status not in ('failed', 'pending') then
    raise exception 'status must be failed or pending' using errcode = '22023';
  end if;
  update private.reembeddings
  set
    status = fail_reembedding.status, error_code = fail_reembedding.error_code, reason_code = fail_reembedding.reason_code,
    error_message = left(fail_reembedding.error_message, 1000), next_retry_at = fail_reembedding.next_retry_at,
    lease_token = null, leased_by = null, lease_expires_at = null
  where reembeddings.id = fail_reembedding.reembedding_id and reembeddings.lease_token = fail_reembedding.lease_token;
  return found;
end;
$$;

comment on function ai.fail_reembedding(uuid, uuid, text, text, text, text, timestamptz) is
  'Ledger: gives the lease back with the reason; status pending means the queue will retry at next_retry_at. False when the lease is lost.';

revoke execute on function private.holds_reembedding_lease(uuid, uuid) from public;
revoke execute on function ai.claim_reembedding(uuid, text, int) from public, anon, authenticated, service_role;
revoke execute on function ai.read_unembedded(uuid, uuid, int) from public, anon, authenticated, service_role;
revoke execute on function ai.store_reembedded(uuid, uuid, jsonb) from public, anon, authenticated, service_role;
revoke execute on function ai.finish_reembedding(uuid, uuid) from public, anon, authenticated, service_role;
revoke execute on function ai.fail_reembedding(uuid, uuid, text, text, text, text, timestamptz) from public, anon, authenticated, service_role;
grant execute on function private.holds_reembedding_lease(uuid, uuid) to service_role;
grant execute on function ai.claim_reembedding(uuid, text, int) to service_role;
grant execute on function ai.read_unembedded(uuid, uuid, int) to service_role;
grant execute on function ai.store_reembedded(uuid, uuid, jsonb) to service_role;
grant execute on function ai.finish_reembedding(uuid, uuid) to service_role;
grant execute on function ai.fail_reembedding(uuid, uuid, text, text, text, text, timestamptz) to service_role;
