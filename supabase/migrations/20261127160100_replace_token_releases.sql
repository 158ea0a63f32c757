-- Locks are taken in one order: what calls are made for (runs, sources that are indexed), then reservations, then counters.
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
  -- Usage names the run: who removes that waits for it before anything of the run's is locked, and has closed all if it was first.
  perform
  from ai.agent_runs
  where agent_runs.id in (
    select token_reservations.run_id from private.token_reservations where token_reservations.id = any (reservation_ids)
  )
  order by agent_runs.id
  for key share;
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
      -- Never below nothing: a counter that was opened anew since holds none of it, and one that failed here would fail for ever,
      -- with all that are closed beside it.
      reserved_tokens = greatest(
        budget_counters.reserved_tokens
          - case when budget_counters.budget_id = any (reservation.budget_ids) then reservation.reserved_tokens else 0 end,
        0
      )
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

create or replace function private.release_run_reservations()
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
        -- A search of the run has a token of its own; it ends with the run, whose counter goes below.
        and (tg_op = 'DELETE' or token_reservations.lease_token = old.lease_token or new.completed_at is not null)
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

create or replace function private.release_indexing_reservations()
returns trigger
language plpgsql
security definer -- a person who takes a source out of a knowledge base may read no reservations
set search_path = ''
as $$
begin
  if tg_op = 'DELETE' then
    -- Left to whoever made the call, or to the sweep. Many sources may go at once: counters that were locked with the first
    -- would be held while the next is waited for, by whom a worker waits that has that source and asks for the counters.
    update private.token_reservations
    set indexed_source_id = null, expires_at = now()
    where token_reservations.tenant_id = old.tenant_id and token_reservations.indexed_source_id = old.id;
    return old;
  end if;
  perform private.close_reservations(
    array(
      select token_reservations.id
      from private.token_reservations
      where token_reservations.tenant_id = old.tenant_id and token_reservations.indexed_source_id = old.id
        and token_reservations.lease_token = old.lease_token
    ),
    null
  );
  return null;
end;
$$;

comment on function private.release_indexing_reservations() is
  'Trigger: closes the reservations of a worker that has lost its lease on a source, and leaves those of a source that is taken out to their maker or the next sweep. What was not settled counts with the estimate of its prompt.';

create or replace function ai.close_expired_searches()
returns integer
language sql
set search_path = ''
as $$
  with expired as materialized (
    select token_reservations.id, token_reservations.run_id
    from private.token_reservations
    where token_reservations.expires_at < now()
    order by token_reservations.id
    limit 1000
  ),
  -- Those of a run that somebody is removing are closed there.
  runs as materialized (
    select agent_runs.id
    from ai.agent_runs
    where agent_runs.id in (select expired.run_id from expired)
    for key share skip locked
  )
  select private.close_reservations(
    array(
      select expired.id
      from expired
      where expired.run_id is null or expired.run_id in (select runs.id from runs)
      order by expired.id
    ),
    null
  );
$$;

comment on function ai.close_expired_searches() is
  'Ledger: counts the calls to models that nobody will settle any more, of searches and about sources taken out, each with the estimate of its prompt. Returns how many; at most 1000 at a time.';

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
  if reserve_search_tokens.run_id is not null then
    -- Shared: the run neither ends nor goes before the reservation stands, which ends with it.
    perform
    from ai.agent_runs
    where agent_runs.id = reserve_search_tokens.run_id and agent_runs.tenant_id = reserve_search_tokens.tenant_id
      and agent_runs.completed_at is null
    for share;
    if not found then
      perform private.raise_error(403, 'forbidden', 'This run is over.', 'Start another run.');
    end if;
  end if;
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
