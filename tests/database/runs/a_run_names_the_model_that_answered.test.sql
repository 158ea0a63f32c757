-- A run names the model that was asked for until it has ended, and then the one that answered; its calls name the one that wrote them.
begin;
select plan(9);
select tests.make_world();
delete from ai.agent_runs;
create function pg_temp.start(name text) returns text language sql as $$
  select tests.keep(name, ai.start_run(tests.id('agent a'), name, 'Hello?', model => 'asked', provider => 'openai', request => '{"message": "x"}')::text);
$$;
create function pg_temp.id(name text) returns uuid language sql as $$ select (tests.kept(name)::jsonb ->> 'id')::uuid; $$;
create function pg_temp.lease(name text) returns uuid language sql as $$ select (tests.kept(name)::jsonb ->> 'lease_token')::uuid; $$;
create function pg_temp.model(name text) returns text language sql as $$ select model from ai.agent_runs where id = pg_temp.id(name); $$;
create function pg_temp.calls(name text) returns text language sql as $$
  select string_agg(step || ' ' || model, ', ' order by step) from ai.tool_call_events where agent_run_id = pg_temp.id(name);
$$;
create function pg_temp.told(name text) returns text language sql as $$
  select payload ->> 'model' from ai.run_events where run_id = pg_temp.id(name) and type = 'complete';
$$;

select tests.sign_in('member');
select pg_temp.start('finished');
select pg_temp.start('lost');
select pg_temp.start('plain');
select tests.as_service();
select is(pg_temp.model('finished'), 'asked', 'the one that is asked for');
select ai.finish_run(
  pg_temp.id('finished'), pg_temp.lease('finished'), 'completed', 'Yes.',
  trace => '{"steps": [{"step": 1, "model": "asked"}, {"step": 2, "model": "spare"}, {"step": 3, "model": "spare"}],
    "tool_calls": [{"step": 1, "call_id": "c1", "tool_name": "t"}, {"step": 2, "call_id": "c2", "tool_name": "t"}]}'
);
select is(pg_temp.model('finished'), 'spare', 'the one that took its place');
select is(pg_temp.told('finished'), 'spare', 'in its last event too');
select is(pg_temp.calls('finished'), '1 asked, 2 spare', 'a call is of the model of its step');

-- Of one whose executor died, by its journal.
select ai.append_run_events(
  pg_temp.id('lost'), pg_temp.lease('lost'), 1, '[{"event": "start", "type": "start"}]',
  '[{"op": "turn", "step": 1, "state": "made", "model": "asked"}, {"op": "call_finished", "step": 1, "call_id": "c1", "tool_name": "t", "text": "ok", "at": 0},
    {"op": "step_done", "step": 1, "record": {"step": 1, "model": "asked"}},
    {"op": "turn", "step": 2, "state": "made", "model": "spare"}, {"op": "call_finished", "step": 2, "call_id": "c2", "tool_name": "t", "text": "ok", "at": 1},
    {"op": "step_done", "step": 2, "record": {"step": 2, "model": "spare"}}]'
);
select private.end_run(pg_temp.id('lost'), 'failed', 'The run was interrupted.', 'interrupted');
select is(pg_temp.model('lost'), 'spare', 'the model of its last step');
select is(pg_temp.told('lost'), 'spare', 'is told');
select is(pg_temp.calls('lost'), '1 asked, 2 spare', 'and its calls are of theirs');
select is(
  (select payload -> 'tool_calls' -> 0 from ai.run_events where run_id = pg_temp.id('lost') and type = 'complete') ? 'model',
  false, 'complete lists them as always'
);
select ai.finish_run(pg_temp.id('plain'), pg_temp.lease('plain'), 'completed', 'Yes.');
select is(pg_temp.model('plain'), 'asked', 'without a word of steps it stays the one that was asked for');

select * from finish();
rollback;
