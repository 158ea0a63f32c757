-- A write of a run's log holds back the tokens of the call that comes next: once, after what it settles, and without undoing anything
-- when a budget refuses.
begin;
select plan(36);
select tests.make_world();
select tests.as_superuser();
delete from ai.budgets;
delete from ai.usage_entries;

-- A call of the run: `name` stands for the id of its reservation.
create function pg_temp.call(name text, prompt int, wanted int default null)
returns jsonb
language sql
as $$
  select jsonb_build_object(
    'id', tests.id('reservation ' || name), 'step', 1, 'model', 'm', 'prompt_tokens', prompt, 'max_tokens', wanted
  );
$$;
create function pg_temp.write(first_seq int, events jsonb, journal jsonb, reservation jsonb, name text default 'run', lease uuid default null)
returns jsonb
language plpgsql
as $$
begin
  perform tests.as_service();
  return ai.append_run_events(
    tests.run_id(name), coalesce(lease, tests.lease(name)), first_seq, events, journal, reservation => write.reservation
  );
end;
$$;
create function pg_temp.used(name text, tokens int)
returns jsonb
language sql
as $$
  select jsonb_build_array(jsonb_build_object(
    'op', 'tokens_used', 'reservation_id', tests.id('reservation ' || name), 'usage', jsonb_build_object('total_tokens', tokens)
  ));
$$;
create function pg_temp.counter()
returns text
language plpgsql
as $$
begin
  perform tests.as_superuser();
  return (
    select string_agg(format('%s used, %s reserved', used_tokens, reserved_tokens), '; ' order by used_tokens)
    from private.budget_counters
    where budget_id = tests.id('budget a')
  );
end;
$$;
create function pg_temp.held(name text default 'run')
returns text[]
language plpgsql
as $$
begin
  perform tests.as_superuser();
  return array(
    select format('%s of %s', reserved_tokens, prompt_tokens) from private.token_reservations where run_id = tests.run_id(name) order by prompt_tokens
  );
end;
$$;

select is(tests.start_run('member'), 'ok', 'a run');
select is(tests.run('status'), 'running', 'that its caller carries out');

-- Without a budget.
select is(
  pg_temp.write(1, jsonb_build_array(tests.event('step_started', '{"step": 1}')), '[]', pg_temp.call('one', 10)),
  jsonb_build_object('held', true, 'last_seq', 1, 'stop', null, 'grant', jsonb_build_object('id', tests.id('reservation one'), 'max_tokens', null)),
  'no budget, no limit; the id is the caller''s'
);
select is(tests.log(), '1 step_started', 'the events are there');
select is(pg_temp.held(), array['10 of 10'], 'and the reservation');
select results_eq(
  $$select tenant_id, lease_token, user_id, agent_id, step, model, purpose from private.token_reservations where id = tests.id('reservation one')$$,
  $$values (tests.tenant('a'), tests.lease(), tests.person('member'), tests.id('agent a'), 1, 'm', 'chat')$$,
  'whose it is'
);
select is(
  pg_temp.write(1, jsonb_build_array(tests.event('step_started', '{"step": 1}')), '[]', pg_temp.call('one', 10)) -> 'grant' ->> 'id',
  tests.id('reservation one')::text, 'sent again, it finds what it holds'
);
select is(pg_temp.held(), array['10 of 10'], 'and holds no more');
select ok(not pg_temp.write(2, '[]', '[]', null) ?| array['grant', 'refusal'], 'who asks for nothing gets nothing');
select ok(not pg_temp.write(2, '[]', '[]', 'null') ?| array['grant', 'refusal'], 'nor for null');
select is(tests.outcome($$select pg_temp.write(2, '[]', '[]', '{"step": 1, "prompt_tokens": 1}')$$), '22023', 'an id is needed');
select is(tests.outcome($$select pg_temp.write(2, '[]', '[]', pg_temp.call('two', -1))$$), '22023', 'no negative prompt');
select is(tests.outcome($$select pg_temp.write(2, '[]', '[]', pg_temp.call('two', 1, 0))$$), '22023', 'no empty answer');

-- With one: what the write settles is free for what it reserves.
select tests.as_superuser();
insert into ai.budgets (id, tenant_id, scope, period, max_tokens)
values (tests.id('budget a'), tests.tenant('a'), 'tenant', 'month', 1000);
select is(
  pg_temp.write(2, '[]', pg_temp.used('one', 40), pg_temp.call('two', 100, 2000)) -> 'grant',
  jsonb_build_object('id', tests.id('reservation two'), 'max_tokens', 860), 'all that is left'
);
select is(pg_temp.counter(), '40 used, 960 reserved', 'is held back');
select is(
  pg_temp.write(2, '[]', pg_temp.used('one', 40), pg_temp.call('two', 100, 2000)) -> 'grant',
  jsonb_build_object('id', tests.id('reservation two'), 'max_tokens', 860), 'sent again: the same grant'
);
select is(pg_temp.counter(), '40 used, 960 reserved', 'nothing is held or settled twice');
select is(
  pg_temp.write(2, jsonb_build_array(tests.event('step_started', '{"step": 2}')), pg_temp.used('two', 300), pg_temp.call('three', 100, 200)) -> 'grant' ->> 'max_tokens',
  '200', 'what was held for the last call can be had for the next'
);
select is(pg_temp.counter(), '340 used, 300 reserved', 'and what it used counts');

-- A late try: the executor has had its answer and gone on.
select is(
  pg_temp.write(2, '[]', '[]', pg_temp.call('two', 100, 2000)) ?| array['grant', 'refusal'], false, 'what comes late is answered with neither'
);
select is(pg_temp.counter(), '340 used, 300 reserved', 'and holds nothing');

-- Refused: the rest is written.
select tests.keep('refused', pg_temp.write(
  3, jsonb_build_array(tests.event('tool_result')),
  '[{"op": "call_finished", "step": 2, "call_id": "c"}]'::jsonb || pg_temp.used('three', 100), pg_temp.call('four', 560, 5)
)::text);
select is(tests.kept('refused')::jsonb - 'refusal', '{"held": true, "last_seq": 3, "stop": null}', 'the lease is held, and nothing granted');
select is(
  (tests.kept('refused')::jsonb -> 'refusal' ->> 'details')::jsonb - 'renews_at',
  '{"code": "budget_exceeded", "balance": 560, "estimated_cost": 561, "scope": "tenant", "period": "month"}', 'it says which budget'
);
select is(tests.kept('refused')::jsonb -> 'refusal' ->> 'code', 'PT402', 'as an error does');
select is(tests.log(), '1 step_started, 2 step_started, 3 tool_result', 'the event is written');
select ok((select calls -> 'c' ? 'finished' from ai.run_steps where run_id = tests.run_id() and step = 2), 'so is the journal');
select is(pg_temp.counter(), '440 used, 0 reserved', 'the call before is settled, and nothing held');
select is(
  pg_temp.write(3, jsonb_build_array(tests.event('tool_result')), '[]', pg_temp.call('four', 559, 5)) -> 'grant' ->> 'max_tokens', '1',
  'a refusal that nobody heard is decided anew'
);

-- Leases and tenants.
select is(
  pg_temp.write(4, jsonb_build_array(tests.event('x')), '[]', pg_temp.call('five', 1), lease => gen_random_uuid()),
  '{"held": false, "last_seq": null, "stop": null}', 'who has lost the lease is told so'
);
select is(pg_temp.held(), array['560 of 559'], 'and holds nothing');
select tests.start_run('b_member', name => 'theirs', agent => 'b');
select is(
  tests.outcome($$select pg_temp.write(1, jsonb_build_array(tests.event('x')), '[]', pg_temp.call('four', 559, 5), name => 'theirs')$$), '23505',
  'the id of another tenant''s reservation gives nobody its grant'
);
select is(tests.log('theirs'), null, 'and nothing is written');
select is(
  pg_temp.write(1, '[]', pg_temp.used('four', 1), pg_temp.call('six', 1000), name => 'theirs') -> 'grant' -> 'max_tokens', 'null',
  'their budgets are their own'
);
select is(pg_temp.held(), array['560 of 559'], 'and nobody settles another''s reservation');

-- Who is to stop asks no model.
select tests.as_superuser();
update ai.agent_runs set cancel_requested_at = now() where id = tests.run_id();
select tests.keep('stopped', pg_temp.write(4, jsonb_build_array(tests.event('tool_result')), pg_temp.used('four', 1), pg_temp.call('seven', 1))::text);
select is(tests.kept('stopped')::jsonb, '{"held": true, "last_seq": 4, "stop": "cancelled"}', 'a run that is cancelled gets neither grant nor refusal');
select is(pg_temp.held(), '{}'::text[], 'and holds nothing');

select * from finish();
rollback;
