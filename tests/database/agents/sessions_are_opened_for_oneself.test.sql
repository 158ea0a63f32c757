-- create_session: people open sessions for themselves; the backend for a person of its tenant, and with what was said before.
begin;
select plan(40);
select tests.make_world();

create function pg_temp.open(who text, agent text default 'a', for_whom text default null, messages jsonb default null)
returns text
language plpgsql
as $$
begin
  perform tests.sign_in(who);
  return tests.outcome(format(
    'select tests.keep(''session'', ai.create_session(%L, %L, %L))', tests.id('agent ' || agent), tests.person(for_whom), messages
  ));
end;
$$;
create function pg_temp.owner() returns text language plpgsql as $$
begin
  perform tests.as_superuser();
  return (select coalesce(tests.name_of(user_id), 'nobody') || ' in ' || tests.letter(tenant_id) from ai.agent_sessions where session_id = tests.kept('session'));
end;
$$;
create function pg_temp.said(role text, content text) returns jsonb language sql as $$ select jsonb_build_object('role', role, 'content', content); $$;

-- People.
select is(pg_temp.open('member'), 'ok', 'a member opens a session');
select matches(tests.kept('session'), '^sess_[0-9a-f]{12}$', 'with an id of our own');
select is(pg_temp.owner(), 'member in a', 'for themselves');
select tests.sign_in('member');
select is(
  tests.outcome(format('select tests.keep(''run'', ai.start_run(%L, %L, %L)::text)', tests.id('agent a'), tests.kept('session'), 'hello')), 'ok', 'and runs in it'
);
select is((tests.kept('run')::jsonb ->> 'is_new_session')::boolean, false, 'it is there');
select is(pg_temp.open('viewer'), 'ok', 'viewers may ask, too');
select is(pg_temp.open('member', for_whom => 'member'), 'ok', 'one may name oneself');
select is(pg_temp.open('member', for_whom => 'admin'), 'PT403 forbidden', 'but nobody else');
select is(pg_temp.open('owner', for_whom => 'member'), 'PT403 forbidden', 'owners neither');
select is(pg_temp.open('member', 'b'), 'PT404 agent_not_found', 'an agent of another tenant');
select tests.keep('answer', tests.kept('last_message'));
select is(pg_temp.open('member', 'nowhere'), 'PT404 agent_not_found', 'and none');
select is(tests.kept('last_message'), tests.kept('answer'), 'look alike');
select is(pg_temp.open('outsider'), 'PT404 agent_not_found', 'who is in no tenant has no agent');
select tests.as_superuser();
delete from public.memberships where tenant_id = tests.tenant('a') and user_id = tests.person('both');
select is(pg_temp.open('both'), 'PT404 agent_not_found', 'nor has who was removed');
select is(
  pg_temp.open('owner', messages => jsonb_build_array(pg_temp.said('user', 'a'), pg_temp.said('assistant', 'b'))), 'PT403 forbidden', 'nobody says what the assistant said'
);
select tests.as_anon();
select is(tests.outcome(format('select ai.create_session(%L)', tests.id('agent a'))), '42501', 'nobody who is not signed in');
select tests.as_service();
select is(tests.outcome(format('select ai.create_session(%L)', tests.id('agent a'))), '42501', 'nor the secret key in no tenant''s name');

-- The backend.
select is(pg_temp.open('backend_a'), 'ok', 'the backend opens one');
select is(pg_temp.owner(), 'nobody in a', 'of its own');
select is(pg_temp.open('backend_a', for_whom => 'member'), 'ok', 'or for a member');
select is(pg_temp.owner(), 'member in a', 'whose it is');
select is(pg_temp.open('backend_a', for_whom => 'b_member'), 'PT403 forbidden', 'not for somebody of another tenant');
select is(pg_temp.open('backend_a', for_whom => 'both'), 'PT403 forbidden', 'nor for who has left');
select is(pg_temp.open('backend_a', 'b'), 'PT404 agent_not_found', 'nor with an agent of another tenant');

-- What was said before.
select is(
  pg_temp.open('backend_a', for_whom => 'member', messages => jsonb_build_array(
    pg_temp.said('user', 'q1'), pg_temp.said('assistant', 'a1'), pg_temp.said('user', 'q2'), pg_temp.said('assistant', 'a2') || '{"extra": 1}'
  )), 'ok', 'a session begins with what was said'
);
select tests.sign_in('member');
select is(
  ai.start_run(tests.id('agent a'), tests.kept('session'), 'q3') -> 'history',
  jsonb_build_array(pg_temp.said('user', 'q1'), pg_temp.said('assistant', 'a1'), pg_temp.said('user', 'q2'), pg_temp.said('assistant', 'a2')), 'which runs know, in order'
);
select is(
  (
    select count(*)::int
    from ai.agent_runs
    join ai.agent_sessions on agent_sessions.id = agent_runs.session_id
    where agent_sessions.session_id = tests.kept('session') and agent_runs.provider = 'imported' and agent_runs.status = 'completed'
  ), 2, 'and the person reads, told apart from answers of a model'
);
select tests.sign_in('admin');
select is_empty($$select id from ai.agent_runs where provider = 'imported'$$, 'nobody else does');
select is(pg_temp.open('backend_a', messages => '[]'), 'PT400 invalid_request', 'somebody must have said it');
select is(pg_temp.open('backend_a', for_whom => 'member', messages => '[]'), 'ok', 'nothing may have been said');
select is(pg_temp.open('backend_a', for_whom => 'member', messages => messages), 'PT400 invalid_request', format('not %s', left(messages::text, 60)))
from unnest(array[
  '{}'::jsonb, '[{"role": "user", "content": "x"}]', '["x", "y"]', '[{"role": "system", "content": "x"}, {"role": "assistant", "content": "x"}]',
  '[{"role": "assistant", "content": "x"}, {"role": "user", "content": "x"}]', '[{"role": "user", "content": ["x"]}, {"role": "assistant", "content": "x"}]',
  '[{"role": "user", "content": ""}, {"role": "assistant", "content": "x"}]',
  jsonb_build_array(pg_temp.said('user', 'x'), pg_temp.said('assistant', repeat('x', 20001))),
  (select jsonb_agg(pg_temp.said(case i % 2 when 1 then 'user' else 'assistant' end, 'x') order by i) from generate_series(1, 202) as i)
]) as messages;
select is(
  pg_temp.open('backend_a', for_whom => 'member', messages => (
    select jsonb_agg(pg_temp.said(case i % 2 when 1 then 'user' else 'assistant' end, 'x') order by i) from generate_series(1, 200) as i
  )), 'ok', 'up to 200 messages'
);

select * from finish();
rollback;
