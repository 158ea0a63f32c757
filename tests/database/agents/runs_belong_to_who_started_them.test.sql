-- start_run, finish_run: sessions, history, lease, citations.
begin;
select plan(52);
select tests.make_world();

create function pg_temp.run(who text, session text default null, agent text default 'a', message text default 'What is the tariff?')
returns text
language plpgsql
as $$
begin
  -- One at a time: what runs meet in a session is in tests/database/runs.
  perform tests.as_superuser();
  perform private.end_run(id, 'cancelled') from ai.agent_runs where status = 'running';
  perform tests.sign_in(who);
  return tests.outcome(format(
    'select tests.keep(''run'', ai.start_run(%L, %L, %L)::text)', tests.id('agent ' || agent), session, message
  ));
end;
$$;
create function pg_temp.answer(key text) returns text language sql as $$ select tests.kept('run')::jsonb ->> key; $$;
create function pg_temp.finish(citations jsonb default '[]', status text default 'completed', content text default 'It is 12 euros [1].')
returns text
language plpgsql
as $$
begin
  perform tests.as_service();
  return tests.outcome(format(
    'select tests.keep(''finished'', ai.finish_run(%L, %L, %L, %L, %L, citations => %L)::text)', pg_temp.answer('id'), pg_temp.answer('lease_token'), status, content,
    '{"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}', citations
  ));
end;
$$;

-- Sessions.
select is(pg_temp.run('member'), 'ok', 'a member starts a run');
select ok(pg_temp.answer('is_new_session')::boolean, 'in a new session');
select matches(pg_temp.answer('session_id'), '^sess_[0-9a-f]{12}$', 'with an id of our own');
select matches(pg_temp.answer('run_id'), '^run_[0-9a-f]{12}$', 'and a run id');
select is(pg_temp.answer('user_id'), tests.person('member')::text, 'for themselves');
select is(pg_temp.answer('history'), '[]', 'without history');
select is(pg_temp.run('member', 'my session:1'), 'PT400 invalid_request', 'a session id has a form');
select is(pg_temp.run('member', 'mine-1'), 'ok', 'one of the caller''s choice');
select ok(pg_temp.answer('is_new_session')::boolean, 'is made');
select is(pg_temp.run('member', 'mine-1'), 'ok', 'and found again');
select ok(not pg_temp.answer('is_new_session')::boolean, 'as the same');
select is(pg_temp.run('viewer'), 'ok', 'viewers may ask, too');

select is(pg_temp.run('admin', 'mine-1'), 'PT404 session_not_found', 'another person''s session');
select tests.keep('answer', tests.kept('last_message'));
select is(pg_temp.run('member', 'mine-1', 'demoted'), 'PT404 session_not_found', 'one with another agent');
select is(tests.kept('last_message'), tests.kept('answer'), 'look alike');
select is(pg_temp.run('b_member', 'mine-1', 'b'), 'ok', 'the same id in another tenant is another session');
select is(pg_temp.answer('tenant_id'), tests.tenant('b')::text, 'of that tenant');
select is(pg_temp.run('member', 'a_backend'), 'PT404 session_not_found', 'the backend''s session is no person''s');
select is(pg_temp.run('backend_a', 'a_backend'), 'ok', 'but the backend''s');
select is(pg_temp.answer('user_id'), null, 'acting for nobody in particular');
-- What the backend may read is not for a member's history: it goes on there only by naming the member.
select is(pg_temp.run('backend_a', 'a_member'), 'PT404 session_not_found', 'a member''s session is not the backend''s');
select is(pg_temp.run('backend_a', 'a_backend'), 'ok', 'its own goes on');
select tests.as_superuser();
select is(
  (select principal_id from ai.agent_runs where id = pg_temp.answer('id')::uuid), (select id from private.tenant_principals where tenant_id = tests.tenant('a')),
  'and the run remembers who it was'
);

-- Agents.
select is(pg_temp.run('member', agent => 'b'), 'PT404 agent_not_found', 'an agent of another tenant');
select tests.keep('answer', tests.kept('last_message'));
select is(pg_temp.run('member', agent => 'nowhere'), 'PT404 agent_not_found', 'and none');
select is(tests.kept('last_message'), tests.kept('answer'), 'look alike');
select is(pg_temp.run('outsider'), 'PT404 agent_not_found', 'who is in no tenant has no agent');
select is(pg_temp.run('member', message => ''), 'PT400 invalid_request', 'an empty message');
select tests.as_anon();
select is(tests.outcome(format('select ai.start_run(%L, message => %L)', tests.id('agent a'), 'x')), '42501', 'nobody signed in');

-- End, with citations.
select pg_temp.run('member', 'mine-1');
select is(
  pg_temp.finish(jsonb_build_array(
    jsonb_build_object('citation_key', 1, 'item_id', tests.id('chunk a_open'), 'source_id', tests.id('source a_open'), 'text_excerpt', repeat('x', 400), 'meta', '{"pages": [1]}'::jsonb),
    jsonb_build_object('citation_key', 2, 'source_id', tests.id('source b_open'), 'text_excerpt', 'foreign'),
    jsonb_build_object('citation_key', 3, 'source_id', gen_random_uuid(), 'text_excerpt', null)
  )), 'ok', 'the ledger ends the run'
);
select is(tests.kept('finished'), 'true', 'which it holds');
select tests.sign_in('member');
select set_eq(
  $$select citation_key, source_id, char_length(text_excerpt) from ai.message_citations where run_id = pg_temp.answer('id')::uuid$$,
  $$values (1, tests.id('source a_open'), 300), (2, null, 7), (3, null, 0)$$,
  'citations: excerpts are cut, foreign and absent sources are left out'
);
select is((select status || ' ' || total_tokens from ai.agent_runs where id = pg_temp.answer('id')::uuid), 'completed 12', 'the run is complete and says what it used');
select pg_temp.finish(content => 'Something else.');
select is(tests.kept('finished'), 'false', 'a second end is refused');
select tests.sign_in('member');
select is((select content from ai.agent_runs where id = pg_temp.answer('id')::uuid), 'It is 12 euros [1].', 'and changes nothing');
select tests.as_service();
select is(ai.beat_run(pg_temp.answer('id')::uuid, pg_temp.answer('lease_token')::uuid) ->> 'held', 'false', 'the lease is over');

-- History: completed turns only, in order.
select pg_temp.run('member', 'mine-1', message => 'And by night?');
select is(
  pg_temp.answer('history')::jsonb,
  '[{"role": "user", "content": "What is the tariff?"}, {"role": "assistant", "content": "It is 12 euros [1]."}]'::jsonb, 'the next run knows what was said'
);
select is(pg_temp.finish(status => 'failed', content => null), 'ok', 'a run that fails');
select pg_temp.run('member', 'mine-1', message => 'Once more.');
select is(jsonb_array_length(pg_temp.answer('history')::jsonb), 2, 'leaves no trace in the history');

-- Late and lost executors.
select is(pg_temp.finish(status => 'running'), '22023', 'a run cannot end running');
select tests.as_service();
select is(ai.finish_run(pg_temp.answer('id')::uuid, gen_random_uuid(), 'completed', 'forged'), false, 'without the lease nobody ends it');
select is(ai.claim_run(pg_temp.answer('id')::uuid, 'another'), null, 'a run that is held is not taken up');
select is((select status from ai.agent_runs where id = pg_temp.answer('id')::uuid), 'running', 'nor ended');
select tests.as_superuser();
update ai.agent_runs set lease_expires_at = now() - interval '1 second' where id = pg_temp.answer('id')::uuid;
select tests.as_service();
select is(ai.claim_run(pg_temp.answer('id')::uuid, 'another'), null, 'one whose executor died, and that has no request to go on from, is ended');
select pg_temp.finish();
select is(tests.kept('finished'), 'false', 'after which the executor comes too late');
select is((select status || ' ' || error_code from ai.agent_runs where id = pg_temp.answer('id')::uuid), 'failed interrupted', 'the reason is there');

-- Nobody but the ledger ends runs, and nobody sees the lease.
select pg_temp.run('member');
select is(
  tests.outcome(format('select ai.finish_run(%L, %L, %L, %L)', pg_temp.answer('id'), pg_temp.answer('lease_token'), 'completed', 'my own words')), '42501',
  'not even the person who holds the token'
);
select is(tests.outcome('select lease_token from ai.agent_runs'), '42501', 'the lease cannot be read');
select is(tests.outcome('select principal_id from ai.agent_runs'), '42501', 'nor the principal');
select is(tests.outcome('select * from ai.agent_runs'), '42501', 'nor everything at once');
select tests.sign_in('admin');
select is_empty(format('select id from ai.agent_runs where id = %L', pg_temp.answer('id')), 'another person does not see the run');
select isnt_empty('select id from ai.agents', 'of an agent they do see');

select * from finish();
rollback;
