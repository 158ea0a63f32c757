-- Tokens are held back before a call to a model and settled after it. Whoever holds the counters of all budgets that apply
-- decides, one after the other: runs that start together cannot all be told that the last tokens are theirs.
create table private.token_reservations (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null references public.tenants (id) on delete cascade,
  run_id uuid not null,
  lease_token uuid not null,
  user_id uuid,
  agent_id uuid,
  step int not null,
  model text,
  provider text,
  prompt_tokens bigint not null,
  reserved_tokens bigint not null,
  budget_ids uuid[] not null,
  created_at timestamptz not null default now(),
  constraint token_reservations_run_fkey foreign key (tenant_id, run_id) references ai.agent_runs (tenant_id, id) on delete cascade,
  constraint token_reservations_are_not_negative check (prompt_tokens >= 0 and reserved_tokens >= 0)
);

comment on table private.token_reservations is 'Calls to models under way: what each may use at most. A row is deleted when the call is settled.';
comment on column private.token_reservations.budget_ids is 'The budgets in whose counters the tokens are reserved.';
comment on column private.token_reservations.prompt_tokens is 'Estimate of the prompt: what is counted as used if nothing is heard of the call again.';

create index token_reservations_tenant_id_run_id_idx on private.token_reservations (tenant_id, run_id);

alter table private.token_reservations enable row level security;
alter table private.token_reservations force row level security;
revoke all on table private.token_reservations from anon, authenticated, service_role;
grant select, insert, update, delete on table private.token_reservations to service_role;

create function private.open_budget_counters(tenant_id uuid, user_id uuid, agent_id uuid, run_id uuid, at timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- In the order of the key, as they are locked in: two that open the same counters wait for each other, never in a circle.
  insert into private.budget_counters (tenant_id, budget_id, subject_id, period_start, used_tokens)
  select
    open_budget_counters.tenant_id, budgets.budget_id, budgets.subject_id, periods.start,
    private.tokens_used(open_budget_counters.tenant_id, budgets.scope, budgets.subject_id, periods.start)
  from private.budgets_of(
    open_budget_counters.tenant_id, open_budget_counters.user_id, open_budget_counters.agent_id, open_budget_counters.run_id
  ) as budgets
  cross join lateral private.budget_period_start(budgets.period, at) as periods (start)
  where not exists (
    select from private.budget_counters
    where budget_counters.budget_id = budgets.budget_id and budget_counters.subject_id = budgets.subject_id
      and budget_counters.period_start = periods.start
  )
  order by budgets.budget_id, budgets.subject_id, periods.start
  on conflict on constraint budget_counters_pkey do nothing;
end;
$$;

comment on function private.open_budget_counters(uuid, uuid, uuid, uuid, timestamptz) is
  'Makes the counters that are missing for a run at a moment. A counter begins with what the usage entries of its period say, so a budget set at noon knows of the morning.';

create function private.close_reservations(reservation_ids uuid[], usage jsonb)
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
      reservation.tenant_id, reservation.run_id, users.id, agents.id, reservation.step, 'chat', reservation.model,
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

comment on function private.close_reservations(uuid[], jsonb) is
  'Gives back what was reserved and counts what was used: usage {prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens, total_tokens}, or null or empty: the estimates of the prompts. Returns how many were open.';

create function ai.reserve_tokens(run_id uuid, lease_token uuid, step int, model text, prompt_tokens bigint, max_tokens bigint default null)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  -- Answers longer than this are asked for only by who says so: what is reserved is missing elsewhere.
  default_max_tokens constant bigint := 4096;
  run ai.agent_runs;
  counter record;
  tightest record;
  budget_ids uuid[] := '{}';
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

  perform private.open_budget_counters(run.tenant_id, run.user_id, run.agent_id, run.id, now());
  for counter in
    select
      budget_counters.budget_id, budgets.scope, budgets.period,
      budgets.max_tokens - budget_counters.used_tokens - budget_counters.reserved_tokens as balance
    from private.budget_counters
    join private.budgets_of(run.tenant_id, run.user_id, run.agent_id, run.id) as budgets
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

  granted := reserve_tokens.max_tokens;
  if cardinality(budget_ids) > 0 then
    if tightest.balance < reserve_tokens.prompt_tokens + 1 then
      perform private.raise_error(
        402, 'budget_exceeded', format('The token budget of this %s is used up.', tightest.scope),
        'Wait until it renews, or ask an admin of the tenant for a larger one.',
        jsonb_build_object(
          'balance', greatest(tightest.balance, 0), 'estimated_cost', reserve_tokens.prompt_tokens + 1,
          'renews_at', private.budget_renews_at(tightest.period, now()), 'scope', tightest.scope, 'period', tightest.period
        )
      );
    end if;
    granted := least(coalesce(granted, default_max_tokens), tightest.balance - reserve_tokens.prompt_tokens);
    update private.budget_counters
    set reserved_tokens = budget_counters.reserved_tokens + reserve_tokens.prompt_tokens + granted
    from private.budgets_of(run.tenant_id, run.user_id, run.agent_id, run.id) as budgets
    where budget_counters.budget_id = budgets.budget_id and budget_counters.subject_id = budgets.subject_id
      and budget_counters.period_start = private.budget_period_start(budgets.period, now())
      and budget_counters.budget_id = any (budget_ids);
  end if;

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

comment on function ai.reserve_tokens(uuid, uuid, int, text, bigint, bigint) is
  'Ledger: holds tokens back for one call to a model: {id, max_tokens}. max_tokens is what was asked for (4096 without), less if the tightest budget has less left; unbounded stays null where no budget applies. '
  'PT402 budget_exceeded {balance, estimated_cost, renews_at, scope, period} when prompt_tokens and one more are not left. Null when the lease is lost.';

create function ai.settle_tokens(id uuid, lease_token uuid, usage jsonb default null)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  reservation_ids constant uuid[] := array(
    select token_reservations.id
    from private.token_reservations
    where token_reservations.id = settle_tokens.id and token_reservations.lease_token = settle_tokens.lease_token
  );
begin
  return private.close_reservations(reservation_ids, nullif(settle_tokens.usage, 'null')) > 0;
end;
$$;

comment on function ai.settle_tokens(uuid, uuid, jsonb) is
  'Ledger: ends a reservation with the tokens that were used, and writes the usage entry; usage null: nothing was heard, and the estimate of the prompt is counted. False when it is settled already, also because the lease was lost.';

create function private.release_run_reservations()
returns trigger
language plpgsql
security definer -- a person who deletes a conversation may read neither budgets nor reservations
set search_path = ''
as $$
begin
  perform private.close_reservations(
    array(
      select token_reservations.id
      from private.token_reservations
      where token_reservations.tenant_id = old.tenant_id and token_reservations.run_id = old.id
        and (tg_op = 'DELETE' or token_reservations.lease_token = old.lease_token)
    ),
    null
  );
  if tg_op = 'DELETE' or new.completed_at is not null then
    -- The counter of a run is of no use after it.
    delete from private.budget_counters
    using ai.budgets
    where budgets.tenant_id = old.tenant_id and budgets.scope = 'run'
      and budget_counters.budget_id = budgets.id and budget_counters.subject_id = old.id;
  end if;
  if tg_op = 'DELETE' then
    return old;
  end if;
  return null;
end;
$$;

comment on function private.release_run_reservations() is
  'Trigger: closes the reservations of an executor that has lost its lease, of a run that has ended, and of one that is deleted. What was not settled counts with the estimate of its prompt: the provider may have charged for it.';

create trigger release_reservations after update of lease_token on ai.agent_runs for each row
when (old.lease_token is not null and old.lease_token is distinct from new.lease_token)
execute function private.release_run_reservations();
-- Before the run goes, because its reservations go with it.
create trigger release_reservations_of_deleted before delete on ai.agent_runs for each row execute function private.release_run_reservations();

revoke execute on function private.open_budget_counters(uuid, uuid, uuid, uuid, timestamptz) from public, anon, authenticated, service_role;
revoke execute on function private.close_reservations(uuid[], jsonb) from public, anon, authenticated, service_role;
revoke execute on function private.release_run_reservations() from public, anon, authenticated, service_role;
revoke execute on function ai.reserve_tokens(uuid, uuid, int, text, bigint, bigint) from public, anon, authenticated, service_role;
revoke execute on function ai.settle_tokens(uuid, uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function private.open_budget_counters(uuid, uuid, uuid, uuid, timestamptz) to service_role;
grant execute on function private.close_reservations(uuid[], jsonb) to service_role;
grant execute on function ai.reserve_tokens(uuid, uuid, int, text, bigint, bigint) to service_role;
grant execute on function ai.settle_tokens(uuid, uuid, jsonb) to service_role;
