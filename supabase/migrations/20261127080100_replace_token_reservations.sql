-- A reservation says itself what it is for.
create or replace function private.close_reservations(reservation_ids uuid[], usage jsonb)
returns integer
language plpgsql
security definer -- counters and usage are nobody's to write; who deletes a run or an enrichment may not even read them
set search_path = ''
as $$
declare
  reservations private.token_reservations[];
  reservation private.token_reservations;
  tokens bigint;
  is_estimate boolean;
begin
  -- All rows before any counter, in a fixed order: who settles and who releases cannot wait for each other in a circle.
  reservations := array(
    select token_reservations
    from private.token_reservations
    where token_reservations.id = any (reservation_ids)
    order by token_reservations.id
    for update
  );
  if cardinality(reservations) = 0 then
    return 0;
  end if;
  foreach reservation in array reservations loop
    perform private.open_budget_counters(
      reservation.tenant_id, reservation.user_id, reservation.agent_id, reservation.run_id, reservation.created_at
    );
  end loop;
  perform
  from private.budget_counters
  where (budget_counters.budget_id, budget_counters.subject_id, budget_counters.period_start) in (
    select budgets.budget_id, budgets.subject_id, private.budget_period_start(budgets.period, held.created_at)
    from unnest(reservations) as held
    cross join lateral private.budgets_of(held.tenant_id, held.user_id, held.agent_id, held.run_id, held.budget_ids) as budgets
  )
  order by budget_counters.budget_id, budget_counters.subject_id, budget_counters.period_start
  for update;

  foreach reservation in array reservations loop
    tokens := greatest(
      coalesce((usage ->> 'total_tokens')::bigint, 0),
      coalesce((usage ->> 'prompt_tokens')::bigint, 0) + coalesce((usage ->> 'completion_tokens')::bigint, 0)
    );
    -- A provider that counts nothing is not one that works for nothing.
    is_estimate := tokens = 0;
    if is_estimate then
      tokens := reservation.prompt_tokens;
    end if;
    update private.budget_counters
    set
      used_tokens = budget_counters.used_tokens + tokens,
      reserved_tokens = budget_counters.reserved_tokens
        - case when budget_counters.budget_id = any (reservation.budget_ids) then reservation.reserved_tokens else 0 end
    from private.budgets_of(
      reservation.tenant_id, reservation.user_id, reservation.agent_id, reservation.run_id, reservation.budget_ids
    ) as budgets
    where budget_counters.budget_id = budgets.budget_id and budget_counters.subject_id = budgets.subject_id
      and budget_counters.period_start = private.budget_period_start(budgets.period, reservation.created_at);
    insert into ai.usage_entries (
      tenant_id, run_id, user_id, agent_id, step, kind, model, provider, prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens,
      total_tokens, is_estimate, created_at
    )
    select
      reservation.tenant_id, reservation.run_id, users.id, agents.id, reservation.step,
      reservation.purpose, reservation.model, reservation.provider,
      case when is_estimate then reservation.prompt_tokens else coalesce((usage ->> 'prompt_tokens')::bigint, 0) end,
      coalesce((usage ->> 'completion_tokens')::bigint, 0), coalesce((usage ->> 'reasoning_tokens')::bigint, 0),
      coalesce((usage ->> 'cached_tokens')::bigint, 0), tokens, is_estimate, reservation.created_at
    -- Nothing is kept of a tenant that is being deleted, and nothing refers to people and agents that are gone.
    from public.tenants
    left join auth.users on users.id = reservation.user_id
    left join ai.agents on agents.tenant_id = reservation.tenant_id and agents.id = reservation.agent_id
    where tenants.id = reservation.tenant_id;
  end loop;
  delete from private.token_reservations where token_reservations.id = any (reservation_ids);
  return cardinality(reservations);
end;
$$;

create or replace function ai.reserve_enrichment_tokens(enrichment_id uuid, lease_token uuid, model text, provider text, prompt_tokens bigint, max_tokens bigint)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  run ai.enrichments;
  budget_ids uuid[];
  granted bigint;
  reservation_id uuid;
begin
  if reserve_enrichment_tokens.prompt_tokens is null or reserve_enrichment_tokens.prompt_tokens < 0
    or reserve_enrichment_tokens.max_tokens is null or reserve_enrichment_tokens.max_tokens < 1
  then
    raise exception 'prompt_tokens and max_tokens are required and positive' using errcode = '22023';
  end if;
  -- Shared: the lease cannot change hands before the reservation stands, and several calls may be made at once.
  select * into run
  from ai.enrichments
  where enrichments.id = reserve_enrichment_tokens.enrichment_id and enrichments.lease_token = reserve_enrichment_tokens.lease_token
  for share;
  if run.id is null then
    return null;
  end if;
  -- All or nothing: an answer that is cut short fits no form.
  select held.budget_ids, held.max_tokens into budget_ids, granted
  from private.hold_tokens(
    run.tenant_id, run.started_by, null, null, reserve_enrichment_tokens.prompt_tokens, reserve_enrichment_tokens.max_tokens,
    reserve_enrichment_tokens.max_tokens
  ) as held;
  insert into private.token_reservations (
    tenant_id, purpose, enrichment_id, lease_token, user_id, model, provider, prompt_tokens, reserved_tokens, budget_ids
  )
  values (
    run.tenant_id, 'enrichment', run.id, reserve_enrichment_tokens.lease_token, run.started_by, reserve_enrichment_tokens.model,
    reserve_enrichment_tokens.provider, reserve_enrichment_tokens.prompt_tokens, reserve_enrichment_tokens.prompt_tokens + granted, budget_ids
  )
  returning id into reservation_id;
  return jsonb_build_object('id', reservation_id, 'max_tokens', granted);
end;
$$;

-- Rescoring counts no tokens of a chat model, as vectors do.
create or replace function private.tokens_used(tenant_id uuid, scope text, subject_id uuid, since timestamp with time zone)
returns bigint
language plpgsql
stable
set search_path = ''
as $$
declare
  tokens bigint;
begin
  if tokens_used.scope = 'tenant' then
    select sum(entries.total_tokens) into tokens
    from ai.usage_entries as entries
    where entries.tenant_id = tokens_used.tenant_id and entries.created_at >= since and entries.kind not in ('embedding', 'rerank');
  elsif tokens_used.scope = 'user' then
    select sum(entries.total_tokens) into tokens
    from ai.usage_entries as entries
    where entries.user_id = tokens_used.subject_id and entries.tenant_id = tokens_used.tenant_id and entries.created_at >= since and entries.kind not in ('embedding', 'rerank');
  elsif tokens_used.scope = 'agent' then
    select sum(entries.total_tokens) into tokens
    from ai.usage_entries as entries
    where entries.tenant_id = tokens_used.tenant_id and entries.agent_id = tokens_used.subject_id and entries.created_at >= since and entries.kind not in ('embedding', 'rerank');
  else
    select sum(entries.total_tokens) into tokens
    from ai.usage_entries as entries
    where entries.tenant_id = tokens_used.tenant_id and entries.run_id = tokens_used.subject_id and entries.kind not in ('embedding', 'rerank');
  end if;
  return coalesce(tokens, 0);
end;
$$;

comment on function private.tokens_used(uuid, text, uuid, timestamptz) is
  'Tokens of calls to chat models by a tenant, person, agent or run since a moment: what the counter of a new budget begins with. Vectors and rerankers are no part of budgets.';
