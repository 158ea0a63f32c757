create function private.set_budget(scope text, period text, max_tokens bigint, subject_id uuid)
returns jsonb
language plpgsql
security definer -- budgets are written through functions only, which check whom they are about
set search_path = ''
as $$
declare
  tenant constant uuid := private.acting_tenant_id();
  budget ai.budgets;
begin
  if tenant <> all (private.caller_tenants('admin')) then
    perform private.raise_error(403, 'forbidden', 'Only admins of the tenant set budgets.', 'Ask an admin of the tenant.');
  end if;
  if set_budget.scope is null or set_budget.scope not in ('tenant', 'user', 'agent', 'run') then
    perform private.raise_error(400, 'invalid_request', 'scope must be tenant, user, agent or run', null);
  end if;
  if set_budget.period is null or set_budget.period not in ('day', 'month', 'total') or (set_budget.scope = 'run' and set_budget.period <> 'total') then
    perform private.raise_error(400, 'invalid_request', 'period must be day, month or total; for a run it is total', null);
  end if;
  if set_budget.max_tokens is null or set_budget.max_tokens not between 0 and 1000000000000000 then
    perform private.raise_error(400, 'invalid_request', 'max_tokens must be between 0 and 1000000000000000', null);
  end if;
  if set_budget.subject_id is not null and set_budget.scope in ('tenant', 'run') then
    perform private.raise_error(400, 'invalid_request', 'Only budgets of scope user or agent have a subject_id', null);
  end if;
  if set_budget.subject_id is not null and not (
    case set_budget.scope
      when 'user' then private.is_member(tenant, set_budget.subject_id)
      else exists (select from ai.agents where agents.tenant_id = tenant and agents.id = set_budget.subject_id)
    end
  ) then
    perform private.raise_error(404, 'not_found', 'There is nobody and nothing of this id in the tenant.', 'Check the subject_id.');
  end if;

  insert into ai.budgets (tenant_id, scope, period, max_tokens, user_id, agent_id, created_by)
  values (
    tenant, set_budget.scope, set_budget.period, set_budget.max_tokens, case when set_budget.scope = 'user' then set_budget.subject_id end,
    case when set_budget.scope = 'agent' then set_budget.subject_id end, private.caller_user_id()
  )
  on conflict on constraint budgets_subject_key do update set max_tokens = excluded.max_tokens
  returning * into budget;
  return to_jsonb(budget);
end;
$$;

comment on function private.set_budget(text, text, bigint, uuid) is 'Core of ai.set_budget().';

create function ai.set_budget(scope text, period text, max_tokens bigint, subject_id uuid default null)
returns jsonb
language sql
set search_path = ''
as $$
  select private.set_budget(scope, period, max_tokens, subject_id);
$$;

comment on function ai.set_budget(text, text, bigint, uuid) is
  'Admins: limits the tokens of the tenant they act in, of a person or agent (subject_id; without: of each one that has no budget of their own), or of each run. Returns the row of ai.budgets; what has been used in the period counts. '
  'PT403 forbidden, PT404 not_found, PT400 invalid_request, PT400 tenant_required.';

create function private.delete_budget(budget_id uuid)
returns boolean
language plpgsql
security definer -- budgets are written through functions only
set search_path = ''
as $$
begin
  delete from ai.budgets
  where budgets.id = delete_budget.budget_id and budgets.tenant_id = any (private.caller_tenants('admin'));
  if not found then
    perform private.raise_error(404, 'not_found', 'Budget not found', 'Check the id of the budget.');
  end if;
  return true;
end;
$$;

comment on function private.delete_budget(uuid) is 'Core of ai.delete_budget().';

create function ai.delete_budget(budget_id uuid)
returns boolean
language sql
set search_path = ''
as $$
  select private.delete_budget(budget_id);
$$;

comment on function ai.delete_budget(uuid) is 'Admins: takes a budget away. PT404 not_found, also for one of a tenant the caller is no admin of.';

create function ai.usage_by_day(from_day date default null, to_day date default null)
returns table (
  tenant_id uuid,
  day date,
  user_id uuid,
  agent_id uuid,
  kind text,
  model text,
  provider text,
  calls bigint,
  prompt_tokens bigint,
  completion_tokens bigint,
  reasoning_tokens bigint,
  cached_tokens bigint,
  total_tokens bigint
)
language sql
stable
security invoker -- the policy on ai.usage_entries says whose usage the caller sees
set search_path = ''
as $$
  select
    entries.tenant_id, (entries.created_at at time zone 'UTC')::date, entries.user_id, entries.agent_id, entries.kind, entries.model,
    entries.provider, count(*), sum(entries.prompt_tokens)::bigint, sum(entries.completion_tokens)::bigint, sum(entries.reasoning_tokens)::bigint,
    sum(entries.cached_tokens)::bigint, sum(entries.total_tokens)::bigint
  from ai.usage_entries as entries
  where entries.created_at >= coalesce(from_day, (now() at time zone 'UTC')::date - 30)::timestamp at time zone 'UTC'
    and entries.created_at < (coalesce(to_day, (now() at time zone 'UTC')::date) + 1)::timestamp at time zone 'UTC'
  group by 1, 2, 3, 4, 5, 6, 7
  order by 2, 1, 3, 4, 5, 6, 7;
$$;

comment on function ai.usage_by_day(date, date) is
  'Tokens per day (UTC), person, agent and model, from from_day (default: 30 days ago) to to_day (default: today): of the whole tenant for admins, of oneself for others.';

revoke execute on function private.set_budget(text, text, bigint, uuid) from public, anon, authenticated, service_role;
revoke execute on function ai.set_budget(text, text, bigint, uuid) from public, anon, authenticated, service_role;
revoke execute on function private.delete_budget(uuid) from public, anon, authenticated, service_role;
revoke execute on function ai.delete_budget(uuid) from public, anon, authenticated, service_role;
revoke execute on function ai.usage_by_day(date, date) from public, anon, authenticated, service_role;
grant execute on function private.set_budget(text, text, bigint, uuid) to authenticated;
grant execute on function ai.set_budget(text, text, bigint, uuid) to authenticated;
grant execute on function private.delete_budget(uuid) to authenticated;
grant execute on function ai.delete_budget(uuid) to authenticated;
grant execute on function ai.usage_by_day(date, date) to authenticated;
