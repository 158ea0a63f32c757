-- Whoever searches is known by the subject of their token. That of a tenant's backend is no person.
create function private.person_of(subject uuid)
returns uuid
language sql
stable
set search_path = ''
as $$
  select person_of.subject
  where not exists (select from private.tenant_principals where tenant_principals.id = person_of.subject);
$$;

comment on function private.person_of(uuid) is 'The person whose token has this subject; null when it is a tenant''s backend principal.';

create or replace function ai.reserve_search_tokens(
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
  -- A token may be the backend's own.
  person constant uuid := private.person_of(reserve_search_tokens.user_id);
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
    reserve_search_tokens.tenant_id, person, reserve_search_tokens.agent_id, reserve_search_tokens.run_id
  );
  select held.budget_ids, held.max_tokens into budget_ids, granted
  from private.hold_tokens(
    reserve_search_tokens.tenant_id, person, reserve_search_tokens.agent_id, reserve_search_tokens.run_id,
    reserve_search_tokens.prompt_tokens, reserve_search_tokens.max_tokens, reserve_search_tokens.max_tokens
  ) as held;
  insert into private.token_reservations (
    tenant_id, purpose, run_id, lease_token, user_id, agent_id, model, provider, prompt_tokens, reserved_tokens, budget_ids, expires_at
  )
  values (
    reserve_search_tokens.tenant_id, 'search', reserve_search_tokens.run_id, reserve_search_tokens.token, person,
    reserve_search_tokens.agent_id, reserve_search_tokens.model, reserve_search_tokens.provider, reserve_search_tokens.prompt_tokens,
    reserve_search_tokens.prompt_tokens + granted, budget_ids, now() + lifetime
  )
  returning id into reservation_id;
  return jsonb_build_object('id', reservation_id, 'max_tokens', granted);
end;
$$;

create or replace function ai.record_usage(
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
declare
  person constant uuid := private.person_of(record_usage.user_id);
begin
  if record_usage.kind is null or record_usage.kind not in ('embedding', 'rerank') or record_usage.prompt_tokens is null or record_usage.prompt_tokens < 0 then
    raise exception 'kind is embedding or rerank, and prompt_tokens is required' using errcode = '22023';
  end if;
  perform private.check_spender(record_usage.tenant_id, person, record_usage.agent_id, record_usage.run_id);
  insert into ai.usage_entries (tenant_id, run_id, user_id, agent_id, kind, model, provider, prompt_tokens, total_tokens, is_estimate)
  values (
    record_usage.tenant_id, record_usage.run_id, person, record_usage.agent_id, record_usage.kind, record_usage.model,
    record_usage.provider, record_usage.prompt_tokens, record_usage.prompt_tokens, coalesce(record_usage.is_estimate, true)
  );
end;
$$;

revoke execute on function private.person_of(uuid) from public, anon, authenticated, service_role;
grant execute on function private.person_of(uuid) to service_role;
