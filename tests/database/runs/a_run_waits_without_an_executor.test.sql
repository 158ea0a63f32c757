-- suspend_run and wake_run: put down, waiting for a person or for another executor, and taken up again.
begin;
select plan(37);
select tests.make_world();

create function pg_temp.suspend(first_seq int, reason text, events jsonb default '[]', journal jsonb default '[]')
returns text
language plpgsql
as $$
begin
  perform tests.as_service();
  return ai.suspend_run(tests.run_id(), tests.lease(), first_seq, events, journal, reason);
end;
$$;
-- As when a gate asks for an approval.
create function pg_temp.ask(call_id text, expires_at timestamptz default now() + interval '1 day')
returns void
language plpgsql
as $$
begin
  perform tests.as_superuser();
  insert into ai.approvals (tenant_id, run_id, user_id, call_id, tool_name, tool_input, input_hash, expires_at)
  values (tests.tenant('a'), tests.run_id(), tests.person('member'), call_id, 'x', '{}', repeat('0', 64), ask.expires_at);
end;
$$;
create function pg_temp.answer(call text)
returns void
language plpgsql
as $$
begin
  perform tests.as_superuser();
  update ai.approvals set status = 'approved', decided_at = now() where run_id = tests.run_id() and call_id = call;
end;
$$;

-- As when the gate asks again, and hears the answer.
create function pg_temp.hear()
returns void
language plpgsql
as $$
begin
  perform tests.as_superuser();
  update ai.approvals set status = case when status = 'pending' then 'expired' else status end, consumed_at = now() where run_id = tests.run_id();
end;
$$;

-- Handed over.
select tests.start_run('member', 's');
select tests.append(1, jsonb_build_array(tests.event('start')));
select is(
  pg_temp.suspend(2, null, jsonb_build_array(tests.event('step_started')), '[{"op": "step_done", "step": 1, "record": {}}]'), 'pending', 'a run is handed over'
);
select is(tests.status() || ': ' || tests.log(), 'pending: 1 start, 2 step_started', 'with its last events');
select is(tests.run_jobs(), 1, 'to the queue');
select is(tests.append(3, jsonb_build_array(tests.event('late'))) ->> 'held', 'false', 'who handed it over writes no more');
select is(pg_temp.suspend(3, null), null, 'nor hands it over again');
select ok(tests.claim(), 'another takes it up');
select is(tests.run('attempts') || ' ' || tests.run('is_resumed') || ' ' || tests.run('last_seq'), '1 true 2', 'where it was');
select tests.as_superuser();
select is((select started_at from ai.agent_runs where id = tests.run_id()), now(), 'it began when it began');

-- A gap writes nothing.
select tests.as_service();
select is(
  tests.outcome(format('select ai.suspend_run(%L, %L, 9, %L, %L, null)', tests.run_id(), tests.lease(), jsonb_build_array(tests.event('x')), '[]')), 'PT409 conflict', 'a gap is refused'
);
select is(tests.outcome(format('select ai.suspend_run(%L, %L, 3, %L, %L, %L)', tests.run_id(), tests.lease(), '[]', '[]', 'tea')), '22023', 'and any other reason');
select is(tests.status(), 'running', 'it runs');

-- An approval that has not been given.
select pg_temp.ask('c1');
select tests.forget_run_jobs();
select is(pg_temp.suspend(3, 'approval', jsonb_build_array(tests.event('run_paused'))), 'waiting', 'a call that needs a person');
select is(tests.status(), 'waiting approval', 'holds no executor');
select is(tests.run_jobs(), 0, 'nor a place in the queue');
select is(tests.claim(), false, 'nobody takes it up');
select tests.as_superuser();
select is((select status from ai.approvals where run_id = tests.run_id()), 'pending', 'the approval stays');
update ai.agent_runs set created_at = now() - interval '31 days' where id = tests.run_id();
select tests.as_service();
select is_empty('select id from ai.due_runs()', 'however long it takes');
select pg_temp.answer('c1');
select tests.as_service();
select is(private.wake_run(tests.run_id()), true, 'decided, it goes on');
select is(tests.status(), 'pending', 'as soon as somebody takes it up');
select is(tests.run_jobs(), 1, 'who is called');
select tests.as_service();
select is(private.wake_run(tests.run_id()), false, 'twice is once');
select is(tests.run_jobs(), 1, 'for them, too');
select ok(tests.claim(), 'an executor');
select tests.as_service();
select is(private.wake_run(tests.run_id()), false, 'a run that is held is not woken');
select is(private.wake_run(gen_random_uuid()), false, 'nor one that is not there');

-- Decided between asking and putting down: nobody would come back.
select pg_temp.hear();
select tests.append(4, '[]', '[{"op": "step_done", "step": 2, "record": {}}]');
select pg_temp.ask('c2');
select pg_temp.answer('c2');
select tests.as_service();
select is(private.wake_run(tests.run_id()), false, 'the decision finds it running');
select tests.forget_run_jobs();
select is(pg_temp.suspend(4, 'approval'), 'pending', 'so it does not wait');
select is(tests.run_jobs(), 1, 'but goes on');
select ok(tests.claim(), 'and on');
select pg_temp.hear();
select pg_temp.ask('c3', now() - interval '1 second');
select is(pg_temp.suspend(4, 'approval'), 'pending', 'nor does it for what has expired');
select ok(tests.claim(), 'the executor finds out');
select is(tests.run('attempts'), '3', 'and a run that gets nowhere is noticed');

-- Ended while it waits.
select pg_temp.hear();
select pg_temp.ask('c4');
select is(pg_temp.suspend(4, 'approval'), 'waiting', 'once more');
select tests.sign_in('member');
select ai.cancel_run(tests.run('run_id'));
select tests.as_superuser();
select is((select string_agg(status, ' ' order by call_id) from ai.approvals where run_id = tests.run_id()), 'approved approved expired expired', 'with the run all that waits ends');
select is(private.wake_run(tests.run_id()), false, 'and nothing wakes it');
select is(tests.status(), 'cancelled', 'it is over');
select is(tests.log(), '1 start, 2 step_started, 3 run_paused, 4 complete', 'for all who read along');

select * from finish();
rollback;
