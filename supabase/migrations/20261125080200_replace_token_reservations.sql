-- Holding tokens back is one function now, for runs and for what else asks a model; what was used is of either kind.
create function private.hold_tokens(
  tenant_id uuid,
  user_id uuid,
  agent_id uuid,
  run_id uuid,
  prompt_tokens bigint,
  wanted_tokens bigint,
  least_tokens bigint,
  out budget_ids uuid[],
  out max_tokens bigint
)
language plpgsql
set search_path = ''
as $$
declare
  -- Answers longer than this are asked for only by who says so: what is reserved is missing elsewhere.
  default_max_tokens constant bigint := 4096;
  counter record;
  tightest record;
begin
  budget_ids := '{}';
  perform private.open_budget_counters(hold_tokens.tenant_id, hold_tokens.user_id, hold_tokens.agent_id, hold_tokens.run_id, now());
  for counter in
    select
      budget_counters.budget_id, budgets.scope, budgets.period,
      budgets.max_tokens - budget_counters.used_tokens - budget_counters.reserved_tokens as balance
    from private.budget_counters
    join private.budgets_of(hold_tokens.tenant_id, hold_tokens.user_id, hold_tokens.agent_id, hold_tokens.run_id) as budgets
      on budgets.budget_id = budget_counters.budget_id and budgets.subject_id = budget_counters.subject_id
    where budget_counters.period_start = private.budget_period_start(budgets.period, now())
    order by budget_counters.budget_id, budget_counters.subject_id, budget_counters.period_start
    for update of budget_counters
  loop
    if cardinality(budget_ids) = 0 then
      tightest := counter;
    elsif counter.balance < tightest.balance then
      tightest := counter;
    end if;
    budget_ids := budget_ids || counter.budget_id;
  end loop;

  max_tokens := hold_tokens.wanted_tokens;
  if cardinality(budget_ids) > 0 then
    if tightest.balance < hold_tokens.prompt_tokens + hold_tokens.least_tokens then
      perform private.raise_error(
        402, 'budget_exceeded', format('The token budget of this %s is used up.', tightest.scope),
        'Wait until it renews, or ask an admin of the tenant for a larger one.',
        jsonb_build_object(
          'balance', greatest(tightest.balance, 0), 'estimated_cost', hold_tokens.prompt_tokens + hold_tokens.least_tokens,
          'renews_at', private.budget_renews_at(tightest.period, now()), 'scope', tightest.scope, 'period', tightest.period
        )
      );
    end if;
    max_tokens := least(coalesce(max_tokens, default_max_tokens), tightest.balance - hold_tokens.prompt_tokens);
    update private.budget_counters
    set reserved_tokens = budget_counters.reserved_tokens + hold_tokens.prompt_tokens + hold_tokens.max_tokens
    from private.budgets_of(hold_tokens.tenant_id, hold_tokens.user_id, hold_tokens.agent_id, hold_tokens.run_id) as budgets
    where budget_counters.budget_id = budgets.budget_id and budget_counters.subject_id = budgets.subject_id
      and budget_counters.period_start = private.budget_period_start(budgets.period, now())
      and budget_counters.budget_id = any (budget_ids);
  end if;
end;
$$;

comment on function private.hold_tokens(uuid, uuid, uuid, uuid, bigint, bigint, bigint) is
  'Holds tokens back in the counters of all budgets that apply (user_id null: the backend; agent_id and run_id null: none). max_tokens is what is granted to the answer: what was wanted (4096 without), less if the tightest budget has less left; null where none applies and none was wanted. '
  'PT402 budget_exceeded {balance, estimated_cost, renews_at, scope, period} when prompt_tokens and least_tokens are not left. The caller writes the reservation down.';

revoke execute on function private.hold_tokens(uuid, uuid, uuid, uuid, bigint, bigint, bigint) from public, anon, authenticated, service_role;
grant execute on function private.hold_tokens(uuid, uuid, uuid, uuid, bigint, bigint, bigint) to service_role;

create or replace function ai.reserve_tokens(run_id uuid, lease_token uuid, step int, model text, prompt_tokens bigint, max_tokens bigint default null)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  run ai.agent_runs;
  budget_ids uuid[];
  granted bigint;
  reservation_id uuid;
begin
  if reserve_tokens.prompt_tokens is null or reserve_tokens.prompt_tokens < 0 or reserve_tokens.max_tokens < 1 or reserve_tokens.step is null then
    raise exception 'step and prompt_tokens are required; max_tokens must be positive' using errcode = '22023';
  end if;
  -- Shared: the lease cannot change hands before the reservation stands.
  select * into run
  from ai.agent_runs
  where agent_runs.id = reserve_tokens.run_id and agent_runs.lease_token = reserve_tokens.lease_token
  for share;
  if run.id is null then
    return null;
  end if;

  select held.budget_ids, held.max_tokens into budget_ids, granted
  from private.hold_tokens(run.tenant_id, run.user_id, run.agent_id, run.id, reserve_tokens.prompt_tokens, reserve_tokens.max_tokens, 1) as held;
  insert into private.token_reservations (
    tenant_id, run_id, lease_token, user_id, agent_id, step, model, provider, prompt_tokens, reserved_tokens, budget_ids
  )
  values (
    run.tenant_id, run.id, reserve_tokens.lease_token, run.user_id, run.agent_id, reserve_tokens.step,
    coalesce(reserve_tokens.model, run.model), run.provider, reserve_tokens.prompt_tokens, reserve_tokens.prompt_tokens + coalesce(granted, 0),
    budget_ids
  )
  returning id into reservation_id;
  return jsonb_build_object('id', reservation_id, 'max_tokens', granted);
end;
$$;

create or replace function private.close_reservations(reservation_ids uuid[], usage jsonb)
returns int
language plpgsql
security definer -- whether a person still has an account is in auth.users, which the ledger may not read
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
      case when reservation.enrichment_id is null then 'chat' else 'enrichment' end, reservation.model,
      reservation.provider, case when is_estimate then reservation.prompt_tokens else coalesce((usage ->> 'prompt_tokens')::bigint, 0) end,
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

create or replace function private.tokens_used(tenant_id uuid, scope text, subject_id uuid, since timestamptz)
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
    where entries.tenant_id = tokens_used.tenant_id and entries.created_at >= since and entries.kind <> 'embedding';
  elsif tokens_used.scope = 'user' then
    select sum(entries.total_tokens) into tokens
    from ai.usage_entries as entries
    where entries.user_id = tokens_used.subject_id and entries.tenant_id = tokens_used.tenant_id and entries.created_at >= since and entries.kind <> 'embedding';
  elsif tokens_used.scope = 'agent' then
    select sum(entries.total_tokens) into tokens
    from ai.usage_entries as entries
    where entries.tenant_id = tokens_used.tenant_id and entries.agent_id = tokens_used.subject_id and entries.created_at >= since and entries.kind <> 'embedding';
  else
    select sum(entries.total_tokens) into tokens
    from ai.usage_entries as entries
    where entries.tenant_id = tokens_used.tenant_id and entries.run_id = tokens_used.subject_id and entries.kind <> 'embedding';
  end if;
  return coalesce(tokens, 0);
end;
$$;

comment on function private.tokens_used(uuid, text, uuid, timestamptz) is
  'Tokens of calls to chat models by a tenant, person, agent or run since a moment: what the counter of a new budget begins with. Embeddings are no part of budgets.';
