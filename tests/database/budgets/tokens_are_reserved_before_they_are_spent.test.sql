-- A call to a model gets what the tightest budget has left; what it used is counted, and what it did not is given back.
begin;
select plan(55);

-- A run that is executed now, of `who` (null: the backend) with the default agent of tenant A.
create function pg_temp.start(name text, who text default 'member', letter text default 'a')
returns void
language plpgsql
as $$
begin
  perform tests.as_superuser();
  insert into ai.agent_sessions (id, tenant_id, session_id, agent_id, user_id)
  select tests.id('session of ' || start.name), agents.tenant_id, 's_' || start.name, agents.id, tests.person(who)
  from ai.agents
  where agents.tenant_id = tests.tenant(letter) and agents.is_default;
  insert into ai.agent_runs (id, tenant_id, session_id, agent_id, user_id, principal_id, status, lease_token, lease_expires_at, started_at, model, provider)
  select
    tests.id('run of ' || start.name), tenant_id, id, agent_id, user_id, coalesce(user_id, tenant_id), 'running', tests.id('lease of ' || start.name),
    now() + interval '1 minute', now(), 'm', 'p'
  from ai.agent_sessions
  where id = tests.id('session of ' || start.name);
  perform tests.as_service();
end;
$$;
create function pg_temp.reserve(name text, prompt int, wanted int default null)
returns jsonb
language sql
as $$ select ai.reserve_tokens(tests.id('run of ' || name), tests.id('lease of ' || name), 1, 'm', prompt, wanted); $$;
create function pg_temp.settle(name text, reservation jsonb, usage jsonb)
returns boolean
language sql
as $$ select ai.settle_tokens((reservation ->> 'id')::uuid, tests.id('lease of ' || name), usage); $$;
create function pg_temp.usage(prompt int, completion int)
returns jsonb
language sql
as $$ select jsonb_build_object('prompt_tokens', prompt, 'completion_tokens', completion, 'total_tokens', prompt + completion); $$;
-- used and reserved of the one counter of a scope
create function pg_temp.counter(scope text, subject uuid default null)
returns text
language sql
security definer
as $$
  select string_agg(format('%s used, %s reserved', used_tokens, reserved_tokens), '; ' order by used_tokens)
  from private.budget_counters
  join ai.budgets on budgets.id = budget_counters.budget_id
  where budgets.scope = counter.scope and budget_counters.subject_id = coalesce(counter.subject, budget_counters.subject_id);
$$;
create function pg_temp.budget(name text, letter text, scope text, period text, max_tokens bigint, subject uuid default null)
returns void
language plpgsql
as $$
begin
  perform tests.as_superuser();
  insert into ai.budgets (id, tenant_id, scope, period, max_tokens, user_id, agent_id)
  values (
    tests.id('budget ' || budget.name), tests.tenant(letter), budget.scope, budget.period, budget.max_tokens,
    case budget.scope when 'user' then subject end, case budget.scope when 'agent' then subject end
  );
  perform tests.as_service();
end;
$$;

-- Without a budget: no limit, but the usage is attributed.
select pg_temp.start('free');
select tests.keep('r', pg_temp.reserve('free', 100)::text);
select is(tests.kept('r')::jsonb -> 'max_tokens', 'null', 'no budget, no limit');
select is(pg_temp.reserve('free', 100, 77) -> 'max_tokens', '77', 'what was asked for is granted');
select ok(pg_temp.settle('free', tests.kept('r')::jsonb, '{"prompt_tokens": 90, "completion_tokens": 10, "reasoning_tokens": 4, "cached_tokens": 5, "total_tokens": 100}'), 'settled');
select ok(not pg_temp.settle('free', tests.kept('r')::jsonb, pg_temp.usage(1, 1)), 'once');
select results_eq(
  $$select run_id, user_id, step, kind, model, provider, prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens, total_tokens, is_estimate, agent_id is not null from ai.usage_entries$$,
  $$values (tests.id('run of free'), tests.person('member'), 1, 'chat', 'm', 'p', 90::bigint, 10::bigint, 4::bigint, 5::bigint, 100::bigint, false, true)$$,
  'every token has an owner'
);
select is(ai.reserve_tokens(tests.id('run of free'), gen_random_uuid(), 1, 'm', 1), null, 'who has no lease reserves nothing');
select ok(not ai.settle_tokens((pg_temp.reserve('free', 5) ->> 'id')::uuid, gen_random_uuid(), pg_temp.usage(1, 1)), 'nor settles');
select is(tests.outcome($$select ai.reserve_tokens(tests.id('run of free'), tests.id('lease of free'), 1, 'm', -1)$$), '22023', 'no negative prompt');
select is(tests.outcome($$select ai.reserve_tokens(tests.id('run of free'), tests.id('lease of free'), 1, 'm', 1, 0)$$), '22023', 'no empty answer');

-- The budget of the tenant, set after 100 tokens were used this month.
select pg_temp.budget('a', 'a', 'tenant', 'month', 10100);
select pg_temp.start('one');
select tests.keep('one', pg_temp.reserve('one', 1000)::text);
select is(tests.kept('one')::jsonb -> 'max_tokens', '4096', 'an answer of no stated length gets 4096');
select is(pg_temp.counter('tenant'), '100 used, 5096 reserved', 'the counter begins with what was used before; prompt and answer are held back');
select pg_temp.start('two', 'admin');
select tests.keep('two', pg_temp.reserve('two', 900, 9000)::text);
select is(tests.kept('two')::jsonb -> 'max_tokens', '4004', 'another run gets what is left');
select is(pg_temp.counter('tenant'), '100 used, 10000 reserved', 'and everything is held back');
select is(tests.outcome($$select pg_temp.reserve('one', 1)$$), 'PT402 budget_exceeded', 'then nothing is left');
select is(
  tests.kept('last_detail')::jsonb - 'renews_at',
  '{"code": "budget_exceeded", "balance": 0, "estimated_cost": 2, "scope": "tenant", "period": "month"}', 'it says of which budget'
);
select ok((tests.kept('last_detail')::jsonb ->> 'renews_at')::timestamptz > now(), 'and when it renews');
select is(tests.outcome($$select private.check_budget(tests.tenant('a'), tests.person('member'), null)$$), 'PT402 insufficient_credits', 'no run begins');
select is(
  tests.kept('last_detail')::jsonb - 'renews_at',
  '{"code": "insufficient_credits", "balance": 0, "estimated_cost": 1, "scope": "tenant", "period": "month"}', 'and the answer says why'
);
select ok(tests.kept('last_detail')::jsonb ? 'renews_at', 'and until when');
select is(tests.outcome($$select private.check_budget(tests.tenant('b'), tests.person('b_member'), null)$$), 'ok', 'the other tenant is not concerned');
select pg_temp.start('theirs', 'b_member', 'b');
select is(pg_temp.reserve('theirs', 5) -> 'max_tokens', 'null', 'nor limited');

select pg_temp.settle('one', tests.kept('one')::jsonb, pg_temp.usage(1000, 96));
select is(pg_temp.counter('tenant'), '1196 used, 4904 reserved', 'what was not used comes back');
select is(pg_temp.reserve('one', 1, 1000) -> 'max_tokens', '1000', 'and can be had');
select is(tests.outcome($$select private.check_budget(tests.tenant('a'), tests.person('member'), null)$$), 'ok', 'runs begin again');
-- Nothing heard, or nothing counted: the prompt counts.
select pg_temp.settle('two', tests.kept('two')::jsonb, null);
select is(pg_temp.counter('tenant'), '2096 used, 1001 reserved', 'a call of which nothing was heard counts with its prompt');
select is((select total_tokens from ai.usage_entries where is_estimate), 900::bigint, 'and says that this is an estimate');
select pg_temp.settle('two', pg_temp.reserve('two', 50, 1), '{"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}');
select is(pg_temp.counter('tenant'), '2146 used, 1001 reserved', 'so does one whose provider counts nothing');
select pg_temp.settle('two', pg_temp.reserve('two', 50, 1), '{"prompt_tokens": 3, "completion_tokens": 4}');
select is(pg_temp.counter('tenant'), '2153 used, 1001 reserved', 'a sum that was left out is made');

-- Several budgets: all hold.
select pg_temp.budget('each', 'a', 'user', 'day', 500);
select pg_temp.start('three', 'viewer');
select is(pg_temp.reserve('three', 100) -> 'max_tokens', '400', 'the tightest decides');
select is(pg_temp.counter('user', tests.person('viewer')), '0 used, 500 reserved', 'counted for the person');
select is(tests.outcome($$select pg_temp.reserve('two', 100)$$), 'PT402 budget_exceeded', 'another person has a counter of their own, with what they used today');
select is(tests.kept('last_detail')::jsonb ->> 'scope', 'user', 'it is the budget of people that is used up');
select pg_temp.budget('own', 'a', 'user', 'day', 2000, tests.person('viewer'));
select tests.keep('three', pg_temp.reserve('three', 100)::text);
select is(tests.kept('three')::jsonb -> 'max_tokens', '1900', 'a budget of one''s own takes the place of the one for everybody');
select pg_temp.start('backend', 'nobody');
select is(pg_temp.reserve('backend', 100, 50) -> 'max_tokens', '50', 'the backend is no person');
select pg_temp.budget('agent', 'a', 'agent', 'total', 1000, (select id from ai.agents where tenant_id = tests.tenant('a') and is_default));
select is(tests.outcome($$select pg_temp.reserve('backend', 100)$$), 'PT402 budget_exceeded', 'what an agent has used counts for the agent');
select is(tests.kept('last_detail')::jsonb -> 'renews_at', 'null', 'a total does not renew');
select is(tests.kept('last_detail')::jsonb ->> 'scope', 'agent', 'it says that it is the agent');
select is(
  tests.outcome($$select private.check_budget(tests.tenant('a'), tests.person('owner'), (select id from ai.agents where tenant_id = tests.tenant('a') and is_default))$$),
  'PT402 insufficient_credits', 'nor does a run with this agent begin'
);
select is(tests.outcome($$select private.check_budget(tests.tenant('a'), tests.person('owner'), gen_random_uuid())$$), 'ok', 'with another one it does');
select tests.as_superuser();
delete from ai.budgets where id in (tests.id('budget agent'), tests.id('budget each'), tests.id('budget own'));
select tests.as_service();
select ok(pg_temp.settle('three', tests.kept('three')::jsonb, pg_temp.usage(10, 10)), 'a budget that is gone meanwhile is missed by nobody');

-- Runs.
select pg_temp.budget('run', 'a', 'run', 'total', 300);
select pg_temp.start('four');
select is(pg_temp.reserve('four', 100) -> 'max_tokens', '200', 'each run has its own');
select pg_temp.start('five');
select is(pg_temp.reserve('five', 100) -> 'max_tokens', '200', 'and takes from no other''s');
select is(tests.outcome($$select pg_temp.reserve('four', 100)$$), 'PT402 budget_exceeded', 'a run that has used its own ends');

-- Who loses the lease loses the reservations, and what was sent to the provider is counted.
select tests.keep('tenant', pg_temp.counter('tenant'));
update ai.agent_runs set lease_token = gen_random_uuid() where id = tests.id('run of four');
select is(pg_temp.counter('run', tests.id('run of four')), '100 used, 0 reserved', 'of a dead executor the prompt counts');
select is(pg_temp.counter('run', tests.id('run of five')), '0 used, 300 reserved', 'of the others nothing changes');
select ok(not exists (select from private.token_reservations where run_id = tests.id('run of four')), 'its reservations are gone');
update ai.agent_runs set lease_token = lease_token, lease_expires_at = now() + interval '2 minutes' where id = tests.id('run of five');
select is(pg_temp.counter('run', tests.id('run of five')), '0 used, 300 reserved', 'keeping a lease settles nothing');
update ai.agent_runs set status = 'completed', lease_token = null, lease_expires_at = null, completed_at = now() where id = tests.id('run of five');
select is(pg_temp.counter('run', tests.id('run of five')), null, 'the counter of a run ends with it');
select is((select count(*) from ai.usage_entries where run_id = tests.id('run of five') and is_estimate), 1::bigint, 'its usage does not');

-- Deleting a conversation gives nothing back.
select pg_temp.start('six');
select pg_temp.settle('six', pg_temp.reserve('six', 10, 10), pg_temp.usage(20, 30));
select pg_temp.reserve('six', 40, 10);
select tests.as_superuser();
select tests.keep('before', (select sum(total_tokens)::text from ai.usage_entries where tenant_id = tests.tenant('a')));
select tests.sign_in('member');
delete from ai.agent_sessions where id = tests.id('session of six');
select tests.as_superuser();
select is((select count(*) from ai.agent_runs where id = tests.id('run of six')), 0::bigint, 'a person deletes a conversation while it runs');
select is((select sum(total_tokens) from ai.usage_entries where tenant_id = tests.tenant('a')), tests.kept('before')::numeric + 40, 'what it used stays counted, what was under way too');
select is(
  (select used_tokens from private.budget_counters where budget_id = tests.id('budget a')),
  (select sum(total_tokens)::bigint from ai.usage_entries where tenant_id = tests.tenant('a')),
  'the counter says what the entries say'
);
select is(
  (select reserved_tokens from private.budget_counters where budget_id = tests.id('budget a')),
  (select sum(reserved_tokens)::bigint from private.token_reservations where tests.id('budget a') = any (budget_ids)),
  'and what the reservations say'
);

-- A limit below what is used, and none at all.
update ai.budgets set max_tokens = 1 where id = tests.id('budget a');
select tests.as_service();
select is(tests.outcome($$select pg_temp.reserve('one', 1)$$), 'PT402 budget_exceeded', 'a lowered budget holds at once');
select is(tests.kept('last_detail')::jsonb -> 'balance', '0', 'and nobody is told of a debt');

select * from finish();
rollback;
