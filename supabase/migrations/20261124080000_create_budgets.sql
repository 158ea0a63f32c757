-- How many tokens a tenant, a person, an agent or one run may use. Limits are rows an admin sets; what has been used and what
-- is held back for calls under way is counted beside them, one row per limit, subject and period.
create table ai.budgets (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null references public.tenants (id) on delete cascade,
  scope text not null,
  user_id uuid references auth.users (id) on delete cascade,
  agent_id uuid,
  period text not null,
  max_tokens bigint not null,
  created_by uuid references auth.users (id) on delete set null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint budgets_agent_fkey foreign key (tenant_id, agent_id) references ai.agents (tenant_id, id) on delete cascade,
  constraint budgets_tenant_id_id_key unique (tenant_id, id),
  constraint budgets_subject_key unique nulls not distinct (tenant_id, scope, period, user_id, agent_id),
  constraint budgets_scope_is_known check (scope in ('tenant', 'user', 'agent', 'run')),
  constraint budgets_period_is_known check (period in ('day', 'month', 'total')),
  constraint budgets_subject_matches_scope check ((user_id is null or scope = 'user') and (agent_id is null or scope = 'agent')),
  constraint budgets_run_is_total check (scope <> 'run' or period = 'total'),
  constraint budgets_max_tokens_range check (max_tokens between 0 and 1000000000000000)
);

comment on table ai.budgets is
  'Most tokens per period. Scope user or agent without a subject: for each one that has no limit of their own for that period; scope run: for each run. All limits that apply hold together.';
comment on column ai.budgets.period is 'day and month are calendar ones in UTC; total never renews.';

create index budgets_user_id_idx on ai.budgets (user_id);
create index budgets_tenant_id_agent_id_idx on ai.budgets (tenant_id, agent_id);
create index budgets_created_by_idx on ai.budgets (created_by);

alter table ai.budgets enable row level security;
alter table ai.budgets force row level security;
revoke all on table ai.budgets from anon, authenticated, service_role;
grant select on table ai.budgets to authenticated;
grant select, insert, update, delete on table ai.budgets to service_role;

create policy "admins read the budgets of their tenant" on ai.budgets
for select to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids('admin'))));

create trigger refuse_tenant_change before update on ai.budgets for each row execute function private.refuse_tenant_change();
create trigger touch_updated_at before update on ai.budgets for each row execute function private.touch_updated_at();

create table private.budget_counters (
  tenant_id uuid not null,
  budget_id uuid not null,
  subject_id uuid not null,
  period_start timestamptz not null,
  used_tokens bigint not null default 0,
  reserved_tokens bigint not null default 0,
  constraint budget_counters_pkey primary key (budget_id, subject_id, period_start),
  constraint budget_counters_budget_fkey foreign key (tenant_id, budget_id) references ai.budgets (tenant_id, id) on delete cascade,
  constraint budget_counters_are_not_negative check (used_tokens >= 0 and reserved_tokens >= 0)
)
-- Updated twice by every call to a model: room for the new version of the row on the same page.
with (fillfactor = 70);

comment on table private.budget_counters is 'What has been used of a budget in a period, and what is reserved for calls under way.';
comment on column private.budget_counters.subject_id is 'Id of the tenant, person, agent or run that the budget is counted for.';

create index budget_counters_tenant_id_budget_id_idx on private.budget_counters (tenant_id, budget_id);

alter table private.budget_counters enable row level security;
alter table private.budget_counters force row level security;
revoke all on table private.budget_counters from anon, authenticated, service_role;
grant select, insert, update, delete on table private.budget_counters to service_role;

-- What was used, call by call. It outlives the run, so that deleting a conversation gives no tokens back.
create table ai.usage_entries (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null references public.tenants (id) on delete cascade,
  run_id uuid,
  user_id uuid references auth.users (id) on delete set null,
  agent_id uuid,
  step int,
  kind text not null,
  model text,
  provider text,
  prompt_tokens bigint not null default 0,
  completion_tokens bigint not null default 0,
  reasoning_tokens bigint not null default 0,
  cached_tokens bigint not null default 0,
  total_tokens bigint not null default 0,
  is_estimate boolean not null default false,
  created_at timestamptz not null default now(),
  constraint usage_entries_run_fkey foreign key (tenant_id, run_id) references ai.agent_runs (tenant_id, id) on delete set null (run_id),
  constraint usage_entries_agent_fkey foreign key (tenant_id, agent_id) references ai.agents (tenant_id, id) on delete set null (agent_id),
  constraint usage_entries_kind_is_known check (kind in ('chat', 'embedding')),
  constraint usage_entries_are_not_negative check (
    least(prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens, total_tokens) >= 0
  )
);

comment on table ai.usage_entries is 'Tokens of one call to a model, and whose they were. created_at is when the call began.';
comment on column ai.usage_entries.is_estimate is 'The provider''s count never came: prompt_tokens is what was estimated before the call.';

create index usage_entries_tenant_id_created_at_idx on ai.usage_entries (tenant_id, created_at);
create index usage_entries_tenant_id_run_id_idx on ai.usage_entries (tenant_id, run_id);
create index usage_entries_tenant_id_agent_id_idx on ai.usage_entries (tenant_id, agent_id, created_at);
create index usage_entries_user_id_idx on ai.usage_entries (user_id, tenant_id, created_at);

alter table ai.usage_entries enable row level security;
alter table ai.usage_entries force row level security;
revoke all on table ai.usage_entries from anon, authenticated, service_role;
grant select on table ai.usage_entries to authenticated;
grant select, insert on table ai.usage_entries to service_role;

create policy "people read their own usage, admins that of their tenant" on ai.usage_entries
for select to authenticated
using (
  (user_id = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids())))
  or tenant_id = any (array(select private.caller_tenant_ids('admin')))
);

create trigger refuse_tenant_change before update on ai.usage_entries for each row execute function private.refuse_tenant_change();

create function private.budget_period_start(period text, at timestamptz)
returns timestamptz
language sql
stable
set search_path = ''
as $$
  select case period when 'total' then 'epoch'::timestamptz else date_trunc(period, at, 'UTC') end;
$$;

comment on function private.budget_period_start(text, timestamptz) is 'When the period of a budget began that this moment is in; the epoch for total.';

create function private.budget_renews_at(period text, at timestamptz)
returns timestamptz
language sql
stable
set search_path = ''
as $$
  select case period when 'total' then null else (date_trunc(period, at, 'UTC') at time zone 'UTC' + ('1 ' || period)::interval) at time zone 'UTC' end;
$$;

comment on function private.budget_renews_at(text, timestamptz) is 'When the next period of a budget begins; null for total.';

create function private.budgets_of(tenant_id uuid, user_id uuid, agent_id uuid, run_id uuid, also uuid[] default '{}')
returns table (budget_id uuid, scope text, period text, max_tokens bigint, subject_id uuid)
language sql
stable
set search_path = ''
as $$
  with candidates as (
    select
      budgets.id, budgets.scope, budgets.period, budgets.max_tokens,
      case budgets.scope
        when 'tenant' then budgets.tenant_id
        when 'user' then budgets_of.user_id
        when 'agent' then budgets_of.agent_id
        else budgets_of.run_id
      end as subject_id,
      -- A limit of one's own takes the place of the one for everybody.
      row_number() over (
        partition by budgets.scope, budgets.period order by budgets.user_id is null and budgets.agent_id is null
      ) as place
    from ai.budgets
    where budgets.tenant_id = budgets_of.tenant_id
      and (budgets.user_id is null or budgets.user_id = budgets_of.user_id)
      and (budgets.agent_id is null or budgets.agent_id = budgets_of.agent_id)
  )
  select candidates.id, candidates.scope, candidates.period, candidates.max_tokens, candidates.subject_id
  from candidates
  where candidates.subject_id is not null and (candidates.place = 1 or candidates.id = any (also));
$$;

comment on function private.budgets_of(uuid, uuid, uuid, uuid, uuid[]) is
  'The budgets that apply to a run of this person (null: the backend) and agent, with the id each is counted for; and those of `also` that applied when a reservation was made.';

create function private.tokens_used(tenant_id uuid, scope text, subject_id uuid, since timestamptz)
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
    where entries.tenant_id = tokens_used.tenant_id and entries.created_at >= since and entries.kind = 'chat';
  elsif tokens_used.scope = 'user' then
    select sum(entries.total_tokens) into tokens
    from ai.usage_entries as entries
    where entries.user_id = tokens_used.subject_id and entries.tenant_id = tokens_used.tenant_id and entries.created_at >= since and entries.kind = 'chat';
  elsif tokens_used.scope = 'agent' then
    select sum(entries.total_tokens) into tokens
    from ai.usage_entries as entries
    where entries.tenant_id = tokens_used.tenant_id and entries.agent_id = tokens_used.subject_id and entries.created_at >= since and entries.kind = 'chat';
  else
    select sum(entries.total_tokens) into tokens
    from ai.usage_entries as entries
    where entries.tenant_id = tokens_used.tenant_id and entries.run_id = tokens_used.subject_id and entries.kind = 'chat';
  end if;
  return coalesce(tokens, 0);
end;
$$;

comment on function private.tokens_used(uuid, text, uuid, timestamptz) is 'Tokens of calls to chat models by a tenant, person, agent or run since a moment: what the counter of a new budget begins with. Embeddings are no part of budgets.';

create function private.check_budget(tenant_id uuid, user_id uuid, agent_id uuid)
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
  tightest record;
begin
  select
    budgets.scope, budgets.period,
    budgets.max_tokens
      - coalesce(
        counters.used_tokens + counters.reserved_tokens,
        private.tokens_used(check_budget.tenant_id, budgets.scope, budgets.subject_id, private.budget_period_start(budgets.period, now()))
      ) as balance
  into tightest
  from private.budgets_of(check_budget.tenant_id, check_budget.user_id, check_budget.agent_id, null) as budgets
  left join private.budget_counters as counters
    on counters.budget_id = budgets.budget_id and counters.subject_id = budgets.subject_id
    and counters.period_start = private.budget_period_start(budgets.period, now())
  order by balance, budgets.budget_id
  limit 1;
  if tightest.balance < 1 then
    perform private.raise_error(
      402, 'insufficient_credits', format('The token budget of this %s is used up.', tightest.scope),
      'Wait until it renews, or ask an admin of the tenant for a larger one.',
      jsonb_build_object(
        'balance', greatest(tightest.balance, 0), 'estimated_cost', 1, 'renews_at', private.budget_renews_at(tightest.period, now()),
        'scope', tightest.scope, 'period', tightest.period
      )
    );
  end if;
end;
$$;

comment on function private.check_budget(uuid, uuid, uuid) is
  'Whether a run of this person (null: the backend) and agent may begin: PT402 insufficient_credits {balance, estimated_cost, renews_at, scope, period} when a budget has no token left. Holds nothing back; ai.reserve_tokens() does.';

revoke execute on function private.budget_period_start(text, timestamptz) from public, anon, authenticated, service_role;
revoke execute on function private.budget_renews_at(text, timestamptz) from public, anon, authenticated, service_role;
revoke execute on function private.budgets_of(uuid, uuid, uuid, uuid, uuid[]) from public, anon, authenticated, service_role;
revoke execute on function private.tokens_used(uuid, text, uuid, timestamptz) from public, anon, authenticated, service_role;
revoke execute on function private.check_budget(uuid, uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function private.budget_period_start(text, timestamptz) to service_role;
grant execute on function private.budget_renews_at(text, timestamptz) to service_role;
grant execute on function private.budgets_of(uuid, uuid, uuid, uuid, uuid[]) to service_role;
grant execute on function private.tokens_used(uuid, text, uuid, timestamptz) to service_role;
grant execute on function private.check_budget(uuid, uuid, uuid) to service_role;
