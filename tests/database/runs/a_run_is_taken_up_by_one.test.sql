-- claim_run: whoever takes a run up goes on from its journal; who held it before writes nothing more.
begin;
select plan(69);
select tests.make_world();

-- Held.
select tests.start_run('member', 'long');
select tests.as_superuser();
select is(
  (select lease_expires_at from ai.agent_runs where id = tests.run_id()), now() + interval '7 seconds',
  'a run is held from its beginning, no longer than lets another take it up within ten seconds'
);
select tests.as_service();
select tests.keep('settled', ai.reserve_tokens(tests.run_id(), tests.lease(), 1, 'm', 3) ->> 'id');
select tests.keep('uncounted', ai.reserve_tokens(tests.run_id(), tests.lease(), 2, 'm', 4) ->> 'id');
select tests.keep('open', ai.reserve_tokens(tests.run_id(), tests.lease(), 2, 'm', 8) ->> 'id');
select tests.start_run('b_member', name => 'other', agent => 'b');
select tests.append(1, '[]', jsonb_build_array(
  jsonb_build_object('op', 'tokens_used', 'reservation_id', tests.kept('settled'), 'usage', '{"total_tokens": 5, "prompt_tokens": 3, "completion_tokens": 2}'::jsonb),
  jsonb_build_object('op', 'tokens_used', 'reservation_id', tests.kept('uncounted'), 'usage', null)
));
select set_eq(
  format('select step, total_tokens, is_estimate from ai.usage_entries where run_id = %L', tests.run_id()), 'values (1, 5::bigint, false), (2, 4::bigint, true)', 'tokens are settled with the journal'
);
select tests.append(1, '[]', jsonb_build_array(jsonb_build_object('op', 'tokens_used', 'reservation_id', tests.kept('settled'), 'usage', '{"total_tokens": 100}'::jsonb)));
select tests.append(1, '[]', jsonb_build_array(jsonb_build_object('op', 'tokens_used', 'reservation_id', tests.kept('open'), 'usage', null)), 'other');
select is((select sum(total_tokens)::int from ai.usage_entries where run_id = tests.run_id()), 9, 'once, and by the run whose they are');
select tests.append(
  1, jsonb_build_array(tests.event('start'), tests.event('tool_call')),
  '[{"op": "turn", "step": 1, "usage": {"total_tokens": 5}}, {"op": "step_done", "step": 1, "record": {"step": 1}},
    {"op": "turn", "step": 2, "usage": {"total_tokens": 6}},
    {"op": "call_started", "step": 2, "call_id": "c1", "is_retry_safe": true, "tool_name": "read", "arguments": {}},
    {"op": "call_finished", "step": 2, "call_id": "c1", "tool_name": "read", "arguments": {"q": 1}, "text": "found", "duration_ms": 30},
    {"op": "call_started", "step": 2, "call_id": "c2", "is_retry_safe": false, "tool_name": "write", "arguments": {}}]'
);
select tests.keep('first', tests.kept('run'));
select is(tests.claim(), false, 'a run that is held is not taken up');
select is(tests.status(), 'running', 'and goes on');

-- Taken over.
select tests.let_lease_expire();
select tests.as_service();
select set_eq('select id from ai.due_runs()', array[tests.run_id()], 'one whose executor died is due');
select ok(tests.claim('run', 'second'), 'and is taken up');
select isnt(tests.lease(), tests.lease('first'), 'under a lease of its own');
select is(
  tests.kept('run')::jsonb - array['lease_token', 'history', 'steps', 'usage', 'principal_id', 'retrieved_context', 'context_handler_id'],
  jsonb_build_object(
    'id', tests.run_id('first'), 'run_id', tests.run('run_id', 'first'), 'session_id', 'long', 'session_uuid', tests.run('session_uuid', 'first'), 'is_new_session', true,
    'tenant_id', tests.tenant('a'), 'user_id', tests.person('member'), 'agent_id', tests.id('agent a'), 'request', '{"message": "hello"}'::jsonb, 'streams', true,
    'last_seq', 2, 'attempts', 2, 'is_resumed', true
  ), 'with all that is needed'
);
select is(
  tests.kept('run')::jsonb -> 'steps',
  '[
    {"step": 1, "turn": {"op": "turn", "step": 1, "usage": {"total_tokens": 5}}, "record": {"step": 1}, "calls": []},
    {"step": 2, "turn": {"op": "turn", "step": 2, "usage": {"total_tokens": 6}}, "record": null, "calls": [
      {"call_id": "c1", "is_retry_safe": true, "decision": null, "checked": null, "started": {"op": "call_started", "step": 2, "call_id": "c1", "is_retry_safe": true, "tool_name": "read", "arguments": {}},
       "finished": {"op": "call_finished", "step": 2, "call_id": "c1", "tool_name": "read", "arguments": {"q": 1}, "text": "found", "duration_ms": 30}},
      {"call_id": "c2", "is_retry_safe": false, "decision": null, "checked": null, "started": {"op": "call_started", "step": 2, "call_id": "c2", "is_retry_safe": false, "tool_name": "write", "arguments": {}}, "finished": null}
    ]}
  ]'::jsonb, 'and where it was'
);
select tests.as_superuser();
select is((select executor from ai.agent_runs where id = tests.run_id()), 'second', 'it is known who has it');
select is((select lease_expires_at from ai.agent_runs where id = tests.run_id()), now() + interval '10 seconds', 'and until when');
select is(tests.claim('run', 'third'), false, 'a third finds nothing');

select is(
  tests.kept('run')::jsonb -> 'usage', '{"prompt_tokens": 15, "completion_tokens": 2, "total_tokens": 17, "reasoning_tokens": 0, "cached_tokens": 0}'::jsonb,
  'and what was used, with the estimate of the call that nobody heard the end of'
);

-- Too late.
select is(tests.append(3, jsonb_build_array(tests.event('late')), lease => tests.lease('first')) ->> 'held', 'false', 'the first writes no events');
select is(ai.beat_run(tests.run_id(), tests.lease('first')) ->> 'held', 'false', 'keeps no lease');
select is(ai.suspend_run(tests.run_id(), tests.lease('first'), 3, jsonb_build_array(tests.event('late')), '[]', null), null, 'hands nothing over');
select is(ai.finish_run(tests.run_id(), tests.lease('first'), 'completed', 'late', first_seq => 3, events => jsonb_build_array(tests.event('complete'))), false, 'ends nothing');
select is(ai.record_run_trace(tests.run_id(), tests.lease('first'), '[]', '[]', '[]', '[]'), false, 'records nothing');
select is(ai.run_configuration(tests.run_id(), tests.lease('first')), null, 'reads no configuration');
select is(ai.delegate_run(tests.run_id(), tests.lease('first')), null, 'and gets no token');
select is(tests.log(), '1 start, 2 tool_call', 'the log is as it was');
select is(tests.append(3, jsonb_build_array(tests.event('tool_result'))) ->> 'last_seq', '3', 'the second goes on behind it');

-- Again and again.
select tests.as_superuser();
update ai.agent_runs set attempts = 9 where id = tests.run_id();
select tests.let_lease_expire();
select ok(tests.claim(), 'nine executors died, the tenth tries');
select is(tests.run('attempts'), '10', 'and knows');
select tests.append(4, '[]', '[{"op": "step_done", "step": 2, "record": {"step": 2}}]');
select tests.let_lease_expire();
select ok(tests.claim(), 'it got further: so does another');
select is(tests.run('attempts'), '2', 'counted anew');
select tests.as_superuser();
update ai.agent_runs set attempts = 10 where id = tests.run_id();
select is(tests.claim(), false, 'a lease that has not run out');
select is(tests.status(), 'running', 'ends nothing');
select tests.let_lease_expire();
select is(tests.claim(), false, 'after ten that got no further');
select is(tests.status(), 'failed interrupted', 'the run is given up');
select is(tests.log(), '1 start, 2 tool_call, 3 tool_result, 4 error, 5 complete', 'and the log says so');
select is(
  (select payload - array['ts', 'tool_calls', 'usage'] from ai.run_events where run_id = tests.run_id() and type = 'complete'),
  jsonb_build_object(
    'event', 'complete', 'type', 'complete', 'run_id', tests.run('run_id'), 'session_id', 'long', 'context_handler_id', null, 'content', '', 'retrieved_items', 0,
    'is_new_session', true, 'status', 'failed', 'steps', 2, 'error', 'The run was interrupted.', 'code', 'interrupted', 'provider', null, 'model', null
  ), 'in the words of the agent API'
);
select is(
  (select payload -> 'tool_calls' from ai.run_events where run_id = tests.run_id() and type = 'complete'),
  '[{"step": 2, "call_id": "c1", "tool_name": "read", "arguments": {}, "result": "found", "duration_ms": 30}]'::jsonb, 'with the calls that were made'
);
select is((select payload -> 'usage' ->> 'total_tokens' from ai.run_events where run_id = tests.run_id() and type = 'complete'), '17', 'and what they cost');
select is((select payload ->> 'code' from ai.run_events where run_id = tests.run_id() and type = 'error'), 'interrupted', 'after the error');
select is((select jsonb_build_array(total_tokens, tool_call_count, jsonb_array_length(steps), lease_token) from ai.agent_runs where id = tests.run_id()), '[17, 1, 2, null]'::jsonb, 'as the run does');
select is((select count(*)::int from private.run_requests where run_id = tests.run_id()), 0, 'the request is forgotten');
select is((select status || ' ' || result from ai.tool_call_events where agent_run_id = tests.run_id()), 'success found', 'the calls are listed');
select is(tests.claim(), false, 'a run that is over is not taken up');

-- Without a request nobody can go on.
select tests.start_run('member', request => '{}');
select tests.as_superuser();
select is((select lease_expires_at from ai.agent_runs where id = tests.run_id()), now() + interval '2 minutes', 'who cannot be replaced has more time');
select tests.let_lease_expire();
select is(tests.claim(), false, 'it is not taken up');
select is(tests.status(), 'failed interrupted', 'but ended');

-- What must not go on.
select tests.start_run('both');
select tests.as_superuser();
delete from public.memberships where tenant_id = tests.tenant('a') and user_id = tests.person('both');
select is(tests.append(1, jsonb_build_array(tests.event('start'))), '{"held": true, "last_seq": 1, "stop": "membership_lost"}'::jsonb, 'who has left: the executor is told');
select is(ai.beat_run(tests.run_id(), tests.lease()) ->> 'stop', 'membership_lost', 'each time');
select tests.let_lease_expire();
select is(tests.claim(), false, 'nobody takes it up');
select is(tests.status(), 'failed membership_lost', 'it ends');
select is(tests.log(), '1 start, 2 error, 3 complete', 'with its events');
select tests.as_superuser();
insert into public.memberships (tenant_id, user_id, role) values (tests.tenant('a'), tests.person('both'), 'member');

select tests.start_run('both');
select tests.sign_in('admin');
update ai.agents set published = false where id = tests.id('agent a');
select is(tests.append(1) ->> 'stop', 'agent_unpublished', 'an agent that is taken away: the executor is told');
select is(tests.start_run('member', name => 'refused'), 'PT409 agent_unpublished', 'nobody begins another');
select tests.let_lease_expire();
select is(tests.claim(), false, 'nobody takes it up');
select is(tests.status(), 'failed agent_unpublished', 'it ends');
select tests.sign_in('admin');
update ai.agents set published = true where id = tests.id('agent a');
select is(tests.start_run('member'), 'ok', 'published again, its runs begin');
select is(tests.append(1) ->> 'stop', null, 'and go on');

select tests.start_run('member', name => 'gone', agent => 'demoted');
select tests.as_superuser();
delete from ai.agents where id = tests.id('agent demoted');
select is(tests.append(1, name => 'gone') ->> 'stop', 'agent_unpublished', 'an agent that is deleted is published no more');

select is(tests.start_run('backend_a', name => 'backend'), 'ok', 'the backend, for nobody in particular');
select is(tests.append(1, name => 'backend') ->> 'stop', null, 'may go on');
select tests.as_superuser();
update private.tenant_principals set id = gen_random_uuid() where tenant_id = tests.tenant('a');
select is(tests.append(1, name => 'backend') ->> 'stop', 'membership_lost', 'until its principal is another');

-- No tokens left.
select tests.start_run('member', 'busy');
select tests.start_run('member', 'busy', name => 'poor');
select is(tests.run('status', 'poor'), 'pending', 'a run that waits for another');
select tests.as_superuser();
insert into ai.budgets (tenant_id, scope, period, max_tokens) values (tests.tenant('a'), 'tenant', 'total', 0);
select is(tests.claim('poor'), false, 'does not go on before its turn');
select is(tests.status('poor'), 'pending', 'and stays');
select tests.as_superuser();
select private.end_run(tests.run_id(), 'cancelled');
select is(tests.claim('poor'), false, 'nor, when it comes, with an empty budget');
select is(tests.status('poor'), 'failed insufficient_credits', 'but ends');
select is(tests.start_run('member', name => 'refused'), 'PT402 insufficient_credits', 'as others do not begin');

-- Whose functions these are.
select tests.sign_in('member');
select is(tests.outcome(format('select ai.claim_run(%L, %L)', tests.run_id(), 'me')), '42501', 'people take no runs up');
select is(tests.outcome(format('select private.claim_run(%L, %L, 10)', tests.run_id(), 'me')), '42501', 'by no name');
select is(tests.outcome('select id from ai.due_runs()'), '42501', 'and learn of none');
select is(tests.outcome(format('select private.end_run(%L, %L)', tests.run_id(), 'cancelled')), '42501', 'nor end them');
select is(tests.outcome(format('select private.wake_run(%L)', tests.run_id())), '42501', 'nor wake them');

select * from finish();
rollback;
