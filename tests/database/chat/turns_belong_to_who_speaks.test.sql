-- begin_chat_turn and finish_chat_turn.
begin;
select plan(45);
select tests.make_world();

create function pg_temp.turn(who text, session uuid default null, agent text default null, message text default 'What is the tariff?', headers jsonb default '{}')
returns text
language plpgsql
as $$
begin
  perform tests.sign_in(who, headers => headers);
  return tests.outcome(format(
    'select tests.keep(''turn'', public.begin_chat_turn(%L, %L, %L)::text)', session, case when agent is not null then tests.id('agent ' || agent) end, message
  ));
end;
$$;
create function pg_temp.answer(key text) returns text language sql as $$ select tests.kept('turn')::jsonb ->> key; $$;
create function pg_temp.finish(content text, run uuid default null, status text default 'complete', session uuid default pg_temp.answer('session_id')::uuid)
returns text
language plpgsql
as $$
begin
  perform tests.as_service();
  return tests.outcome(format(
    'select tests.keep(''reply'', ai.finish_chat_turn(%L, %L, %L, %L, %L, %L)::text)', session, pg_temp.answer('message_id'), run, content, status,
    jsonb_build_object('event', 'complete', 'content', content)
  ));
end;
$$;

-- A new session.
select is(pg_temp.turn('member', message => E'  What is\n the   tariff? ' || repeat('x', 200)), 'ok', 'a person speaks');
select ok(pg_temp.answer('is_new_session')::boolean, 'in a new session');
select is(pg_temp.answer('tenant_id'), tests.tenant('a')::text, 'of their tenant');
select is(pg_temp.answer('agent_id'), (select id::text from ai.agents where is_default), 'with its default agent');
select is(pg_temp.answer('knowledge_base_ids')::jsonb, (select jsonb_agg(id) from ai.knowledge_bases where is_default), 'and what that agent draws on');
select is((select title from public.chat_sessions where id = pg_temp.answer('session_id')::uuid), 'What is the tariff? ' || repeat('x', 60), 'it is titled by its first words');
select set_eq(
  $$select user_id, role, status from public.chat_messages where id = pg_temp.answer('message_id')::uuid$$, $$values (tests.person('member'), 'user', 'complete')$$,
  'the words are stored as theirs'
);
select tests.keep('session', pg_temp.answer('session_id'));
select is(pg_temp.turn('member', tests.kept_id('session')), 'ok', 'they go on');
select ok(not pg_temp.answer('is_new_session')::boolean, 'in the same session');
select is(pg_temp.turn('member', tests.kept_id('session'), 'a'), 'ok', 'with another agent');
select is(pg_temp.answer('agent_id'), tests.id('agent a')::text, 'which answers');
select is(pg_temp.turn('member', tests.kept_id('session')), 'ok', 'and stays');
select is(pg_temp.answer('agent_id'), tests.id('agent a')::text, 'until another is named');

-- Not theirs, not there.
select is(pg_temp.turn('admin', tests.kept_id('session')), 'PT404 session_not_found', 'another person''s session');
select tests.keep('answer', tests.kept('last_message'));
select is(pg_temp.turn('admin', gen_random_uuid()), 'PT404 session_not_found', 'and none');
select is(tests.kept('last_message'), tests.kept('answer'), 'look alike');
select is(pg_temp.turn('b_member', tests.kept_id('session')), 'PT404 session_not_found', 'of another tenant, too');
select is(pg_temp.turn('member', agent => 'b'), 'PT404 agent_not_found', 'an agent of another tenant');
select is(pg_temp.turn('member', agent => 'nowhere'), 'PT404 agent_not_found', 'an agent that does not exist');
select is(pg_temp.turn('member', message => '   '), 'PT400 invalid_request', 'nothing said');
select is(pg_temp.turn('member', message => repeat('x', 20001)), 'PT400 invalid_request', 'too much said');
select is(pg_temp.turn('both'), 'PT400 tenant_required', 'a person of two tenants must say where');
select is(pg_temp.turn('both', headers => jsonb_build_object('x-tenant-id', tests.tenant('b'))), 'ok', 'and then may speak');
select is(pg_temp.answer('tenant_id'), tests.tenant('b')::text, 'there');
select tests.keep('session_b', pg_temp.answer('session_id'));
select is(pg_temp.turn('both', tests.kept_id('session_b'), headers => jsonb_build_object('x-tenant-id', tests.tenant('a'))), 'PT404 session_not_found', 'not elsewhere');
select is(pg_temp.turn('both', tests.kept_id('session_b'), 'a'), 'PT404 agent_not_found', 'nor with an agent from elsewhere, though it is theirs as well');
select is(pg_temp.turn('backend_a'), 'PT403 forbidden', 'a backend has nobody''s voice');
select is(pg_temp.turn('viewer'), 'ok', 'viewers may ask');

-- Answers.
select pg_temp.turn('member', tests.kept_id('session'));
select is(pg_temp.finish('It is 12 euros [1].', tests.id('run a_member')), 'ok', 'the ledger stores the answer');
select tests.sign_in('member');
select set_eq(
  $$select role, content, reply_to_id, run_id, user_id from public.chat_messages where id = (tests.kept('reply')::jsonb ->> 'id')::uuid$$,
  $$values ('assistant', 'It is 12 euros [1].', pg_temp.answer('message_id')::uuid, tests.id('run a_member'), tests.person('member'))$$,
  'as the reply to the question, with its run'
);
select tests.keep('first', tests.kept('reply')::jsonb ->> 'id');
select is(pg_temp.finish('Something else.'), 'ok', 'a second answer');
select is(tests.kept('reply')::jsonb ->> 'id', tests.kept('first'), 'is the first one');
select is(tests.kept('reply')::jsonb ->> 'content', 'It is 12 euros [1].', 'unchanged');
select tests.sign_in('member');
select is(
  (select string_agg(role, ',' order by created_at) from public.chat_messages where session_id = tests.kept_id('session') and created_at >= (select created_at from public.chat_messages where id = pg_temp.answer('message_id')::uuid)),
  'user,assistant', 'answers come after questions'
);
select pg_temp.turn('member', tests.kept_id('session'));
select is(pg_temp.finish('x', session => tests.id('chat b')), 'PT404 not_found', 'a question is answered in its own session');
select is(pg_temp.finish('x', tests.id('run b_member')), 'ok', 'a run of somebody else');
select is(tests.kept('reply')::jsonb ->> 'run_id', null, 'does not stand behind an answer');
select pg_temp.turn('member', tests.kept_id('session'));
select is(pg_temp.finish('', status => 'failed'), 'ok', 'a failed answer');
select is(tests.kept('reply')::jsonb ->> 'status', 'failed', 'says so');
select pg_temp.turn('member', tests.kept_id('session'));
delete from public.chat_sessions where id = tests.kept_id('session');
select is(pg_temp.finish('x'), 'PT404 not_found', 'nobody answers in a session that is gone');
select pg_temp.turn('member');
select tests.as_superuser();
delete from public.memberships where user_id = tests.person('member');
select is(pg_temp.finish('x'), 'PT403 forbidden', 'nor somebody who has left the tenant meanwhile');

select tests.sign_in('admin');
select is(tests.outcome(format('select ai.finish_chat_turn(%L, %L, content => %L)', tests.id('chat a'), gen_random_uuid(), 'x')), '42501', 'people do not speak for the assistant');
select is(
  tests.outcome(format($$insert into public.chat_messages (tenant_id, user_id, role, content) values (%L, %L, 'event', 'x')$$, tests.tenant('a'), tests.person('admin'))), '42501',
  'nor store messages themselves'
);
select is_empty($$select id from public.chat_messages where user_id <> tests.person('admin')$$, 'they read only their own');
select tests.sign_in('b_member');
select isnt_empty($$select id from public.chat_messages$$, 'as everybody does');

select * from finish();
rollback;
