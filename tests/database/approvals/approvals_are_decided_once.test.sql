-- request_approval, decide_approval, approval_outcome: one call of one run waits for one decision, by who may make it.
begin;
select plan(71);
select tests.make_world();

create function pg_temp.start(who text)
returns text
language plpgsql
as $$
begin
  perform tests.sign_in(who);
  perform tests.keep('run', ai.start_run(tests.id('agent a'), message => 'x')::text);
  return tests.kept('run')::jsonb ->> 'run_id';
end;
$$;
create function pg_temp.id() returns uuid language sql as $$ select (tests.kept('run')::jsonb ->> 'id')::uuid; $$;
create function pg_temp.lease() returns uuid language sql as $$ select (tests.kept('run')::jsonb ->> 'lease_token')::uuid; $$;
create function pg_temp.ask(call_id text, tool_input jsonb default '{"b": 1, "a": "x"}', timeout_seconds int default 300, lease uuid default null, tool_name text default 'database_write')
returns text
language plpgsql
as $$
begin
  perform tests.as_service();
  return tests.outcome(format(
    'select tests.keep(''asked'', ai.request_approval(%L, %L, %L, %L, %L, %L, %L)::text)', pg_temp.id(), coalesce(lease, pg_temp.lease()), call_id, tool_name, tool_input, 'Really?',
    timeout_seconds
  ));
end;
$$;
create function pg_temp.asked() returns uuid language sql as $$ select (tests.kept('asked')::jsonb ->> 'approval_id')::uuid; $$;
create function pg_temp.decide(who text, approved boolean default true, reason text default null, claims jsonb default '{}')
returns text
language plpgsql
as $$
begin
  perform tests.sign_in(who, claims);
  return tests.outcome(format(
    'select tests.keep(''decided'', ai.decide_approval(%L, %L, %L)::text)', tests.kept('run')::jsonb ->> 'run_id', approved, reason
  ));
end;
$$;
create function pg_temp.outcome(lease uuid default null)
returns text
language plpgsql
as $$
begin
  perform tests.as_service();
  return (select concat_ws(' ', answer ->> 'status', answer ->> 'reason') from ai.approval_outcome(pg_temp.asked(), coalesce(lease, pg_temp.lease())) as answer);
end;
$$;

-- Asked.
select pg_temp.start('member');
select is(pg_temp.ask('c1'), 'ok', 'a call waits');
select is(pg_temp.outcome(), 'pending', 'and goes on waiting');
select tests.sign_in('member');
select is(
  (select jsonb_build_array(call_id, tool_name, tool_input, message, status, decided_by, agent_id, user_id) from ai.approvals where id = pg_temp.asked()),
  jsonb_build_array('c1', 'database_write', '{"a": "x", "b": 1}'::jsonb, 'Really?', 'pending', null, tests.id('agent a'), tests.person('member')), 'the person sees for what'
);
select is(
  (select input_hash from ai.approvals where id = pg_temp.asked()), encode(sha256(E'database_write\n{"a": "x", "b": 1}'), 'hex'), 'and exactly this tool and these arguments are what is decided about'
);
select is((select expires_at from ai.approvals where id = pg_temp.asked()), now() + interval '300 seconds', 'until then');
select is(
  tests.outcome(format('update ai.approvals set status = ''approved'' where id = %L', pg_temp.asked())), '42501', 'nobody writes a decision by hand'
);
select is(tests.outcome(format('update ai.approvals set tool_input = ''{}'' where id = %L', pg_temp.asked())), '42501', 'nor changes what is decided about');
select is(
  tests.outcome(format(
    'insert into ai.approvals (tenant_id, run_id, call_id, tool_name, tool_input, input_hash, status, expires_at) values (%L, %L, %L, %L, %L, %L, %L, now())', tests.tenant('a'),
    pg_temp.id(), 'c9', 'x', '{}', repeat('0', 64), 'approved'
  )), '42501', 'nor makes one that is decided already'
);
select tests.keep('first', pg_temp.asked()::text);
select is(pg_temp.ask('c1'), 'ok', 'the same question');
select is(pg_temp.asked(), tests.kept_id('first'), 'is the same approval');
select is(pg_temp.ask('c1', '{"b": 2}'), 'PT409 conflict', 'other arguments under the same id are refused');
select is(pg_temp.ask('c1', tool_name => 'http_request'), 'PT409 conflict', 'and so is another tool');
select is(pg_temp.ask('c2', '[]'), '23514', 'arguments are an object');
select is(pg_temp.ask('c2', lease => gen_random_uuid()), 'ok', 'without the lease');
select is(tests.kept('asked'), null, 'nothing is asked');
select is(tests.outcome(format('select ai.request_approval(%L, %L, %L, %L, %L, %L, 1)', pg_temp.id(), pg_temp.lease(), 'c2', 'x', '{}', 'x')), 'ok', 'the ledger asks');
select tests.sign_in('member');
select is(
  tests.outcome(format('select ai.request_approval(%L, %L, %L, %L, %L, %L, 1)', pg_temp.id(), pg_temp.lease(), 'c3', 'x', '{}', 'x')), '42501', 'people do not'
);
select is(tests.outcome(format('select ai.approval_outcome(%L, %L)', tests.kept('first'), pg_temp.lease())), '42501', 'nor do they ask what came of it');
select tests.as_anon();
select is(tests.outcome(format('select ai.decide_approval(%L, true)', tests.kept('run')::jsonb ->> 'run_id')), '42501', 'nobody who is not signed in decides');

-- Two that wait in one run: by the run alone, it is about one whose time is not over, also before a sweep has been by.
select pg_temp.start('member');
select pg_temp.ask('c1', timeout_seconds => 60);
select tests.keep('late', pg_temp.asked()::text);
select pg_temp.ask('c2');
select tests.as_superuser();
update ai.approvals set created_at = now() - interval '1 hour', expires_at = now() - interval '1 second' where id = tests.kept_id('late');
select is(pg_temp.decide('member'), 'ok', 'the call that still waits is decided about');
select is(pg_temp.outcome(), 'approved', 'and goes on');
select is(pg_temp.decide('member'), 'PT404 approval_not_found', 'the one whose time is over is not');
select is((select status from ai.approvals where id = tests.kept_id('late')), 'pending', 'nor is it changed by that');

-- Who decides. Everybody else gets the answer of a run that does not exist.
select pg_temp.start('member');
select pg_temp.ask('c1');
select is(pg_temp.decide('viewer'), 'PT404 approval_not_found', 'a viewer');
select tests.keep('answer', tests.kept('last_message'));
select is(pg_temp.decide('both'), 'PT404 approval_not_found', 'another member');
select is(pg_temp.decide('b_owner'), 'PT404 approval_not_found', 'the owner of another tenant');
select is(pg_temp.decide('backend_b'), 'PT404 approval_not_found', 'its backend');
select is(pg_temp.decide('outsider'), 'PT404 approval_not_found', 'who is in no tenant');
select is(pg_temp.decide('member', claims => jsonb_build_object('tenant_id', tests.tenant('b'))), 'PT404 approval_not_found', 'the person, narrowed to another tenant');
select is(
  pg_temp.decide('member', claims => jsonb_build_object('act', jsonb_build_object('sub', 'agent', 'agent_id', tests.id('agent a')))), 'PT404 approval_not_found',
  'the agent in the name of the person: the model approves nothing'
);
select is(
  pg_temp.decide('admin', claims => jsonb_build_object('act', jsonb_build_object('sub', 'agent', 'agent_id', tests.id('agent a')))), 'PT404 approval_not_found',
  'nor an agent of an admin'
);
select tests.as_superuser();
delete from public.memberships where tenant_id = tests.tenant('a') and user_id = tests.person('member');
select is(pg_temp.decide('member'), 'PT404 approval_not_found', 'the person, once they have left');
select tests.as_superuser();
insert into public.memberships (tenant_id, user_id, role) values (tests.tenant('a'), tests.person('member'), 'member');
select tests.sign_in('member');
select is(tests.outcome($$select ai.decide_approval('run_000000000000', true)$$), 'PT404 approval_not_found', 'a run there is not');
select is(tests.kept('last_message'), tests.kept('answer'), 'is answered the same');
select is(tests.outcome('select ai.decide_approval(null, true)'), 'PT404 approval_not_found', 'so is none');
select is(pg_temp.outcome(), 'pending', 'it still waits');
select is(pg_temp.decide('member', null), 'PT400 invalid_request', 'a decision is yes or no');
select is(pg_temp.decide('member', false, repeat('x', 2001)), 'PT400 invalid_request', 'for a reason that can be read');

-- Decided, once.
select is(pg_temp.decide('member', false, 'Not today.'), 'ok', 'the person decides');
select is(
  tests.kept('decided')::jsonb, jsonb_build_object('status', 'resumed', 'approval_id', pg_temp.asked(), 'approvals', 0, 'quorum', 1), 'and is told about what'
);
select is(pg_temp.outcome(), 'denied Not today.', 'the run hears it');
select is(pg_temp.decide('member', true), 'PT404 approval_not_found', 'nobody changes their mind');
select is(pg_temp.decide('admin', true), 'PT404 approval_not_found', 'nor another''s');
select is(pg_temp.outcome(), 'denied Not today.', 'it stays as it is');
select is(pg_temp.outcome(gen_random_uuid()), '', 'who has lost the run does not hear it');
select is(ai.approval_outcome(pg_temp.asked(), gen_random_uuid()), null, 'but nothing');
select tests.sign_in('member');
select is((select decided_by from ai.approvals where id = pg_temp.asked()), tests.person('member'), 'it is known who decided');
select is((select decided_at from ai.approvals where id = pg_temp.asked()), now(), 'and when');

select pg_temp.ask('c2');
select pg_temp.ask('c3');
select tests.as_superuser();
update ai.approvals set created_at = now() - interval '1 minute' where id = pg_temp.asked();
select is(pg_temp.decide('admin', true), 'ok', 'an admin decides for a member');
select is(pg_temp.outcome(), 'approved', 'about what waits longest');
select is(pg_temp.decide('backend_a', true), 'ok', 'so does the backend');
select is((tests.kept('decided')::jsonb ->> 'approval_id')::uuid <> pg_temp.asked(), true, 'about the next');
select tests.sign_in('owner');
select is((select decided_by from ai.approvals where id = pg_temp.asked()), tests.person('admin'), 'admins see who decided');
select is((select count(*)::int from ai.approvals where run_id = pg_temp.id() and decided_by is null and status = 'approved'), 1, 'the backend is nobody in particular');
select is(pg_temp.decide('member'), 'PT404 approval_not_found', 'nothing waits any more');

-- The backend's own run, of no person.
select pg_temp.start('backend_a');
select pg_temp.ask('c1');
select is(pg_temp.decide('member'), 'PT404 approval_not_found', 'a member does not decide for the backend');
select is(pg_temp.decide('admin'), 'ok', 'an admin does');

-- Too late.
select pg_temp.start('member');
select is(pg_temp.ask('c1', timeout_seconds => 0), 'ok', 'there is always a moment to decide');
select is((tests.kept('asked')::jsonb ->> 'expires_at')::timestamptz, now() + interval '1 second', 'a second');
select is(pg_temp.ask('c2', timeout_seconds => 10000000), 'ok', 'and not forever');
select is((tests.kept('asked')::jsonb ->> 'expires_at')::timestamptz, now() + interval '40 days', 'but forty days');
select tests.as_superuser();
update ai.approvals set expires_at = now() where run_id = pg_temp.id();
select is(pg_temp.decide('member'), 'PT404 approval_not_found', 'what has expired is not decided any more');
select is(pg_temp.outcome(gen_random_uuid()), '', 'nor noticed by who has lost the run');
select tests.sign_in('member');
select is((select count(*)::int from ai.approvals where run_id = pg_temp.id() and status = 'pending'), 2, 'it is as it was');
select is(pg_temp.outcome(), 'expired', 'the run is told');
select is(pg_temp.ask('c3'), 'ok', 'one more');
select ai.finish_run(pg_temp.id(), pg_temp.lease(), 'completed', 'x');
select tests.sign_in('member');
select is((select string_agg(distinct status, ' ') from ai.approvals where run_id = pg_temp.id()), 'expired', 'with the run all waiting ends');
select is(pg_temp.decide('member'), 'PT404 approval_not_found', 'and deciding');
select is(pg_temp.ask('c4'), 'ok', 'nor can it ask');
select is(tests.kept('asked'), null, 'anything more');

select pg_temp.start('member');
select pg_temp.ask('c1');
select tests.as_superuser();
delete from ai.agents where id = tests.id('agent a');
select is(pg_temp.decide('member'), 'ok', 'an approval outlives its agent');

select * from finish();
rollback;
