-- append_run_events, beat_run, finish_run: an ordered log, written once, by the holder of the lease.
begin;
select plan(61);
select tests.make_world();

select is(tests.start_run('member'), 'ok', 'a run');
select is(tests.run('status') || ' ' || tests.run('last_seq'), 'running 0', 'that its caller executes, with an empty log');
select is(
  tests.append(1, jsonb_build_array(tests.event('start'), tests.delta('Hel', 0))), '{"held": true, "last_seq": 2, "stop": null}'::jsonb, 'events'
);
select is(tests.append(3, jsonb_build_array(tests.delta('lo', 3))) ->> 'last_seq', '3', 'and more of them');
select is(tests.log(), '1 start, 2 content_delta, 3 content_delta', 'are numbered without gaps');
select is(
  (select payload from ai.run_events where run_id = tests.run_id() and seq = 2), '{"event": "content_delta", "type": "content_delta", "delta": "Hel", "off": 0}'::jsonb, 'as they are sent to clients'
);
select is((select user_id from ai.run_events where run_id = tests.run_id() and seq = 2), tests.person('member'), 'for the person of the run');

-- Sent again.
select is(tests.append(3, jsonb_build_array(tests.delta('lo', 3))) ->> 'last_seq', '3', 'what got lost on the way back is sent again');
select is(tests.log(), '1 start, 2 content_delta, 3 content_delta', 'and not written again');
select is(
  tests.append(2, jsonb_build_array(tests.delta('forged', 0), tests.delta('forged', 3), tests.event('step_started'))) ->> 'last_seq', '4', 'with something new behind it'
);
select is(tests.log(), '1 start, 2 content_delta, 3 content_delta, 4 step_started', 'only that is written');
select is((select string_agg(payload ->> 'delta', '' order by seq) from ai.run_events where run_id = tests.run_id()), 'Hello', 'and the log stays as it was');

-- Gaps.
select tests.as_service();
select is(
  tests.outcome(format('select ai.append_run_events(%L, %L, 6, %L)', tests.run_id(), tests.lease(), jsonb_build_array(tests.event('late')))), 'PT409 conflict', 'a gap is refused'
);
select is(tests.outcome(format('select ai.append_run_events(%L, %L, 0, %L)', tests.run_id(), tests.lease(), jsonb_build_array(tests.event('x')))), 'PT409 conflict', 'and a number before the first');
select is(tests.outcome(format('select ai.append_run_events(%L, %L, null, %L)', tests.run_id(), tests.lease(), jsonb_build_array(tests.event('x')))), 'PT409 conflict', 'and none');
select is(tests.outcome(format('select ai.append_run_events(%L, %L, 5, %L)', tests.run_id(), tests.lease(), '[{"event": "x"}]')), '23502', 'an event says its type');
select is(tests.log(), '1 start, 2 content_delta, 3 content_delta, 4 step_started', 'of which nothing is left');

select tests.as_service();
select is(
  tests.outcome(format('select ai.append_run_events(%L, %L, 5, %L)', tests.run_id(), tests.lease(), jsonb_build_array(tests.event('complete')))), '22023', 'the last event comes with the end'
);
select is(
  tests.outcome(format('select ai.suspend_run(%L, %L, 5, %L, %L, null)', tests.run_id(), tests.lease(), jsonb_build_array(tests.event('complete')), '[]')), '22023', 'and not before it'
);

-- The journal goes with the events.
select is(
  tests.append(
    5, jsonb_build_array(tests.event('tool_call')),
    '[{"op": "turn", "step": 1, "state": "made", "raw_text": "secret", "usage": {"total_tokens": 7, "prompt_tokens": 4, "completion_tokens": 3}},
      {"op": "call_started", "step": 1, "call_id": "c1", "is_retry_safe": false, "tool_name": "write", "arguments": {"a": 1}}]'
  ) ->> 'last_seq', '5', 'a turn and a call'
);
select tests.as_service();
select is((select turn ->> 'raw_text' from ai.run_steps where run_id = tests.run_id()), 'secret', 'are noted');
select is((select jsonb_build_array(calls -> 'c1' -> 'started' -> 'is_retry_safe', calls -> 'c1' -> 'started' ->> 'tool_name', calls -> 'c1' -> 'finished', calls -> 'c1' -> 'decision') from ai.run_steps where run_id = tests.run_id()), '[false, "write", null, null]'::jsonb, 'whole');
select is(
  tests.outcome(format(
    'select ai.append_run_events(%L, %L, 6, %L, %L)', tests.run_id(), tests.lease(), jsonb_build_array(tests.event('tool_result')),
    '[{"op": "call_finished", "step": 1, "call_id": "c1", "text": "done"}, {"op": "forget"}]'
  )), '22023', 'an entry nobody knows'
);
select is((select calls -> 'c1' -> 'finished' from ai.run_steps where run_id = tests.run_id()), null, 'undoes those before it');
select is((select max(seq) from ai.run_events where run_id = tests.run_id()), 5, 'and the events');
select tests.append(
  6, jsonb_build_array(tests.event('tool_result')),
  '[{"op": "call_finished", "step": 1, "call_id": "c1", "text": "done", "duration_ms": 12}, {"op": "step_done", "step": 1, "record": {"step": 1}}]'
);
select tests.append(
  6, jsonb_build_array(tests.event('tool_result')),
  '[{"op": "call_finished", "step": 1, "call_id": "c1", "text": "forged"}, {"op": "step_done", "step": 1, "record": {"step": 9}}, {"op": "turn", "step": 1, "raw_text": "forged"}]'
);
select is(
  (
    select jsonb_build_array(record, turn ->> 'raw_text', calls -> 'c1' -> 'finished' ->> 'text', completed_at is not null)
    from ai.run_steps
    where run_id = tests.run_id()
  ), '[{"step": 1}, "secret", "done", true]'::jsonb, 'what is over stays as it was'
);

-- One version of one row for what is told of a step at once, and none of the run.
create function pg_temp.versions() returns text language sql as $$
  select concat_ws(' ', (select ctid from ai.agent_runs where id = tests.run_id()), (select ctid from ai.run_steps where run_id = tests.run_id() and step = 2));
$$;
select tests.as_superuser();
select tests.keep('versions', pg_temp.versions());
select tests.append(7, jsonb_build_array(tests.event('step_started', '{"step": 2}')), '[{"op": "turn", "step": 2, "state": "begun"}]');
select tests.as_superuser();
select is(pg_temp.versions(), tests.kept('versions'), 'that a step has begun is in the log alone');
select tests.append(
  8, jsonb_build_array(tests.event('tool_call')),
  '[{"op": "turn", "step": 2, "state": "made"}, {"op": "call_checked", "step": 2, "call_id": "c2", "checks": [{"hook": "h"}]},
    {"op": "call_started", "step": 2, "call_id": "c2", "is_retry_safe": true}, {"op": "call_started", "step": 2, "call_id": "c3", "is_retry_safe": true}]'
);
select tests.as_superuser();
select is((select turn ->> 'state' || ' ' || (calls -> 'c2' -> 'checked' -> 0 ->> 'hook') || ' ' || (calls ? 'c3') from ai.run_steps where run_id = tests.run_id() and step = 2), 'made h true', 'a turn, its calls and what hooks said');
select is((select ctid from ai.agent_runs where id = tests.run_id())::text, tests.kept('versions'), 'and the run stays as it was');
select is((select count(*)::int from ai.run_steps where run_id = tests.run_id()), 2, 'in one row');
select tests.keep('versions', pg_temp.versions());
select tests.append(8, '[]', '[{"op": "turn", "step": 2, "state": "made"}, {"op": "call_started", "step": 2, "call_id": "c2", "is_retry_safe": true}]');
select tests.as_superuser();
select is(pg_temp.versions(), tests.kept('versions'), 'told again, nothing is written');
select tests.append(9, '[]', '[{"op": "turn", "step": 3, "state": "begun"}]');
select tests.as_service();
select is((select turn ->> 'state' from ai.run_steps where run_id = tests.run_id() and step = 3), 'begun', 'a step that no event tells of has a row');
update ai.agent_runs set lease_expires_at = now() + interval '6 seconds' where id = tests.run_id();
select tests.append(9, jsonb_build_array(tests.event('tool_result')));
select tests.as_superuser();
select is((select lease_expires_at || ' ' || last_seq from ai.agent_runs where id = tests.run_id()), now() + interval '10 seconds' || ' 9', 'a lease that is a third used up is renewed');
select tests.append(10, jsonb_build_array(tests.event('step_started', '{"step": 4}')));
select tests.let_lease_expire();
select tests.claim();
select is(tests.run('last_seq') || ' ' || (tests.kept('run')::jsonb -> 'steps' -> -1)::text, '10 {"step": 4, "turn": {"op": "turn", "step": 4, "state": "begun"}, "calls": [], "record": null}', 'who takes it up hears of all of it');
select is(jsonb_array_length(tests.kept('run')::jsonb -> 'steps'), 4, 'in order');

-- The lease.
select is(ai.beat_run(tests.run_id(), tests.lease(), 10), '{"held": true, "last_seq": 10, "stop": null}'::jsonb, 'the executor hears how far it is');
select tests.as_superuser();
update ai.agent_runs set lease_expires_at = now() + interval '8 seconds' where id = tests.run_id();
select tests.as_service();
select ai.beat_run(tests.run_id(), tests.lease(), 10);
select is((select lease_expires_at from ai.agent_runs where id = tests.run_id()), now() + interval '8 seconds', 'and writes nothing while most of the lease is left');
select tests.as_superuser();
update ai.agent_runs set lease_expires_at = now() + interval '6 seconds' where id = tests.run_id();
select tests.as_service();
select ai.beat_run(tests.run_id(), tests.lease(), 10);
select is((select lease_expires_at from ai.agent_runs where id = tests.run_id()), now() + interval '10 seconds', 'then it is renewed');
select is(tests.append(1, lease => gen_random_uuid()), '{"held": false, "last_seq": null, "stop": null}'::jsonb, 'another lease writes nothing');
select is(ai.beat_run(tests.run_id(), gen_random_uuid()) ->> 'held', 'false', 'and hears nothing');
select is(ai.suspend_run(tests.run_id(), gen_random_uuid(), 11, '[]', '[]', null), null, 'nor puts the run down');
select is(ai.finish_run(tests.run_id(), gen_random_uuid(), 'completed', 'forged', first_seq => 11, events => jsonb_build_array(tests.event('complete'))), false, 'nor ends it');
select is((select status || ' ' || last_seq from ai.agent_runs where id = tests.run_id()), 'running 10', 'it goes on');

-- Who reads it.
select tests.sign_in('member');
select is((select count(*)::int from ai.run_events where run_id = tests.run_id()), 10, 'the person reads the log');
select is((select record from ai.run_steps where run_id = tests.run_id() and step = 1), '{"step": 1}'::jsonb, 'and the steps');
select is(tests.outcome('select turn from ai.run_steps'), '42501', 'but not what the model said before any filter');
select is(tests.outcome('select calls from ai.run_steps'), '42501', 'nor what executors keep');
select is(tests.outcome('select request from private.run_requests'), '42501', 'nor the request');
select is(tests.outcome('select lease_token from ai.agent_runs'), '42501', 'nor the lease');
select is(
  tests.outcome(format('select ai.append_run_events(%L, %L, 11, %L)', tests.run_id(), tests.lease(), jsonb_build_array(tests.event('mine')))), '42501', 'and writes nothing, even with it'
);
select tests.sign_in('admin');
select is_empty(format('select seq from ai.run_events where run_id = %L', tests.run_id()), 'an admin does not read it');
select tests.sign_in('b_owner');
select is_empty(format('select seq from ai.run_events where run_id = %L', tests.run_id()), 'nor another tenant');
select tests.sign_in('backend_a');
select isnt_empty(format('select seq from ai.run_events where run_id = %L', tests.run_id()), 'the backend does');

-- The end.
select tests.as_service();
select is(
  tests.outcome(format(
    'select ai.finish_run(%L, %L, %L, %L, first_seq => 13, events => %L)', tests.run_id(), tests.lease(), 'completed', 'Hello', jsonb_build_array(tests.event('complete'))
  )), 'PT409 conflict', 'a gap before the end is refused'
);
select is(
  ai.finish_run(
    tests.run_id(), tests.lease(), 'completed', 'Hello', first_seq => 11, events => jsonb_build_array(tests.event('chunk'), tests.event('complete')),
    journal => '[{"op": "step_done", "step": 2, "record": {}}]'
  ), true, 'answer, last events and status at once'
);
select is(tests.status(), 'completed', 'it is over');
select is((select string_agg(type, ' ' order by seq) from ai.run_events where run_id = tests.run_id() and seq > 10), 'chunk complete', 'and the log ends with complete');
select is((select count(*)::int from private.run_requests where run_id = tests.run_id()), 0, 'the request is forgotten');
select is(tests.append(13, jsonb_build_array(tests.event('late'))) ->> 'held', 'false', 'after the end nothing is written');

-- Without events of the executor.
select tests.start_run('member');
select tests.as_service();
select ai.finish_run(tests.run_id(), tests.lease(), 'failed', null, error => 'Sorry.', error_code => 'unavailable');
select is(tests.log(), '1 complete', 'every log ends with complete');
select is(
  (select jsonb_build_array(payload -> 'status', payload -> 'error', payload -> 'run_id') from ai.run_events where run_id = tests.run_id()),
  jsonb_build_array('failed', 'Sorry.', tests.run('run_id')), 'that says how it was'
);

select * from finish();
rollback;
