-- cancel_run and decide_interrupted_call: in each state of a run, by who may, once.
begin;
select plan(87);
select tests.make_world();

create function pg_temp.cancel(who text, name text default 'run', claims jsonb default '{}')
returns text
language plpgsql
as $$
begin
  perform tests.sign_in(who, claims);
  return tests.outcome(format('select tests.keep(''answer'', ai.cancel_run(%L)::text)', tests.run('run_id', name)));
end;
$$;
create function pg_temp.answered() returns text language sql as $$ select tests.kept('answer')::jsonb ->> 'status'; $$;

-- Running.
select tests.start_run('member', 's');
select tests.start_run('member', 's', name => 'behind');
select is(pg_temp.cancel('viewer'), 'PT404 not_found', 'another person cancels nothing');
select tests.keep('told', tests.kept('last_message'));
select is(pg_temp.cancel('admin'), 'PT404 not_found', 'nor does an admin: they do not see the run');
select is(pg_temp.cancel('b_owner'), 'PT404 not_found', 'nor another tenant');
select is(pg_temp.cancel('backend_b'), 'PT404 not_found', 'nor its backend');
select is(pg_temp.cancel('member', claims => jsonb_build_object('tenant_id', tests.tenant('b'))), 'PT404 not_found', 'nor the person, narrowed to another tenant');
select is(tests.outcome('select ai.cancel_run(''run_000000000000'')'), 'PT404 not_found', 'what is not there');
select is(tests.kept('last_message'), tests.kept('told'), 'looks alike');
select tests.as_anon();
select is(tests.outcome(format('select ai.cancel_run(%L)', tests.run('run_id'))), '42501', 'nobody signed in');
select is(tests.append(1, jsonb_build_array(tests.event('start'))) ->> 'stop', null, 'it goes on');
select is(pg_temp.cancel('member'), 'ok', 'the person cancels it');
select is(pg_temp.answered(), 'running', 'its executor has to hear of it');
select tests.as_service();
select is(ai.beat_run(tests.run_id(), tests.lease()) ->> 'stop', 'cancelled', 'which it does');
select is(tests.append(2, jsonb_build_array(tests.event('chunk'))) ->> 'stop', 'cancelled', 'at every word');
select is(pg_temp.cancel('member'), 'ok', 'cancelling twice');
select is(pg_temp.answered(), 'running', 'is once');
select tests.as_service();
select is(ai.finish_run(tests.run_id(), tests.lease(), 'cancelled', 'Half', first_seq => 3, events => jsonb_build_array(tests.event('complete'))), true, 'it ends');
select is(tests.status(), 'cancelled', 'cancelled');
select is(pg_temp.cancel('member'), 'PT409 run_not_active', 'what is over cannot be cancelled');
select is(tests.kept('last_detail')::jsonb ->> 'status', 'cancelled', 'it says how it ended');

-- Pending.
select tests.start_run('member', 's2');
select tests.start_run('member', 's2', name => 'behind');
select is(pg_temp.cancel('backend_a', 'behind'), 'ok', 'the backend may');
select is(pg_temp.answered(), 'cancelled', 'what nobody executes is over at once');
select is(tests.log('behind'), '1 complete', 'with its event');
select is((select payload ->> 'status' from ai.run_events where run_id = tests.run_id('behind')), 'cancelled', 'that says so');
select is((select count(*)::int from private.run_requests where run_id = tests.run_id('behind')), 0, 'the request is forgotten');
select is(tests.claim('behind'), false, 'nobody takes it up');

-- Executor dead.
select tests.let_lease_expire();
select is(pg_temp.cancel('member'), 'ok', 'whose executor died');
select is(pg_temp.answered() || ' ' || tests.status(), 'cancelled cancelled', 'is over at once');
select is(tests.append(1, jsonb_build_array(tests.event('late'))) ->> 'held', 'false', 'if it still lives, it writes nothing');

-- Executor dies after having been told, or suspends.
select tests.start_run('member');
select pg_temp.cancel('member');
select tests.let_lease_expire();
select is(tests.claim(), false, 'who would take it up');
select is(tests.status(), 'cancelled', 'ends it');
select tests.start_run('member');
select pg_temp.cancel('member');
select tests.as_service();
select is(ai.suspend_run(tests.run_id(), tests.lease(), 1, jsonb_build_array(tests.event('start')), '[]', null), null, 'who would hand it over');
select is(tests.status() || ': ' || tests.log(), 'cancelled: 1 start, 2 complete', 'ends it');

-- Interrupted calls.
create function pg_temp.interrupt()
returns text
language plpgsql
as $$
begin
  perform tests.start_run('member');
  perform tests.append(
    1, jsonb_build_array(tests.event('start')),
    '[{"op": "turn", "step": 1}, {"op": "call_started", "step": 1, "call_id": "c1", "is_retry_safe": false, "tool_name": "pay"},
      {"op": "call_started", "step": 1, "call_id": "safe", "is_retry_safe": true}]'
  );
  perform tests.let_lease_expire();
  perform tests.claim();
  perform tests.as_service();
  return ai.suspend_run(tests.run_id(), tests.lease(), 2, jsonb_build_array(tests.event('call_interrupted')), '[]', 'unsafe_call');
end;
$$;
create function pg_temp.decide(who text, decision text, call_id text default 'c1', claims jsonb default '{}')
returns text
language plpgsql
as $$
begin
  perform tests.sign_in(who, claims);
  return tests.outcome(format('select tests.keep(''answer'', ai.decide_interrupted_call(%L, %L, %L)::text)', tests.run('run_id'), call_id, decision));
end;
$$;

select is(pg_temp.interrupt(), 'waiting', 'a call that may have taken effect waits for a person');
select is(tests.status() || ': ' || tests.log(), 'waiting unsafe_call: 1 start, 2 call_interrupted', 'without an executor');
select is(tests.claim(), false, 'nobody takes the run up');
select tests.as_service();
select ok(tests.run_id() <> all (array(select id from ai.due_runs())), 'it is not due');
select tests.sign_in('member');
select is((select status || ' ' || wait_reason from ai.agent_runs where id = tests.run_id()), 'waiting unsafe_call', 'the person sees why');
select tests.forget_run_jobs();

select is(pg_temp.decide('viewer', 'retry'), 'PT404 not_found', 'another person decides nothing');
select tests.keep('told', tests.kept('last_message'));
select is(pg_temp.decide('b_owner', 'retry'), 'PT404 not_found', 'nor another tenant');
select is(pg_temp.decide('backend_b', 'retry'), 'PT404 not_found', 'nor its backend');
select is(
  pg_temp.decide('member', 'retry', claims => jsonb_build_object('act', jsonb_build_object('sub', 'agent'))), 'PT404 not_found', 'nor an agent in the name of the person'
);
select is(pg_temp.decide('member', 'retry', 'c2'), 'PT404 not_found', 'a call that is not there');
select is(pg_temp.decide('member', 'retry', 'safe'), 'PT404 not_found', 'one that may simply be repeated');
select is(tests.kept('last_message'), tests.kept('told'), 'all look alike');
select is(pg_temp.decide('member', 'perhaps'), 'PT400 invalid_request', 'a decision is one of three');
select is(pg_temp.decide('member', null), 'PT400 invalid_request', 'not none');
select is(tests.status(), 'waiting unsafe_call', 'it waits');
select is(pg_temp.decide('member', 'retry'), 'ok', 'the person decides');
select is(pg_temp.answered() || ' ' || tests.status(), 'pending pending', 'and it goes on');
select is(tests.run_jobs(), 1, 'through the queue');
select is(pg_temp.decide('member', 'skip'), 'PT404 not_found', 'once');
select is(pg_temp.decide('admin', 'skip'), 'PT404 not_found', 'for all');
select ok(tests.claim(), 'an executor takes it up');
select is(
  (select jsonb_object_agg(call ->> 'call_id', call -> 'decision') from jsonb_array_elements(tests.kept('run')::jsonb -> 'steps' -> 0 -> 'calls') as call), '{"c1": "retry", "safe": null}'::jsonb, 'and hears what to do'
);
select tests.as_superuser();
select is((select (calls -> 'c1' ->> 'decided_by')::uuid from ai.run_steps where run_id = tests.run_id()), tests.person('member'), 'it is known who said so');
-- The decision is used up when the call begins.
select tests.append(3, '[]', '[{"op": "call_started", "step": 1, "call_id": "c1", "is_retry_safe": false, "attempt": 2}]');
select tests.let_lease_expire();
select ok(tests.claim(), 'its executor dies in the middle of it again');
select is(tests.kept('run')::jsonb -> 'steps' -> 0 -> 'calls' -> 0 -> 'decision', 'null', 'one decision allows one attempt');
select tests.as_service();
select is(ai.suspend_run(tests.run_id(), tests.lease(), 3, '[]', '[]', 'unsafe_call'), 'waiting', 'a person is asked again');
select is(pg_temp.decide('admin', 'skip'), 'ok', 'an admin decides for a member');
select ok(tests.claim(), 'and it goes on');
select tests.append(3, '[]', '[{"op": "call_finished", "step": 1, "call_id": "c1", "text": "skipped"}]');
select tests.as_service();
select is(ai.suspend_run(tests.run_id(), tests.lease(), 3, '[]', '[]', 'unsafe_call'), 'pending', 'where nothing is to be decided nobody waits');
select is(pg_temp.decide('member', 'retry'), 'PT404 not_found', 'nor decides');

-- A call that had to be approved is made again only by the word of who may approve it.
create function pg_temp.approved(four_eyes boolean, quorum int) returns void language plpgsql as $$
begin
  perform tests.as_superuser();
  insert into ai.approvals (
    tenant_id, run_id, user_id, call_id, tool_name, tool_input, input_hash, status, decided_at, expires_at, four_eyes, quorum
  )
  values (
    (select tenant_id from ai.agent_runs where id = tests.run_id()), tests.run_id(), tests.person('member'), 'c1', 'pay', '{}', repeat('0', 64), 'approved', now(), now() + interval '1 hour',
    approved.four_eyes, approved.quorum
  );
end;
$$;
select is(pg_temp.interrupt(), 'waiting', 'an approved call is interrupted');
select pg_temp.approved(true, 1);
select is(pg_temp.decide('member', 'retry'), 'PT403 forbidden', 'who may not approve it does not have it made again');
select is(tests.status(), 'waiting unsafe_call', 'it waits');
select is(pg_temp.decide('admin', 'retry'), 'ok', 'who may approve it does');
select is(pg_temp.interrupt(), 'waiting', 'one that two had to approve');
select pg_temp.approved(true, 2);
select is(pg_temp.decide('admin', 'retry'), 'PT403 forbidden', 'is made again by the word of nobody alone');
select is(pg_temp.decide('member', 'skip'), 'ok', 'but can be skipped');
select is(pg_temp.interrupt(), 'waiting', 'one that the person could approve');
select pg_temp.approved(false, 1);
select is(pg_temp.decide('member', 'retry'), 'ok', 'can be made again by the person');

select is(pg_temp.interrupt(), 'waiting', 'another');
select is(pg_temp.decide('backend_a', 'fail'), 'ok', 'can be given up');
select is(pg_temp.answered() || ': ' || tests.status(), 'failed: failed interrupted', 'and the run with it');
select is(tests.log(), '1 start, 2 call_interrupted, 3 error, 4 complete', 'as its log says');
select is(pg_temp.interrupt(), 'waiting', 'one that waits');
select is(pg_temp.cancel('member'), 'ok', 'can be cancelled');
select is(pg_temp.answered() || ' ' || tests.status(), 'cancelled cancelled', 'at once');
select is(pg_temp.decide('member', 'retry'), 'PT404 not_found', 'and is not decided any more');
select is((select wait_reason from ai.agent_runs where id = tests.run_id()), null, 'it waits for nothing');

-- Two of one step, one decision each.
select pg_temp.interrupt();
select tests.as_superuser();
update ai.run_steps set calls = calls || '{"c2": {"started": {}}}' where run_id = tests.run_id();
select is(pg_temp.decide('member', 'skip', 'c1'), 'ok', 'one of two is decided');
select ok(tests.claim(), 'the run goes on');
select tests.as_service();
select is(ai.suspend_run(tests.run_id(), tests.lease(), 3, '[]', '[]', 'unsafe_call'), 'waiting', 'and waits for the other');
select is(pg_temp.decide('member', 'retry', 'c1'), 'PT404 not_found', 'nobody changes their mind about the first meanwhile');
select is(pg_temp.decide('member', 'retry', 'c2'), 'ok', 'the other is decided');

select pg_temp.interrupt();
select tests.as_superuser();
delete from public.memberships where tenant_id = tests.tenant('a') and user_id = tests.person('member');
select is(pg_temp.decide('member', 'retry'), 'PT404 not_found', 'who has left decides nothing');
select is(pg_temp.cancel('member'), 'PT404 not_found', 'nor cancels');

select * from finish();
rollback;
