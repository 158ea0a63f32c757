-- How a run waits for decisions and is woken, in every order, and what an approval is good for.
begin;
select plan(47);
select tests.make_world();

create function pg_temp.start(who text)
returns void
language plpgsql
as $$
begin
  perform tests.sign_in(who);
  perform tests.keep('run', ai.start_run(tests.id('agent a'), message => 'x', request => '{"message": "x"}')::text);
  perform tests.keep('lease', tests.kept('run')::jsonb ->> 'lease_token');
end;
$$;
create function pg_temp.id() returns uuid language sql as $$ select (tests.kept('run')::jsonb ->> 'id')::uuid; $$;
create function pg_temp.ask(call_id text, tool_input jsonb default '{"to": "x"}', seconds int default 300, tool_name text default 'mail')
returns text
language plpgsql
as $$
begin
  perform tests.as_service();
  return tests.outcome(format(
    'select tests.keep(%L, ai.request_approval(%L, %L, %L, %L, %L, ''Send?'', %s)::text)', call_id, pg_temp.id(), tests.kept('lease'), call_id, tool_name, tool_input, seconds
  ));
end;
$$;
create function pg_temp.asked(call_id text) returns uuid language sql as $$ select (tests.kept(call_id)::jsonb ->> 'approval_id')::uuid; $$;
create function pg_temp.outcome(call_id text)
returns text
language plpgsql
as $$
begin
  perform tests.as_service();
  return ai.approval_outcome(pg_temp.asked(call_id), tests.kept('lease')::uuid) ->> 'status';
end;
$$;
create function pg_temp.suspend()
returns text
language plpgsql
as $$
begin
  perform tests.as_service();
  return ai.suspend_run(pg_temp.id(), tests.kept('lease')::uuid, null, '[]', '[]', 'approval');
end;
$$;
create function pg_temp.claim()
returns boolean
language plpgsql
as $$
declare
  claim jsonb;
begin
  perform tests.as_service();
  claim := ai.claim_run(pg_temp.id(), 'test', 10);
  perform tests.keep('lease', coalesce(claim ->> 'lease_token', tests.kept('lease')));
  return claim is not null;
end;
$$;
create function pg_temp.decide(who text, call_id text, approved boolean default true)
returns text
language plpgsql
as $$
begin
  perform tests.sign_in(who);
  return tests.outcome(format('select ai.decide_approval(%L::uuid, %L)', pg_temp.asked(call_id), approved));
end;
$$;
create function pg_temp.note(journal jsonb)
returns void
language plpgsql
as $$
begin
  perform tests.as_service();
  perform ai.append_run_events(pg_temp.id(), tests.kept('lease')::uuid, 1, '[]', journal);
end;
$$;
create function pg_temp.state()
returns text
language plpgsql
as $$
begin
  perform tests.as_superuser();
  return (select concat_ws(' ', status, wait_reason) from ai.agent_runs where id = pg_temp.id());
end;
$$;
create function pg_temp.jobs()
returns int
language plpgsql
as $$
begin
  perform tests.as_superuser();
  return (select count(*) from pgboss.job where name = 'run_agent' and data ->> 'id' = pg_temp.id()::text);
end;
$$;

-- Suspended, then decided.
select pg_temp.start('member');
select is(pg_temp.ask('c1'), 'ok', 'a call is asked about');
select is(pg_temp.outcome('c1'), 'pending', 'nobody has decided');
select is(pg_temp.suspend(), 'waiting', 'the run waits');
select is(pg_temp.state(), 'waiting approval', 'for an approval');
select is(pg_temp.claim(), false, 'nobody can work on it');
select is(pg_temp.jobs(), 0, 'and nobody is asked to');
select is(pg_temp.decide('member', 'c1'), 'ok', 'it is decided');
select is(pg_temp.state(), 'pending', 'the run goes on');
select is(pg_temp.jobs(), 1, 'and is queued with the decision');
select is(pg_temp.claim(), true, 'an executor takes it up');
select is(pg_temp.ask('c1'), 'ok', 'asks the same again');
select is(pg_temp.outcome('c1'), 'approved', 'and hears the answer');

-- Decided, then suspended.
select is(pg_temp.ask('c2'), 'ok', 'another call');
select is(pg_temp.decide('member', 'c2', false), 'ok', 'is decided before the run waits');
select is(pg_temp.suspend(), 'pending', 'which then does not');
select is(pg_temp.claim(), true, 'but goes on');
select is(pg_temp.outcome('c2'), 'denied', 'with the answer');

-- Two at once.
select is(pg_temp.ask('c3'), 'ok', 'two calls');
select is(pg_temp.ask('c4'), 'ok', 'side by side');
select is(pg_temp.decide('member', 'c4'), 'ok', 'one is decided');
select is(pg_temp.suspend(), 'pending', 'which is enough to go on');
select is(pg_temp.claim(), true, 'the run');
select is(pg_temp.outcome('c4'), 'approved', 'takes that answer');
select is(pg_temp.suspend(), 'waiting', 'and waits for the other');
select is(pg_temp.decide('member', 'c3'), 'ok', 'until it is there');
select is(pg_temp.claim(), true, 'and goes on');

-- What an approval is good for.
select is(pg_temp.ask('c3', '{"to": "y"}'), 'PT409 conflict', 'other arguments are another call');
select is(pg_temp.ask('c3', tool_name => 'wire'), 'PT409 conflict', 'so is another tool');
select is(pg_temp.outcome('c3'), 'approved', 'the call it was given for may begin');
select pg_temp.note('[{"op": "call_started", "step": 1, "call_id": "c3", "is_retry_safe": false}]');
select is(pg_temp.outcome('c3'), 'used', 'once');
select tests.as_superuser();
update ai.run_steps set calls = jsonb_set(calls, '{c3,decision}', '"retry"') where run_id = pg_temp.id() and calls ? 'c3';
select is(pg_temp.outcome('c3'), 'approved', 'unless a person has it begin again');
select pg_temp.note('[{"op": "call_finished", "step": 1, "call_id": "c3"}]');
select is(pg_temp.outcome('c3'), 'used', 'but not when it is done');
select pg_temp.note('[{"op": "call_started", "step": 1, "call_id": "c4", "is_retry_safe": true}]');
select is(pg_temp.outcome('c4'), 'approved', 'what is safe to repeat may be taken up after a crash');
select is(
  ai.approval_outcome(pg_temp.asked('c4'), gen_random_uuid()), null, 'by who has the run'
);

-- Nobody decides.
select is(pg_temp.ask('c5', seconds => 1), 'ok', 'a call that waits for a second');
select is(pg_temp.suspend(), 'waiting', 'waits');
select tests.as_service();
select is(ai.expire_approvals(), 0, 'before its time nothing ends');
select tests.as_superuser();
update ai.approvals set expires_at = now() where id = pg_temp.asked('c5');
select is(pg_temp.decide('member', 'c5'), 'PT404 approval_not_found', 'after it nobody decides');
select tests.sign_in('member');
select is(tests.outcome('select ai.expire_approvals()'), '42501', 'nor ends it');
select tests.as_service();
select is(ai.expire_approvals(), 1, 'the ledger does');
select is(pg_temp.state(), 'pending', 'and wakes the run');
select is(pg_temp.claim(), true, 'which goes on');
select is(pg_temp.outcome('c5'), 'expired', 'without');

-- With the run everything ends.
select is(pg_temp.ask('c6'), 'ok', 'one more');
select is(pg_temp.suspend(), 'waiting', 'waits');
select tests.sign_in('member');
select ai.cancel_run(tests.kept('run')::jsonb ->> 'run_id');
select is(pg_temp.decide('member', 'c6'), 'PT404 approval_not_found', 'a run that was cancelled waits for no decision');
select is(pg_temp.outcome('c6'), null, 'and hears of none');

select * from finish();
rollback;
