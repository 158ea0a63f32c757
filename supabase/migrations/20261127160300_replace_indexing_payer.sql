-- On the budget of whoever wanted it indexed, as enriching is on that of whoever started it.
create or replace function private.add_source_to_knowledge_base(knowledge_base_id uuid, source_id uuid)
returns jsonb
language plpgsql
security definer -- the state of indexing is written through functions only; the wrapper has asked the caller's own policies
set search_path = ''
as $$
declare
  source ai.sources;
  indexed ai.indexed_sources;
begin
  select * into source
  from ai.sources
  where sources.id = add_source_to_knowledge_base.source_id
    and sources.tenant_id = any (array(select private.caller_tenant_ids('member')))
  for share;
  if source.id is null then
    perform private.raise_error(404, 'not_found', 'Knowledge base or source not found.', 'Check both ids.');
  end if;
  if source.extraction_status <> 'extracted' then
    perform private.raise_error(
      400, 'source_not_extracted', format('Source must be extracted first (status: %s)', source.extraction_status),
      'Wait until extraction_status is extracted.'
    );
  end if;
  insert into ai.indexed_sources (tenant_id, knowledge_base_id, source_id)
  values (source.tenant_id, add_source_to_knowledge_base.knowledge_base_id, source.id)
  on conflict on constraint indexed_sources_knowledge_base_id_source_id_key do update
  set
    index_status = 'pending', attempts = 0, error_code = null, reason_code = null, error_message = null, next_retry_at = null,
    lease_token = null, leased_by = null, lease_expires_at = null, requested_by = excluded.requested_by
  returning * into indexed;
  perform private.index_job(indexed.id);
  select * into indexed from ai.indexed_sources where indexed_sources.id = indexed.id;
  return to_jsonb(indexed) - array['lease_token', 'leased_by', 'lease_expires_at', 'requested_by'] || jsonb_build_object('source_name', source.name);
end;
$$;

create or replace function ai.reserve_indexing_tokens(indexed_source_id uuid, lease_token uuid, model text, provider text, prompt_tokens bigint, max_tokens bigint)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  indexed ai.indexed_sources;
  payer uuid;
  budget_ids uuid[];
  granted bigint;
  reservation_id uuid;
begin
  if reserve_indexing_tokens.prompt_tokens is null or reserve_indexing_tokens.prompt_tokens < 0
    or reserve_indexing_tokens.max_tokens is null or reserve_indexing_tokens.max_tokens < 1
  then
    raise exception 'prompt_tokens and max_tokens are required and positive' using errcode = '22023';
  end if;
  -- Shared: the lease cannot change hands before the reservation stands, and several calls may be made at once.
  select * into indexed
  from ai.indexed_sources
  where indexed_sources.id = reserve_indexing_tokens.indexed_source_id and indexed_sources.lease_token = reserve_indexing_tokens.lease_token
  for share;
  if indexed.id is null then
    return null;
  end if;
  select coalesce(memberships.user_id, sources.owner_id) into payer
  from ai.sources
  left join public.memberships on memberships.tenant_id = indexed.tenant_id and memberships.user_id = indexed.requested_by
  where sources.tenant_id = indexed.tenant_id and sources.id = indexed.source_id;
  -- All or nothing: an answer that is cut short fits no form.
  select held.budget_ids, held.max_tokens into budget_ids, granted
  from private.hold_tokens(
    indexed.tenant_id, payer, null, null, reserve_indexing_tokens.prompt_tokens, reserve_indexing_tokens.max_tokens,
    reserve_indexing_tokens.max_tokens
  ) as held;
  insert into private.token_reservations (
    tenant_id, purpose, indexed_source_id, lease_token, user_id, model, provider, prompt_tokens, reserved_tokens, budget_ids
  )
  values (
    indexed.tenant_id, 'indexing', indexed.id, reserve_indexing_tokens.lease_token, payer, reserve_indexing_tokens.model,
    reserve_indexing_tokens.provider, reserve_indexing_tokens.prompt_tokens, reserve_indexing_tokens.prompt_tokens + granted, budget_ids
  )
  returning id into reservation_id;
  return jsonb_build_object('id', reservation_id, 'max_tokens', granted);
end;
$$;

comment on function ai.reserve_indexing_tokens(uuid, uuid, text, text, bigint, bigint) is
  'Ledger: holds tokens back for one call to a model that indexing a source makes, on behalf of whoever had it indexed, or of the source''s owner where that was a backend or somebody who has left: {id, max_tokens}; ended by ai.settle_tokens(). PT402 budget_exceeded when prompt_tokens and max_tokens are not left. Null when the lease is lost.';
