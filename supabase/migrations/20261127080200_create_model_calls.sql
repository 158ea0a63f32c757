-- Models asked while a source is indexed: on the budget of the source's owner, whose document it is.
create function ai.reserve_indexing_tokens(indexed_source_id uuid, lease_token uuid, model text, provider text, prompt_tokens bigint, max_tokens bigint)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  indexed ai.indexed_sources;
  owner uuid;
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
  select sources.owner_id into owner from ai.sources where sources.tenant_id = indexed.tenant_id and sources.id = indexed.source_id;
  -- All or nothing: an answer that is cut short fits no form.
  select held.budget_ids, held.max_tokens into budget_ids, granted
  from private.hold_tokens(
    indexed.tenant_id, owner, null, null, reserve_indexing_tokens.prompt_tokens, reserve_indexing_tokens.max_tokens,
    reserve_indexing_tokens.max_tokens
  ) as held;
  insert into private.token_reservations (
    tenant_id, purpose, indexed_source_id, lease_token, user_id, model, provider, prompt_tokens, reserved_tokens, budget_ids
  )
  values (
    indexed.tenant_id, 'indexing', indexed.id, reserve_indexing_tokens.lease_token, owner, reserve_indexing_tokens.model,
    reserve_indexing_tokens.provider, reserve_indexing_tokens.prompt_tokens, reserve_indexing_tokens.prompt_tokens + granted, budget_ids
  )
  returning id into reservation_id;
  return jsonb_build_object('id', reservation_id, 'max_tokens', granted);
end;
$$;

comment on function ai.reserve_indexing_tokens(uuid, uuid, text, text, bigint, bigint) is
  'Ledger: holds tokens back for one call to a model that indexing a source makes, on behalf of the source''s owner: {id, max_tokens}; ended by ai.settle_tokens(). PT402 budget_exceeded when prompt_tokens and max_tokens are not left. Null when the lease is lost.';

create function private.release_indexing_reservations()
returns trigger
language plpgsql
security definer -- a person who takes a source out of a knowledge base may read no reservations
set search_path = ''
as $$
begin
  perform private.close_reservations(
    array(
      select token_reservations.id
      from private.token_reservations
      where token_reservations.tenant_id = old.tenant_id and token_reservations.indexed_source_id = old.id
        and (tg_op = 'DELETE' or token_reservations.lease_token = old.lease_token)
    ),
    null
  );
  if tg_op = 'DELETE' then
    return old;
  end if;
  return null;
end;
$$;

comment on function private.release_indexing_reservations() is
  'Trigger: closes the reservations of a worker that has lost its lease on a source, and of a source that is taken out. What was not settled counts with the estimate of its prompt.';

create trigger release_reservations after update of lease_token on ai.indexed_sources for each row
when (old.lease_token is not null and old.lease_token is distinct from new.lease_token)
execute function private.release_indexing_reservations();
create trigger release_reservations_of_deleted before delete on ai.indexed_sources for each row execute function private.release_indexing_reservations();

-- Models asked by a search: on the budget of whoever searches, and of the agent and the run that search for them.
create function private.check_spender(tenant_id uuid, user_id uuid, agent_id uuid, run_id uuid)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  if (check_spender.user_id is not null and not exists (
      select from public.memberships
      where memberships.tenant_id = check_spender.tenant_id and memberships.user_id = check_spender.user_id
    ))
    or (check_spender.agent_id is not null and not exists (
      select from ai.agents where agents.tenant_id = check_spender.tenant_id and agents.id = check_spender.agent_id
    ))
    or (check_spender.run_id is not null and not exists (
      select from ai.agent_runs where agent_runs.tenant_id = check_spender.tenant_id and agent_runs.id = check_spender.run_id
    ))
    or not exists (select from public.tenants where tenants.id = check_spender.tenant_id)
  then
    perform private.raise_error(403, 'forbidden', 'You are not a member of this tenant.', 'Ask an admin of the tenant for an invitation.');
  end if;
end;
$$;

comment on function private.check_spender(uuid, uuid, uuid, uuid) is
  'PT403 unless the person (null: the backend) is a member of the tenant and agent and run, where named, are its own: nobody uses up what others have.';

create function ai.reserve_search_tokens(
  tenant_id uuid,
  user_id uuid,
  agent_id uuid,
  run_id uuid,
  token uuid,
  model text,
  provider text,
  prompt_tokens bigint,
  max_tokens bigint
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  -- Longer than any search waits for a model.
  lifetime constant interval := interval '10 minutes';
  budget_ids uuid[];
  granted bigint;
  reservation_id uuid;
begin
  if reserve_search_tokens.prompt_tokens is null or reserve_search_tokens.prompt_tokens < 0
    or reserve_search_tokens.max_tokens is null or reserve_search_tokens.max_tokens < 1 or reserve_search_tokens.token is null
  then
    raise exception 'token, prompt_tokens and max_tokens are required and positive' using errcode = '22023';
  end if;
  perform private.check_spender(
    reserve_search_tokens.tenant_id, reserve_search_tokens.user_id, reserve_search_tokens.agent_id, reserve_search_tokens.run_id
  );
  select held.budget_ids, held.max_tokens into budget_ids, granted
  from private.hold_tokens(
    reserve_search_tokens.tenant_id, reserve_search_tokens.user_id, reserve_search_tokens.agent_id, reserve_search_tokens.run_id,
    reserve_search_tokens.prompt_tokens, reserve_search_tokens.max_tokens, reserve_search_tokens.max_tokens
  ) as held;
  insert into private.token_reservations (
    tenant_id, purpose, run_id, lease_token, user_id, agent_id, model, provider, prompt_tokens, reserved_tokens, budget_ids, expires_at
  )
  values (
    reserve_search_tokens.tenant_id, 'search', reserve_search_tokens.run_id, reserve_search_tokens.token, reserve_search_tokens.user_id,
    reserve_search_tokens.agent_id, reserve_search_tokens.model, reserve_search_tokens.provider, reserve_search_tokens.prompt_tokens,
    reserve_search_tokens.prompt_tokens + granted, budget_ids, now() + lifetime
  )
  returning id into reservation_id;
  return jsonb_build_object('id', reservation_id, 'max_tokens', granted);
end;
$$;

comment on function ai.reserve_search_tokens(uuid, uuid, uuid, uuid, uuid, text, text, bigint, bigint) is
  'Ledger: holds tokens back for one call to a model that a search makes: {id, max_tokens}; ended by ai.settle_tokens(id, token, usage), else by the sweep ten minutes later. user_id null: the backend; agent_id and run_id: who searches for the person. PT402 budget_exceeded when prompt_tokens and max_tokens are not left; PT403 unless all of them are of the tenant.';

create function ai.close_expired_searches()
returns int
language sql
set search_path = ''
as $$
  select private.close_reservations(
    array(select token_reservations.id from private.token_reservations where token_reservations.expires_at < now() order by token_reservations.id limit 1000),
    null
  );
$$;

comment on function ai.close_expired_searches() is
  'Ledger: counts the calls of searches to models that nobody will settle any more, each with the estimate of its prompt. Returns how many; at most 1000 at a time.';

create function ai.record_usage(
  tenant_id uuid,
  user_id uuid,
  agent_id uuid,
  run_id uuid,
  kind text,
  model text,
  provider text,
  prompt_tokens bigint,
  is_estimate boolean
)
returns void
language plpgsql
set search_path = ''
as $$
begin
  if record_usage.kind is null or record_usage.kind not in ('embedding', 'rerank') or record_usage.prompt_tokens is null or record_usage.prompt_tokens < 0 then
    raise exception 'kind is embedding or rerank, and prompt_tokens is required' using errcode = '22023';
  end if;
  perform private.check_spender(record_usage.tenant_id, record_usage.user_id, record_usage.agent_id, record_usage.run_id);
  insert into ai.usage_entries (tenant_id, run_id, user_id, agent_id, kind, model, provider, prompt_tokens, total_tokens, is_estimate)
  values (
    record_usage.tenant_id, record_usage.run_id, record_usage.user_id, record_usage.agent_id, record_usage.kind, record_usage.model,
    record_usage.provider, record_usage.prompt_tokens, record_usage.prompt_tokens, coalesce(record_usage.is_estimate, true)
  );
end;
$$;

comment on function ai.record_usage(uuid, uuid, uuid, uuid, text, text, text, bigint, boolean) is
  'Ledger: writes down what a search used of models that no budget counts: kind embedding or rerank. user_id null: the backend. PT403 unless person, agent and run are of the tenant.';

revoke execute on function ai.reserve_indexing_tokens(uuid, uuid, text, text, bigint, bigint) from public, anon, authenticated, service_role;
revoke execute on function private.release_indexing_reservations() from public, anon, authenticated, service_role;
revoke execute on function private.check_spender(uuid, uuid, uuid, uuid) from public, anon, authenticated, service_role;
revoke execute on function ai.reserve_search_tokens(uuid, uuid, uuid, uuid, uuid, text, text, bigint, bigint) from public, anon, authenticated, service_role;
revoke execute on function ai.close_expired_searches() from public, anon, authenticated, service_role;
revoke execute on function ai.record_usage(uuid, uuid, uuid, uuid, text, text, text, bigint, boolean) from public, anon, authenticated, service_role;
grant execute on function ai.reserve_indexing_tokens(uuid, uuid, text, text, bigint, bigint) to service_role;
grant execute on function private.check_spender(uuid, uuid, uuid, uuid) to service_role;
grant execute on function ai.reserve_search_tokens(uuid, uuid, uuid, uuid, uuid, text, text, bigint, bigint) to service_role;
grant execute on function ai.close_expired_searches() to service_role;
grant execute on function ai.record_usage(uuid, uuid, uuid, uuid, text, text, text, bigint, boolean) to service_role;
