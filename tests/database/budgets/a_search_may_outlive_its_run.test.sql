-- A run ends, or is cancelled, while a search of its own still waits for a model: what was held back for that goes with the run,
-- and calls of others are counted all the same.
begin;
select plan(9);
select tests.make_world();
delete from ai.usage_entries;
delete from private.token_reservations;
delete from ai.budgets;
insert into ai.budgets (id, tenant_id, scope, period, max_tokens)
values (tests.id('budget of runs'), tests.tenant('a'), 'run', 'total', 1000), (tests.id('budget of b'), tests.tenant('b'), 'tenant', 'day', 1000);
update ai.agent_runs
set status = 'running', completed_at = null, lease_token = tests.id('lease'), lease_expires_at = now() + interval '1 minute'
where id = tests.id('run a_member');
select tests.as_service();

create function pg_temp.search_call(letter text, who text, run uuid default null) returns jsonb language sql as $$
  select ai.reserve_search_tokens(tests.tenant(letter), tests.person(who), null, run, tests.id('token'), 'm', 'p', 100, 50);
$$;
create function pg_temp.counters() returns setof text language sql security definer as $$
  select format('%s: %s used, %s reserved', budgets.scope, counters.used_tokens, counters.reserved_tokens)
  from private.budget_counters as counters
  join ai.budgets on budgets.id = counters.budget_id;
$$;

select tests.keep('call', pg_temp.search_call('a', 'member', tests.id('run a_member')) ->> 'id') is not null;
select set_eq('select pg_temp.counters()', array['run: 0 used, 150 reserved'], 'a search of a run reserves in the budget of the run');
select is(
  tests.outcome($$update ai.agent_runs set status = 'cancelled', completed_at = now(), lease_token = null, lease_expires_at = null where id = tests.id('run a_member')$$),
  'ok', 'the run is cancelled'
);
select is_empty('select pg_temp.counters()', 'no counter of it is left');
select set_eq(
  'select kind || total_tokens || is_estimate from ai.usage_entries', array['search100true'], 'what nobody heard of counts with the estimate of its prompt'
);
select is(
  tests.outcome(format($$select ai.settle_tokens(%L, %L, '{"total_tokens": 70}')$$, tests.kept_id('call'), tests.id('token'))), 'ok',
  'whoever was still waiting for the model gets through'
);
select is_empty('select pg_temp.counters()', 'and brings no counter back');
select is(tests.outcome(format($$select pg_temp.search_call('a', 'member', %L)$$, tests.id('run a_member'))), 'PT403 forbidden', 'a run that is over reserves nothing');

-- Of whatever was counted wrongly, the sweep has to get past it.
select pg_temp.search_call('b', 'b_member') is not null;
select tests.as_superuser();
update private.budget_counters set reserved_tokens = 0;
update private.token_reservations set expires_at = now() - interval '1 second';
select tests.as_service();
select is(ai.close_expired_searches(), 1, 'a counter that holds less than is given back stops nobody');
select set_eq('select pg_temp.counters()', array['tenant: 100 used, 0 reserved'], 'and is never below nothing');

select * from finish();
rollback;
