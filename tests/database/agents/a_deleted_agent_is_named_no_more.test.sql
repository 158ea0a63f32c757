-- What an agent has done stays when it is deleted, and names it no more. Nothing that is written afterwards names it either.
begin;
select plan(15);
select tests.make_world();

insert into ai.agents (tenant_id, name) values (tests.tenant('a'), 'Clerk');
select tests.keep('clerk', (select id::text from ai.agents where tenant_id = tests.tenant('a') and name = 'Clerk'));
insert into ai.budgets (tenant_id, scope, period, max_tokens, agent_id)
values (tests.tenant('a'), 'agent', 'day', 1000000, tests.kept_id('clerk'));
insert into ai.schedules (tenant_id, agent_id, created_by, name, cron, message)
values (tests.tenant('a'), tests.kept_id('clerk'), tests.person('member'), 'Daily', '0 9 * * *', 'What is new?');

select tests.sign_in('member');
select tests.keep('run', ai.start_run(tests.kept_id('clerk'), 's', 'When?', request => '{"message": "x"}')::text);
select tests.as_service();
select tests.keep('reserved', ai.reserve_tokens(tests.run_id(), tests.lease(), 1, 'm', 10, 10) ->> 'id');
select tests.keep('later', ai.reserve_tokens(tests.run_id(), tests.lease(), 2, 'm', 10, 10) ->> 'id');
select ok(ai.settle_tokens(tests.kept_id('reserved'), tests.lease(), '{"total_tokens": 7}'), 'a run uses tokens');
select ok(
  ai.request_approval(tests.run_id(), tests.lease(), 'c1', 'mail', '{}', 'Send?') is not null, 'and asks for an approval'
);
select tests.as_superuser();
select is((select agent_id from ai.usage_entries where run_id = tests.run_id()), tests.kept_id('clerk'), 'its usage names the agent');
select is((select agent_id from ai.approvals where run_id = tests.run_id()), tests.kept_id('clerk'), 'its approval, too');

select tests.sign_in('admin');
select is(
  tests.outcome(format('delete from ai.agents where id = %L', tests.kept('clerk'))), 'ok', 'an admin deletes the agent while it runs'
);
select tests.as_superuser();
select is((select count(*)::int from ai.agents where id = tests.kept_id('clerk')), 0, 'it is gone');
select is((select status from ai.agent_runs where id = tests.run_id() and agent_id is null), 'running', 'its run stays and names it no more');
select is((select count(*)::int from ai.agent_sessions where session_id = 's' and agent_id is null), 1, 'nor does its session');
select is((select sum(total_tokens)::int from ai.usage_entries where run_id = tests.run_id() and agent_id is null), 7, 'what was used is known');
select is((select count(*)::int from ai.approvals where run_id = tests.run_id() and agent_id is null), 1, 'as what was asked');
select is((select count(*)::int from ai.budgets where scope = 'agent' and tenant_id = tests.tenant('a')), 0, 'its budget is gone');
select is((select count(*)::int from ai.schedules where agent_id = tests.kept_id('clerk')), 0, 'and its schedule');

select tests.as_service();
select ok(ai.settle_tokens(tests.kept_id('later'), tests.lease(), '{"total_tokens": 5}'), 'what was reserved for it is settled');
-- An agent that its writer has read before it went.
insert into ai.tool_call_events (tenant_id, agent_run_id, agent_id, user_id, tool_name, call_id, status)
values (tests.tenant('a'), tests.run_id(), tests.kept_id('clerk'), tests.person('member'), 't', 'c1', 'success');
select tests.as_superuser();
select is((select count(*)::int from ai.usage_entries where run_id = tests.run_id() and agent_id is null), 2, 'for nobody');
select is((select count(*)::int from ai.tool_call_events where agent_run_id = tests.run_id() and agent_id is null), 1, 'a call is written down without it');

select * from finish();
rollback;
