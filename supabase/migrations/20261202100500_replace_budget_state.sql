-- What enriching, indexing and searching use counts in budgets, so whoever has used tokens for these alone is listed, too, also before
-- a counter of theirs is begun.
create or replace function private.budget_state()
returns table (
  budget_id uuid, tenant_id uuid, scope text, period text, user_id uuid, agent_id uuid, max_tokens bigint, used_tokens bigint,
  reserved_tokens bigint, remaining_tokens bigint, period_start timestamptz, renews_at timestamptz
)
language sql
stable
security definer -- budget_counters is readable by nobody, ai.budgets by admins only
set search_path = ''
as $$
  with caller as (
    select
      private.caller_user_id() as id, private.caller_tenants() as tenant_ids, private.caller_tenants('admin') as admin_of
  ),
  limits as (
    select
      budgets.*, private.budget_period_start(budgets.period, now()) as begun, budgets.tenant_id = any (caller.admin_of) as is_admin,
      caller.id as caller_id
    from ai.budgets
    cross join caller
    where budgets.tenant_id = any (caller.tenant_ids)
      and (
        budgets.tenant_id = any (caller.admin_of)
        or (budgets.scope = 'user' and caller.id is not null and (budgets.user_id is null or budgets.user_id = caller.id))
      )
  ),
  subjects as (
    select limits.id, limits.tenant_id as subject_id
    from limits
    where limits.scope = 'tenant'
    union all
    select limits.id, coalesce(limits.user_id, limits.agent_id)
    from limits
    where limits.user_id is not null or limits.agent_id is not null
    union all
    -- A limit for each person or agent: the limit itself, for admins, ...
    select limits.id, null
    from limits
    where limits.is_admin and (limits.scope = 'run' or (limits.scope in ('user', 'agent') and limits.user_id is null and limits.agent_id is null))
    union all
    -- ... and each that has used something of it, unless it has a limit of its own.
    select limits.id, spenders.id
    from limits
    cross join lateral (
      select case limits.scope when 'user' then entries.user_id else entries.agent_id end as id
      from ai.usage_entries as entries
      where limits.is_admin and entries.tenant_id = limits.tenant_id and entries.created_at >= limits.begun and entries.kind not in ('embedding', 'rerank')
      union
      select counters.subject_id
      from private.budget_counters as counters
      where limits.is_admin and counters.budget_id = limits.id and counters.period_start = limits.begun
      union
      select limits.caller_id
      where limits.scope = 'user' and not limits.is_admin
    ) as spenders
    where limits.scope in ('user', 'agent') and limits.user_id is null and limits.agent_id is null and spenders.id is not null
      and not exists (
        select from ai.budgets as own
        where own.tenant_id = limits.tenant_id and own.scope = limits.scope and own.period = limits.period
          and coalesce(own.user_id, own.agent_id) = spenders.id
      )
  )
  select
    limits.id, limits.tenant_id, limits.scope, limits.period,
    case when limits.scope = 'user' then subjects.subject_id end, case when limits.scope = 'agent' then subjects.subject_id end, limits.max_tokens,
    spent.used_tokens, spent.reserved_tokens,
    -- greatest() passes over null: where nothing is counted nothing remains either.
    case when spent.used_tokens is not null then greatest(limits.max_tokens - spent.used_tokens - spent.reserved_tokens, 0) end, limits.begun,
    private.budget_renews_at(limits.period, now())
  from limits
  join subjects on subjects.id = limits.id
  left join private.budget_counters as counters
    on counters.budget_id = limits.id and counters.subject_id = subjects.subject_id and counters.period_start = limits.begun
  cross join lateral (
    select
      case
        when subjects.subject_id is not null
          then coalesce(counters.used_tokens, private.tokens_used(limits.tenant_id, limits.scope, subjects.subject_id, limits.begun))
      end as used_tokens,
      case when subjects.subject_id is not null then coalesce(counters.reserved_tokens, 0) end as reserved_tokens
  ) as spent
  order by limits.tenant_id, limits.scope, limits.period, subjects.subject_id nulls first;
$$;
