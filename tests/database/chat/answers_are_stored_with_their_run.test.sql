-- The answer to a chat message is stored in the transaction that ends the run it was started for.
begin;
select plan(22);
select tests.make_world();

create function pg_temp.ask(who text default 'member', message_id uuid default null)
returns text
language plpgsql
as $$
begin
  perform tests.sign_in(who);
  if message_id is null then
    perform tests.keep('turn', public.begin_chat_turn(agent_id => tests.id('agent a'), message => 'What is the tariff?')::text);
  end if;
  return tests.outcome(format(
    'select tests.keep(''run'', ai.start_run(%L, message => ''x'', request => ''{"message": "x"}'', chat_message_id => %L)::text)', tests.id('agent a'),
    coalesce(ask.message_id, (tests.kept('turn')::jsonb ->> 'message_id')::uuid)
  ));
end;
$$;
create function pg_temp.run(key text) returns text language sql as $$ select tests.kept('run')::jsonb ->> key; $$;
create function pg_temp.question() returns uuid language sql as $$ select (tests.kept('turn')::jsonb ->> 'message_id')::uuid; $$;
create function pg_temp.finish(status text, complete jsonb, error text default null)
returns text
language plpgsql
as $$
begin
  perform tests.as_service();
  return tests.outcome(format(
    'select ai.finish_run(%L, %L, %L, %L, error => %L, first_seq => 1, events => %L)', pg_temp.run('id'), pg_temp.run('lease_token'), finish.status,
    finish.complete ->> 'content', finish.error, jsonb_build_array('{"event": "complete", "type": "complete"}'::jsonb || finish.complete)
  ));
end;
$$;
create function pg_temp.answers()
returns table (content text, status text, payload jsonb)
language sql
as $$
  select chat_messages.content, chat_messages.status, chat_messages.payload from public.chat_messages where chat_messages.reply_to_id = pg_temp.question();
$$;

select is(pg_temp.ask(), 'ok', 'a run for a message');
select tests.as_superuser();
select is_empty('select * from pg_temp.answers()', 'has no answer yet');
update public.chat_sessions set updated_at = '2020-01-01' where id = (tests.kept('turn')::jsonb ->> 'session_id')::uuid;
delete from realtime.messages;
select is(pg_temp.finish('completed', '{"status": "completed", "content": "12 ct [1]", "citations": [{"citation_key": 1}], "error": null}'), 'ok', 'ends');
select tests.as_superuser();
select set_eq(
  'select * from pg_temp.answers()',
  $$values ('12 ct [1]', 'complete', '{"event": "complete", "content": "12 ct [1]", "status": "completed", "citations": [{"citation_key": 1}]}'::jsonb)$$,
  'and its answer is there, as the chat gives it'
);
select set_eq(
  $$select run_id, session_id, user_id, role from public.chat_messages where reply_to_id = pg_temp.question()$$,
  $$values (pg_temp.run('id')::uuid, (tests.kept('turn')::jsonb ->> 'session_id')::uuid, tests.person('member'), 'assistant')$$, 'in the session, with its run'
);
select cmp_ok((select updated_at from public.chat_sessions where id = (tests.kept('turn')::jsonb ->> 'session_id')::uuid), '>', '2026-01-01', 'which is the latest now');
select is((select count(*)::int from realtime.messages where topic = 'chat:' || tests.person('member') and event = 'chat_event'), 1, 'every device is told');
select tests.as_service();
select is(
  ai.finish_chat_turn((tests.kept('turn')::jsonb ->> 'session_id')::uuid, pg_temp.question(), content => 'another') ->> 'content', '12 ct [1]', 'a second answer is not stored'
);

-- A run that does not complete.
select is(pg_temp.ask(), 'ok', 'another one');
select is(pg_temp.finish('failed', '{"status": "failed", "content": "Half", "error": "Too slow.", "code": "upstream_timeout"}', 'Too slow.'), 'ok', 'fails');
select tests.as_superuser();
select set_eq(
  'select * from pg_temp.answers()',
  $$values ('Half', 'failed', '{"event": "complete", "content": "Half", "status": "failed", "citations": [], "error": "Too slow.", "code": "upstream_timeout"}'::jsonb)$$,
  'and says why'
);
select pg_temp.ask();
select tests.as_superuser();
select private.end_run(pg_temp.run('id')::uuid, 'cancelled');
select tests.as_superuser();
select set_eq(
  'select status, payload ->> ''status'' as ended, payload ->> ''error'' as error from pg_temp.answers()', $$values ('failed', 'cancelled', 'The run was cancelled.')$$, 'one that is cancelled, too'
);

-- Rolled back with the run's end.
select pg_temp.ask();
select tests.as_superuser();
select is(
  tests.outcome_undone(format('select private.end_run(%L, ''failed'', ''x'', ''interrupted'')', pg_temp.run('id'))), 'ok', 'an end that is rolled back'
);
select is_empty('select * from pg_temp.answers()', 'leaves no answer');

-- Who has left gets none, and their run ends.
select tests.as_superuser();
delete from public.memberships where user_id = tests.person('member') and tenant_id = tests.tenant('a');
select ok(private.end_run(pg_temp.run('id')::uuid, 'failed', 'x', 'membership_lost'), 'the run of somebody who has left ends');
select is_empty('select * from pg_temp.answers()', 'without an answer');
insert into public.memberships (tenant_id, user_id, role) values (tests.tenant('a'), tests.person('member'), 'member');

-- So does one whose question is gone.
select pg_temp.ask();
select tests.as_superuser();
delete from public.chat_sessions where id = (tests.kept('turn')::jsonb ->> 'session_id')::uuid;
select is((select chat_message_id from ai.agent_runs where id = pg_temp.run('id')::uuid), null, 'a run whose session is deleted');
select ok(private.end_run(pg_temp.run('id')::uuid, 'cancelled'), 'ends');

-- Only for one's own words.
select tests.keep('mine', tests.kept('turn'));
select pg_temp.ask();
select is(pg_temp.ask('admin', pg_temp.question()), 'PT404 not_found', 'nobody answers another person''s message');
select is(pg_temp.ask('backend_a', pg_temp.question()), 'PT404 not_found', 'nor does the backend');
select is(pg_temp.ask('member', gen_random_uuid()), 'PT404 not_found', 'nor one that is not there');
select is(pg_temp.ask('member', pg_temp.question()), 'ok', 'its person does');

select * from finish();
rollback;
