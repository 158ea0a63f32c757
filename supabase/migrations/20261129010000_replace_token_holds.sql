-- Holding tokens back can be refused without undoing what else the transaction has written: a run keeps its results and then ends.
create function private.try_hold_tokens(
  tenant_id uuid,
  user_id uuid,
  agent_id uuid,
  run_id uuid,
  prompt_tokens bigint,
  wanted_tokens bigint,
  least_tokens bigint,
  out budget_ids uuid[],
  out max_tokens bigint,
  out refusal jsonb
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
  perform private.open_budget_counters(try_hold_tokens.tenant_id, try_hold_tokens.user_id, try_hold_tokens.agent_id, try_hold_tokens.run_id, now());
  for counter in
    select
      budget_counters.budget_id, budgets.scope, budgets.period,
      budgets.max_tokens - budget_counters.used_tokens - budget_counters.reserved_tokens as balance
    from private.budget_counters
    join private.budgets_of(try_hold_tokens.tenant_id, try_hold_tokens.user_id, try_hold_tokens.agent_id, try_hold_tokens.run_id) as budgets
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

  max_tokens := try_hold_tokens.wanted_tokens;
  if cardinality(budget_ids) = 0 then
    return;
  end if;
  if tightest.balance < try_hold_tokens.prompt_tokens + try_hold_tokens.least_tokens then
    budget_ids := '{}';
    max_tokens := null;
    refusal := jsonb_build_object(
      'message', format('The token budget of this %s is used up.', tightest.scope),
      'hint', 'Wait until it renews, or ask an admin of the tenant for a larger one.',
      'details', jsonb_build_object(
        'balance', greatest(tightest.balance, 0), 'estimated_cost', try_hold_tokens.prompt_tokens + try_hold_tokens.least_tokens,
        'renews_at', private.budget_renews_at(tightest.period, now()), 'scope', tightest.scope, 'period', tightest.period
      )
    );
    return;
  end if;
  max_tokens := least(coalesce(max_tokens, default_max_tokens), tightest.balance - try_hold_tokens.prompt_tokens);
  update private.budget_counters
  set reserved_tokens = budget_counters.reserved_tokens + try_hold_tokens.prompt_tokens + try_hold_tokens.max_tokens
  from private.budgets_of(try_hold_tokens.tenant_id, try_hold_tokens.user_id, try_hold_tokens.agent_id, try_hold_tokens.run_id) as budgets
  where budget_counters.budget_id = budgets.budget_id and budget_counters.subject_id = budgets.subject_id
    and budget_counters.period_start = private.budget_period_start(budgets.period, now())
    and budget_counters.budget_id = any (budget_ids);
end;
$$;

comment on function private.try_hold_tokens(uuid, uuid, uuid, uuid, bigint, bigint, bigint) is
  'Holds tokens back in the counters of all budgets that apply (user_id null: the backend; agent_id and run_id null: none). max_tokens is what is granted to the answer: what was wanted (4096 without), less if the tightest budget has less left; null where none applies and none was wanted. '
  'refusal {message, hint, details: {balance, estimated_cost, renews_at, scope, period}} when prompt_tokens and least_tokens are not left: then nothing is held. The caller writes the reservation down.';

create or replace function private.hold_tokens(
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
  refusal jsonb;
begin
  select held.budget_ids, held.max_tokens, held.refusal into budget_ids, max_tokens, refusal
  from private.try_hold_tokens(
    hold_tokens.tenant_id, hold_tokens.user_id, hold_tokens.agent_id, hold_tokens.run_id, hold_tokens.prompt_tokens, hold_tokens.wanted_tokens,
    hold_tokens.least_tokens
  ) as held;
  if refusal is not null then
    perform private.raise_error(402, 'budget_exceeded', refusal ->> 'message', refusal ->> 'hint', refusal -> 'details');
  end if;
end;
$$;

comment on function private.hold_tokens(uuid, uuid, uuid, uuid, bigint, bigint, bigint) is
  'Holds tokens back as private.try_hold_tokens() does, or raises its refusal: PT402 budget_exceeded {balance, estimated_cost, renews_at, scope, period}. The caller writes the reservation down.';

create function private.reserve_run_tokens(run ai.agent_runs, reservation jsonb, may_hold boolean)
returns jsonb
language plpgsql
set search_path = ''
set enable_seqscan = off
as $$
declare
  new_id constant uuid := (reservation ->> 'id')::uuid;
  step constant int := (reservation ->> 'step')::int;
  prompt_tokens constant bigint := (reservation ->> 'prompt_tokens')::bigint;
  wanted_tokens constant bigint := (reservation ->> 'max_tokens')::bigint;
  held private.token_reservations;
  budget_ids uuid[];
  granted bigint;
  refusal jsonb;
begin
  if new_id is null or step is null or prompt_tokens is null or prompt_tokens < 0 or wanted_tokens < 1 then
    raise exception 'id, step and prompt_tokens are required; max_tokens must be positive' using errcode = '22023';
  end if;
  select * into held
  from private.token_reservations
  where token_reservations.id = new_id and token_reservations.tenant_id = run.tenant_id and token_reservations.run_id = run.id
    and token_reservations.lease_token = run.lease_token;
  if held.id is not null then
    return jsonb_build_object('grant', jsonb_build_object('id', held.id, 'max_tokens', nullif(held.reserved_tokens - held.prompt_tokens, 0)));
  end if;
  if not may_hold then
    return '{}';
  end if;
  select holding.budget_ids, holding.max_tokens, holding.refusal into budget_ids, granted, refusal
  from private.try_hold_tokens(run.tenant_id, run.user_id, run.agent_id, run.id, prompt_tokens, wanted_tokens, 1) as holding;
  if refusal is not null then
    return jsonb_build_object('refusal', jsonb_build_object(
      'code', 'PT402', 'message', refusal ->> 'message', 'hint', refusal ->> 'hint',
      'details', ('{"code": "budget_exceeded"}'::jsonb || (refusal -> 'details'))::text
    ));
  end if;
  insert into private.token_reservations (
    id, tenant_id, run_id, lease_token, user_id, agent_id, step, model, provider, prompt_tokens, reserved_tokens, budget_ids
  )
  values (
    new_id, run.tenant_id, run.id, run.lease_token, run.user_id, run.agent_id, step, coalesce(reservation ->> 'model', run.model), run.provider,
    prompt_tokens, prompt_tokens + coalesce(granted, 0), budget_ids
  );
  return jsonb_build_object('grant', jsonb_build_object('id', new_id, 'max_tokens', granted));
end;
$$;

comment on function private.reserve_run_tokens(ai.agent_runs, jsonb, boolean) is
  'Holds tokens back for a call {id, step, model, prompt_tokens, max_tokens} of a run that the caller has locked under its lease: {grant: {id, max_tokens}}, also when they are held already under this id; '
  '{refusal: {code, message, hint, details}}, as an error of the Data API, when a budget has too little left; {} when there is neither and may_hold is false. 22023 for a call without id, step or prompt_tokens.';

-- What is settled and what is held next may count in different periods: between two sets of locks, each in order, others could stand.
create function private.lock_budget_counters(run ai.agent_runs, journal jsonb)
returns void
language plpgsql
set search_path = ''
set enable_seqscan = off
as $$
declare
  settled private.token_reservations[];
  reservation private.token_reservations;
begin
  settled := array(
    select token_reservations
    from private.token_reservations
    where token_reservations.tenant_id = run.tenant_id and token_reservations.run_id = run.id
      and token_reservations.id in (
        select (entry.value ->> 'reservation_id')::uuid
        from jsonb_array_elements(lock_budget_counters.journal) as entry (value)
        where entry.value ->> 'op' = 'tokens_used'
      )
    order by token_reservations.id
    for update
  );
  if cardinality(settled) = 0 then
    return;
  end if;
  foreach reservation in array settled loop
    perform private.open_budget_counters(
      reservation.tenant_id, reservation.user_id, reservation.agent_id, reservation.run_id, reservation.created_at
    );
  end loop;
  perform private.open_budget_counters(run.tenant_id, run.user_id, run.agent_id, run.id, now());
  perform
  from private.budget_counters
  where (budget_counters.budget_id, budget_counters.subject_id, budget_counters.period_start) in (
    select budgets.budget_id, budgets.subject_id, private.budget_period_start(budgets.period, held.created_at)
    from unnest(settled) as held
    cross join lateral private.budgets_of(held.tenant_id, held.user_id, held.agent_id, held.run_id, held.budget_ids) as budgets
    union all
    select budgets.budget_id, budgets.subject_id, private.budget_period_start(budgets.period, now())
    from private.budgets_of(run.tenant_id, run.user_id, run.agent_id, run.id) as budgets
  )
  order by budget_counters.budget_id, budget_counters.subject_id, budget_counters.period_start
  for update;
end;
$$;

comment on function private.lock_budget_counters(ai.agent_runs, jsonb) is
  'Locks the counters that the settlements in the journal of a run, and then a reservation for it, change, all of them in the order of their keys. Nothing where the journal settles nothing: a reservation alone locks in order.';

revoke execute on function private.try_hold_tokens(uuid, uuid, uuid, uuid, bigint, bigint, bigint) from public, anon, authenticated, service_role;
revoke execute on function private.reserve_run_tokens(ai.agent_runs, jsonb, boolean) from public, anon, authenticated, service_role;
revoke execute on function private.lock_budget_counters(ai.agent_runs, jsonb) from public, anon, authenticated, service_role;
grant execute on function private.try_hold_tokens(uuid, uuid, uuid, uuid, bigint, bigint, bigint) to service_role;
grant execute on function private.reserve_run_tokens(ai.agent_runs, jsonb, boolean) to service_role;
grant execute on function private.lock_budget_counters(ai.agent_runs, jsonb) to service_role;
