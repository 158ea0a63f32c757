-- start_run: one run of a session at a time, and of a tenant as many as it may have. due_runs: whose turn it is.
begin;
select plan(84);
select tests.make_world();

-- Queue.
select is(tests.start_run('member', 's1', name => 'first'), 'ok', 'a run');
select is(tests.run('status', 'first'), 'running', 'begins at once');
select is(tests.run_jobs('first'), 0, 'without the queue');
select is(tests.start_run('member', 's1', name => 'second'), 'ok', 'another of the session');
select is(tests.run('status', 'second') || coalesce(tests.run('lease_token', 'second'), ' without a lease'), 'pending without a lease', 'waits');
select is(tests.run_jobs('second'), 1, 'in the queue');
select is(tests.start_run('member', 's1', name => 'third'), 'ok', 'and a third');
select is(tests.claim('second'), false, 'none overtakes the first');
select is(tests.claim('third'), false, 'nor the second');
select is(tests.start_run('member', 's2', name => 'elsewhere'), 'ok', 'a run of another session');
select is(tests.run('status', 'elsewhere'), 'running', 'does not wait');
select tests.forget_run_jobs();
select tests.as_service();
select is_empty('select id from ai.due_runs()', 'nothing is due');
select ai.finish_run(tests.run_id('first'), tests.lease('first'), 'completed', 'It is.');
select is(tests.run_jobs('second') || ' ' || tests.run_jobs('third'), '1 0', 'the end of the first calls the second');
select tests.as_service();
select set_eq('select id from ai.due_runs()', array[tests.run_id('second')], 'which is due');
select is(tests.claim('third'), false, 'the third does not jump the queue');
select ok(tests.claim('second'), 'the second goes on');
select is(tests.kept('second')::jsonb -> 'history', '[{"role": "user", "content": "hello"}, {"role": "assistant", "content": "It is."}]'::jsonb, 'and knows what was said meanwhile');
select is(tests.run('is_resumed', 'second') || tests.run('is_new_session', 'second'), 'falsefalse', 'as one that begins');
select tests.as_superuser();
select private.end_run(tests.run_id('second'), 'cancelled');
select is(tests.run_jobs('third'), 1, 'its end calls the third');
select ok(tests.claim('third'), 'which goes on');
select is(jsonb_array_length(tests.kept('third')::jsonb -> 'history'), 2, 'what was cancelled is no history');

-- A waiting run holds its session, too.
select tests.append(1, '[]', '[{"op": "call_started", "step": 1, "call_id": "c", "is_retry_safe": false}]', 'third');
select is(ai.suspend_run(tests.run_id('third'), tests.lease('third'), 1, '[]', '[]', 'unsafe_call'), 'waiting', 'a run that waits for a person');
select is(tests.start_run('member', 's1', name => 'fourth'), 'ok', 'a run after it');
select is(tests.run('status', 'fourth'), 'pending', 'waits for it');
select is(tests.claim('fourth'), false, 'as long as it takes');

-- Reject.
select is(tests.start_run('member', 's1', 'reject', name => 'refused'), 'PT409 session_busy', 'who does not want to wait is told');
select is(tests.kept('last_detail')::jsonb ->> 'run_id', tests.run('run_id', 'third'), 'for whom');
select is(tests.start_run('member', 's1', name => 'refused', request => '{}'), 'PT409 session_busy', 'so is who could not be taken up again');
select is(tests.start_run('member', 's3', 'reject', name => 'free'), 'ok', 'in a free session it begins');
select is(tests.start_run('member', 's1', 'now', name => 'refused'), 'PT400 invalid_request', 'any other strategy is refused');
select is(tests.start_run('member', 's4', name => 'refused', request => '[]'), 'PT400 invalid_request', 'as is a request that is none');
select is(
  tests.start_run('member', 's4', name => 'refused', request => jsonb_build_object('x', repeat('x', 4194304))), 'PT400 invalid_request', 'or too large'
);

-- Interrupt.
select is(tests.start_run('member', 's1', 'interrupt', name => 'fifth'), 'ok', 'who interrupts');
select is(tests.run('status', 'fifth'), 'running', 'begins at once where nobody works');
select is(tests.status('third'), 'cancelled', 'what waited for a person');
select is(tests.status('fourth'), 'cancelled', 'or for its turn is over');
select is(tests.log('third'), '1 complete', 'and its log');
select is(tests.start_run('member', 's1', 'interrupt', name => 'sixth'), 'ok', 'where somebody does');
select is(tests.run('status', 'sixth'), 'pending', 'it waits for them to stop');
select is(tests.append(1, jsonb_build_array(tests.event('start')), name => 'fifth') ->> 'stop', 'cancelled', 'which they are told');
select is(tests.claim('sixth'), false, 'not sooner');
select tests.as_service();
select ai.finish_run(tests.run_id('fifth'), tests.lease('fifth'), 'cancelled', '');
select ok(tests.claim('sixth'), 'then it begins');
select tests.let_lease_expire('sixth');
select is(tests.start_run('member', 's1', 'interrupt', name => 'seventh'), 'ok', 'where somebody did, and died');
select is(tests.run('status', 'seventh') || ' ' || tests.status('sixth'), 'running cancelled', 'it does not wait for them');
select tests.as_service();
select ai.finish_run(tests.run_id('seventh'), tests.lease('seventh'), 'completed', 'Yes.');

-- Rollback.
select tests.start_run('member', 's1', name => 'wrong');
select is(tests.start_run('member', 's1', 'rollback', name => 'right'), 'ok', 'who takes the place of another');
select is(tests.append(1, name => 'wrong') ->> 'stop', 'cancelled', 'stops it');
select ai.finish_run(tests.run_id('wrong'), tests.lease('wrong'), 'completed', 'Too fast.');
select ok(tests.claim('right'), 'begins after it');
select is(
  (select array_agg(turn ->> 'content' order by place) from jsonb_array_elements(tests.kept('right')::jsonb -> 'history') with ordinality as turns (turn, place) where turn ->> 'role' = 'assistant'),
  array['It is.', 'Yes.'], 'and it is no history, even if it came to its end'
);
select tests.as_superuser();
select is((select rolled_back from ai.agent_runs where id = tests.run_id('wrong')), true, 'it is marked');

-- An executor that died with what it had.
select tests.start_run('member', 's5', name => 'lost', request => '{}');
select tests.let_lease_expire('lost');
select is(tests.start_run('member', 's5', 'reject', name => 'next'), 'ok', 'holds nobody up');
select is(tests.status('lost'), 'failed interrupted', 'but is ended');
select tests.start_run('member', 's6', name => 'lost');
select tests.let_lease_expire('lost');
select is(tests.start_run('member', 's6', name => 'next'), 'ok', 'one that can be taken up');
select is(tests.run('status', 'next') || ' ' || tests.status('lost'), 'pending running', 'comes first');

-- The caps of the tenant.
select tests.as_superuser();
update ai.agent_runs set lease_expires_at = now() + interval '1 minute' where status = 'running';
update ai.tenant_settings set max_running_runs = (select count(*) from ai.agent_runs where status = 'running' and tenant_id = tests.tenant('a')), max_queued_runs = 3
where tenant_id = tests.tenant('a');
select tests.forget_run_jobs();
select is(tests.start_run('viewer', name => 'one'), 'ok', 'where all places are taken');
select is(tests.run('status', 'one'), 'pending', 'a run waits');
select is(tests.claim('one'), false, 'nobody takes it up');
select is(tests.start_run('viewer', name => 'two'), 'ok', 'so does another');
select is(tests.start_run('viewer', name => 'refused'), 'PT409 limit_reached', 'more than may wait are refused');
select is(tests.kept('last_detail')::jsonb ->> 'limit', '3', 'with the number');
select is(tests.start_run('b_member', name => 'theirs', agent => 'b'), 'ok', 'another tenant');
select is(tests.run('status', 'theirs'), 'running', 'has places of its own');
select is(tests.start_run('viewer', name => 'refused', request => '{}'), 'PT409 limit_reached', 'who cannot wait is refused');
select tests.as_service();
select is_empty('select id from ai.due_runs()', 'nothing is due');
select tests.forget_run_jobs();
select tests.as_service();
select ai.finish_run(tests.run_id('free'), tests.lease('free'), 'completed', 'x');
select is(tests.run_jobs('one') || ' ' || tests.run_jobs('two'), '1 0', 'a place calls the oldest that can use it');
select tests.as_service();
select set_eq('select id from ai.due_runs()', array[tests.run_id('one')], 'which is due, and no more than there are places');
select ok(tests.claim('one'), 'and takes it');
select is(tests.claim('two'), false, 'then there is none');
select ok(tests.append(1, jsonb_build_array(tests.event('start')), name => 'one') ->> 'held' = 'true', 'it runs');
select is(ai.suspend_run(tests.run_id('one'), tests.lease('one'), 2, '[]', '[{"op": "call_started", "step": 1, "call_id": "c", "is_retry_safe": false}]', 'unsafe_call'), 'waiting', 'who waits for a person');
select ok(tests.claim('two'), 'needs no place');

-- In the background: for the queue, although there is a place.
select tests.as_superuser();
delete from ai.agent_runs where status in ('pending', 'running', 'waiting');
select is(tests.start_run('member', name => 'later', request => '{"message": "hello", "background": true}'), 'ok', 'a run in the background');
select is(tests.run('status', 'later') || coalesce(tests.run('lease_token', 'later'), ' without a lease'), 'pending without a lease', 'is nobody''s at first');
select is(tests.run_jobs('later'), 1, 'but the queue''s');
select ok(tests.claim('later'), 'from which it is taken');

-- Fair: the tenant with the fewest running first.
select tests.as_superuser();
delete from ai.agent_runs where status in ('pending', 'running', 'waiting');
update ai.tenant_settings set max_running_runs = 0;
select tests.start_run('member', name => 'a1');
select tests.start_run('member', name => 'a2');
select tests.start_run('member', name => 'a3');
select tests.start_run('b_member', name => 'b1', agent => 'b');
select tests.start_run('b_member', name => 'b2', agent => 'b');
select tests.as_superuser();
update ai.tenant_settings set max_running_runs = 100;
create function pg_temp.order_of(most int) returns text[] language sql as $$
  select array_agg((select name from unnest(array['a1', 'a2', 'a3', 'b1', 'b2']) as name where tests.run_id(name) = due.id) order by due.place) from ai.due_runs(most) with ordinality as due (id, tenant_id, place);
$$;
select tests.as_service();
select is(pg_temp.order_of(10), array['b1', 'a1', 'b2', 'a2', 'a3'], 'tenants take turns, first who was served longest ago');
select is(pg_temp.order_of(3), array['b1', 'a1', 'b2'], 'as far as one asks');
select tests.claim('a1');
select is(pg_temp.order_of(10), array['b1', 'b2', 'a2', 'a3'], 'who has one running comes after who has none');
select is((select array_agg(tenant_id) from ai.due_runs(1, array[tests.tenant('b')])), array[tests.tenant('b'), tests.tenant('a')], 'the first of a tenant that is not present is on the list, however short it is');
select is((select array_agg(tenant_id) from ai.due_runs(1, array[tests.tenant('a'), tests.tenant('b')])), array[tests.tenant('b')], 'of those present only as many as one asks for');
select is((select count(*) from ai.due_runs(4, '{}')), 4::bigint, 'who is on the list already is not on it twice');
select tests.let_lease_expire('a1');
select tests.as_service();
select is((pg_temp.order_of(1)), array['a1'], 'before all, what has lost its executor');

-- Chat.
select tests.keep('message', (
  select id::text from public.chat_messages where user_id = tests.person('member') and content = 'a_member' limit 1
));
select tests.sign_in('member');
select tests.keep('turn', public.begin_chat_turn(message => 'hello')::text);
select tests.sign_in('admin');
select is(
  tests.outcome(format('select ai.start_run(%L, message => %L, chat_message_id => %L)', tests.id('agent a'), 'x', tests.kept('turn')::jsonb ->> 'message_id')), 'PT404 not_found',
  'nobody answers another''s message'
);
select tests.sign_in('member');
select is(
  tests.outcome(format('select tests.keep(''run'', ai.start_run(%L, message => %L, chat_message_id => %L)::text)', tests.id('agent a'), 'x', tests.kept('turn')::jsonb ->> 'message_id')), 'ok',
  'but one''s own'
);
select is((select chat_message_id::text from ai.agent_runs where id = tests.run_id()), tests.kept('turn')::jsonb ->> 'message_id', 'which the run knows');

select * from finish();
rollback;
