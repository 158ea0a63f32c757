-- Admins set what their own tenant may use, and read what it has used; others read their own usage.
begin;
select plan(36);
create function pg_temp.rows() returns bigint language sql security definer as $$ select count(*) from ai.budgets; $$;
select tests.as_superuser();
insert into ai.usage_entries (tenant_id, user_id, kind, model, provider, prompt_tokens, completion_tokens, total_tokens, created_at)
values
  (tests.tenant('a'), tests.person('member'), 'chat', 'm', 'p', 10, 5, 15, now()),
  (tests.tenant('a'), tests.person('member'), 'chat', 'm', 'p', 20, 5, 25, now()),
  (tests.tenant('a'), tests.person('viewer'), 'chat', 'm', 'p', 1, 1, 2, now()),
  (tests.tenant('a'), tests.person('member'), 'chat', 'm', 'p', 7, 0, 7, now() - interval '60 days'),
  (tests.tenant('b'), tests.person('b_member'), 'chat', 'm', 'p', 100, 100, 200, now());

select tests.keep('agent_b', (select id::text from ai.agents where tenant_id = tests.tenant('b') and is_default));

select tests.sign_in('admin');
select tests.keep('budget', ai.set_budget('tenant', 'month', 1000000)::text);
select is(
  tests.kept('budget')::jsonb - '{id,created_at,updated_at}'::text[],
  jsonb_build_object('tenant_id', tests.tenant('a'), 'scope', 'tenant', 'period', 'month', 'max_tokens', 1000000, 'user_id', null, 'agent_id', null, 'created_by', tests.person('admin')),
  'an admin sets a budget'
);
select is(ai.set_budget('tenant', 'month', 5) -> 'id', tests.kept('budget')::jsonb -> 'id', 'setting it again changes it');
select is((select max_tokens from ai.budgets where scope = 'tenant'), 5::bigint, 'to the new limit');
select isnt(ai.set_budget('tenant', 'day', 5) -> 'id', tests.kept('budget')::jsonb -> 'id', 'that of another period is another one');
select is(ai.set_budget('user', 'day', 5, tests.person('viewer')) ->> 'user_id', tests.person('viewer')::text, 'for a person');
select is(ai.set_budget('user', 'day', 6) ->> 'user_id', null, 'for each person');
select is(ai.set_budget('run', 'total', 7) ->> 'scope', 'run', 'for each run');
select is((select ai.set_budget('agent', 'month', 8, agents.id) ->> 'agent_id' = agents.id::text from ai.agents where agents.is_default and tenant_id = tests.tenant('a')), true, 'for an agent');
select is((select count(*) from ai.budgets), 6::bigint, 'and reads them');

select is(tests.outcome($$select ai.set_budget('planet', 'day', 1)$$), 'PT400 invalid_request', 'a scope that is none');
select is(tests.outcome($$select ai.set_budget(null, 'day', 1)$$), 'PT400 invalid_request', 'no scope');
select is(tests.outcome($$select ai.set_budget('tenant', 'year', 1)$$), 'PT400 invalid_request', 'a period that is none');
select is(tests.outcome($$select ai.set_budget('run', 'day', 1)$$), 'PT400 invalid_request', 'a run has no days');
select is(tests.outcome($$select ai.set_budget('tenant', 'day', -1)$$), 'PT400 invalid_request', 'less than nothing');
select is(tests.outcome($$select ai.set_budget('tenant', 'day', null)$$), 'PT400 invalid_request', 'no limit');
select is(tests.outcome($$select ai.set_budget('tenant', 'day', 1, tests.person('member'))$$), 'PT400 invalid_request', 'a subject where there is none');
select is(tests.outcome($$select ai.set_budget('user', 'day', 1, tests.person('b_member'))$$), 'PT404 not_found', 'somebody of another tenant');
select is(tests.outcome($$select ai.set_budget('user', 'day', 1, gen_random_uuid())$$), 'PT404 not_found', 'is answered as nobody is');
select is(
  tests.outcome(format($$select ai.set_budget('agent', 'day', 1, %L)$$, tests.kept('agent_b'))),
  'PT404 not_found', 'an agent of another tenant'
);

select tests.sign_in('member');
select is(tests.outcome($$select ai.set_budget('tenant', 'month', 1000)$$), 'PT403 forbidden', 'a member sets nothing');
select is((select count(*) from ai.budgets), 0::bigint, 'nor reads what is set');
select is(tests.outcome(format($$select ai.delete_budget(%L)$$, tests.kept('budget')::jsonb ->> 'id')), 'PT404 not_found', 'nor takes it away');
select tests.sign_in('b_owner');
select is(tests.outcome(format($$select ai.delete_budget(%L)$$, tests.kept('budget')::jsonb ->> 'id')), 'PT404 not_found', 'nor does an owner elsewhere');
select is(pg_temp.rows(), 6::bigint, 'all are there');
select tests.sign_in('outsider');
select is(tests.outcome($$select ai.set_budget('tenant', 'month', 1000)$$), 'PT403 forbidden', 'who is in no tenant sets nothing');
select tests.sign_in('admin', headers => jsonb_build_object('x-tenant-id', tests.tenant('b')));
select is(tests.outcome($$select ai.set_budget('tenant', 'month', 1000)$$), 'PT403 forbidden', 'nor in a tenant one is not in');
select tests.sign_in('backend_a');
select is(ai.set_budget('tenant', 'total', 9) ->> 'created_by', null, 'the backend may');
select tests.sign_in('admin');
select ok(ai.delete_budget((tests.kept('budget')::jsonb ->> 'id')::uuid), 'an admin takes one away');
select is(tests.outcome(format($$select ai.delete_budget(%L)$$, tests.kept('budget')::jsonb ->> 'id')), 'PT404 not_found', 'once');

-- Usage.
select results_eq(
  $$select tenant_id, user_id, calls, prompt_tokens, completion_tokens, total_tokens from ai.usage_by_day() order by total_tokens$$,
  $$values (tests.tenant('a'), tests.person('viewer'), 1::bigint, 1::bigint, 1::bigint, 2::bigint), (tests.tenant('a'), tests.person('member'), 2::bigint, 30::bigint, 10::bigint, 40::bigint)$$,
  'an admin reads the last 30 days of the tenant'
);
select is((select sum(total_tokens) from ai.usage_by_day((now() - interval '90 days')::date)), 49::numeric, 'or more');
select is((select sum(total_tokens) from ai.usage_by_day((now() - interval '90 days')::date, (now() - interval '30 days')::date)), 7::numeric, 'or others');
select tests.sign_in('viewer');
select is((select sum(total_tokens) from ai.usage_by_day()), 2::numeric, 'others read their own');
select tests.sign_in('b_member');
select is((select sum(total_tokens) from ai.usage_by_day()), 200::numeric, 'in their own tenant');
select tests.sign_in('outsider');
select is((select count(*) from ai.usage_by_day()), 0::bigint, 'and nobody else any');
select tests.as_anon();
select is(tests.outcome('select * from ai.usage_by_day()'), '42501', 'who is not signed in may not even ask');

select * from finish();
rollback;
