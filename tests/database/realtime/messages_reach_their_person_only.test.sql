-- The broadcast of public.chat_messages, as in recipe 4 of the cookbook, and who may listen.
begin;
select plan(30);
select tests.make_world();
delete from realtime.messages;

-- Recipe 4a: the backend mirrors {user_id, payload} with the secret key.
select tests.as_service();
select is(
  tests.outcome(format('insert into public.chat_messages (user_id, payload) values (%L, %L)', tests.person('member'), '{"event": "chunk", "delta": "Hel"}')), 'ok',
  'an event for a person'
);
select set_eq(
  $$select tenant_id, role, session_id from public.chat_messages where payload ->> 'event' = 'chunk'$$, $$values (tests.tenant('a'), 'event', null::uuid)$$, 'is stored in their only tenant'
);
select tests.as_superuser();
select is((select count(*)::int from realtime.messages), 1, 'and is broadcast: one row');
select set_eq(
  'select topic, event, extension, private from realtime.messages',
  $$values ('chat:' || tests.person('member'), 'chat_event', 'broadcast', true)$$, 'on the private topic of that person'
);
select set_eq(
  $$select payload ->> 'message_id' as message_id, payload -> 'event' as event from realtime.messages$$,
  $$select id::text, payload from public.chat_messages where payload ->> 'event' = 'chunk'$$, 'with the message''s id and payload'
);
select ok((select payload ? 'id' from realtime.messages), 'as realtime.send leaves it');
delete from realtime.messages;

select tests.as_service();
select is(
  tests.outcome(format('insert into public.chat_messages (user_id, payload) values (%L, %L)', tests.person('both'), '{}')), 'PT400 tenant_required', 'a person of two tenants: which?'
);
select is(
  tests.outcome(format('insert into public.chat_messages (tenant_id, user_id, payload) values (%L, %L, %L)', tests.tenant('b'), tests.person('both'), '{}')), 'ok', 'this one'
);
select is(
  tests.outcome(format('insert into public.chat_messages (tenant_id, user_id, payload) values (%L, %L, %L)', tests.tenant('b'), tests.person('member'), '{}')), 'PT403 forbidden',
  'nobody is written to in a tenant that is not theirs'
);
select is(
  tests.outcome(format('insert into public.chat_messages (user_id, payload) values (%L, %L)', tests.person('outsider'), '{}')), 'PT400 tenant_required', 'nor in none'
);
select is(
  tests.outcome(format($$insert into public.chat_messages (tenant_id, user_id, session_id, role, content) values (%L, %L, %L, 'assistant', 'x')$$, tests.tenant('a'), tests.person('admin'), tests.id('chat a'))),
  '23503', 'nor into a session of somebody else'
);

-- A person's own words reach their other devices, too: the trigger runs with its own rights, not the caller's.
select tests.as_superuser();
delete from realtime.messages;
select tests.sign_in('member');
select public.begin_chat_turn(message => 'hello');
select tests.as_superuser();
select is((select payload ->> 'role' from realtime.messages where topic = 'chat:' || tests.person('member')), 'user', 'what a person says is broadcast to them');
-- Large payloads are announced without their content.
select tests.as_service();
insert into public.chat_messages (user_id, payload) values (tests.person('viewer'), jsonb_build_object('text', repeat('x', 40000)));
select tests.as_superuser();
select set_eq(
  $$select payload -> 'truncated' as truncated, payload -> 'event' as event from realtime.messages where topic = 'chat:' || tests.person('viewer')$$, $$values ('true'::jsonb, 'null'::jsonb)$$,
  'a large one is announced only'
);
select is(tests.outcome_undone($$insert into public.chat_messages (user_id, payload) values (tests.person('owner'), '{}')$$), 'ok', 'one that is rolled back');
select is_empty($$select id from realtime.messages where topic = 'chat:' || tests.person('owner')$$, 'is not broadcast');

-- Listening, as the Realtime server asks: rows of the topic, under the policy.
create function pg_temp.hears(who text, topic text, extension text default 'broadcast')
returns boolean
language plpgsql
as $$
declare
  result boolean;
begin
  perform tests.as_superuser();
  insert into realtime.messages (topic, extension) values (hears.topic, hears.extension);
  if who = 'anon' then
    perform tests.as_anon();
  else
    perform tests.sign_in(who);
  end if;
  perform set_config('realtime.topic', hears.topic, true);
  select exists (select from realtime.messages where messages.topic = hears.topic and messages.extension = hears.extension) into result;
  return result;
end;
$$;
select ok(pg_temp.hears('member', 'chat:' || tests.person('member')), 'a person hears their own channel');
select ok(pg_temp.hears('viewer', 'chat:' || tests.person('viewer')), 'whatever their role');
select ok(not pg_temp.hears('member', 'chat:' || tests.person('admin')), 'not a colleague''s');
select ok(not pg_temp.hears('owner', 'chat:' || tests.person('member')), 'not as an owner either');
select ok(not pg_temp.hears('member', 'chat:' || tests.person('b_member')), 'not another tenant''s');
select ok(not pg_temp.hears('member', 'chat:' || upper(tests.person('member')::text)), 'nor one that is written otherwise');
select ok(not pg_temp.hears('member', 'chat:' || tests.person('member') || ' '), 'nor with something behind it');
select ok(not pg_temp.hears('member', 'chat:*'), 'nor a pattern');
select ok(not pg_temp.hears('member', 'chat:' || tests.person('member'), 'presence'), 'there is no presence to see who is there');
select ok(not pg_temp.hears('outsider', 'chat:' || tests.person('outsider')), 'who is in no tenant hears nothing');
select ok(not pg_temp.hears('anon', 'chat:' || tests.person('member')), 'nor does anon');
select ok(not pg_temp.hears('backend_a', 'chat:' || tests.person('member')), 'nor a backend');

-- Speaking: nobody.
create function pg_temp.speaks(who text)
returns text
language plpgsql
as $$
begin
  perform tests.sign_in(who);
  perform set_config('realtime.topic', 'chat:' || tests.person(who), true);
  return tests.outcome(format($s$insert into realtime.messages (topic, extension, event, payload, private) values (%L, 'broadcast', 'chat_event', '{"forged": true}', true)$s$, 'chat:' || tests.person(who)));
end;
$$;
select is(pg_temp.speaks('member'), '42501', 'not even on their own channel can people forge events');
select is(pg_temp.speaks('owner'), '42501', 'nor owners');
select tests.sign_in('member');
select set_config('client_min_messages', 'error', true);
select realtime.send('{"forged": true}', 'chat_event', 'chat:' || tests.person('member'), true);
select tests.as_superuser();
select is_empty($$select id from realtime.messages where payload ? 'forged'$$, 'realtime.send does it for nobody');

select * from finish();
rollback;
