-- The broadcast of ai.run_events, and who may listen to the channel of a run.
begin;
select plan(36);
select tests.make_world();

create function pg_temp.start(who text, chat_message uuid default null)
returns void
language plpgsql
as $$
begin
  perform tests.sign_in(who);
  perform tests.keep(
    'run', ai.start_run(tests.id('agent a'), message => 'What is the tariff?', request => '{"message": "x"}', chat_message_id => chat_message)::text
  );
end;
$$;
create function pg_temp.run(key text) returns text language sql as $$ select tests.kept('run')::jsonb ->> key; $$;
create function pg_temp.append(first_seq int, events jsonb)
returns text
language plpgsql
as $$
begin
  perform tests.as_service();
  return tests.outcome(format('select ai.append_run_events(%L, %L, %L, %L)', pg_temp.run('id'), pg_temp.run('lease_token'), append.first_seq, append.events));
end;
$$;

select pg_temp.start('member');
select tests.as_superuser();
delete from realtime.messages;
select is(
  pg_temp.append(1, '[{"event": "start", "type": "start", "ts": "2026-01-01T00:00:00.000Z"}, {"event": "content_delta", "type": "content_delta", "delta": "Hel", "off": 0}]'), 'ok', 'two events at once'
);
select tests.as_superuser();
select set_eq(
  'select topic, event, extension, private from realtime.messages',
  $$select topic, 'run_event' as event, 'broadcast' as extension, true as private from unnest(array['chat:' || tests.person('member'), 'run:' || pg_temp.run('run_id')]) as topic$$,
  'reach the person''s channel and the run''s, privately'
);
select is((select count(*)::int from realtime.messages), 4, 'each once');
select results_eq(
  $$select payload -> 'seq' as seq from realtime.messages where topic like 'run:%' order by ctid$$, $$values ('1'::jsonb), ('2'::jsonb)$$, 'in order'
);
select set_eq(
  $$select payload - array['id', 'ts'] as payload from realtime.messages where topic like 'chat:%' and payload ->> 'seq' = '2'$$,
  $$values (jsonb_build_object('run_id', pg_temp.run('run_id'), 'seq', 2, 'type', 'content_delta', 'event', 'content_delta', 'delta', 'Hel', 'off', 0))$$,
  'with their position, the run by its public id'
);
select is((select payload ->> 'ts' from realtime.messages where topic like 'run:%' and payload ->> 'seq' = '1'), '2026-01-01T00:00:00.000Z', 'with the time that the log says');
select isnt((select payload ->> 'ts' from realtime.messages where topic like 'run:%' and payload ->> 'seq' = '2'), null, 'or that of the row');
select is(pg_temp.append(2, '[{"event": "content_delta", "type": "content_delta", "delta": "Hel", "off": 0}]'), 'ok', 'a write that is repeated');
select tests.as_superuser();
select is((select count(*)::int from realtime.messages), 4, 'is not told twice');
delete from realtime.messages;

-- What an event says about itself does not move it.
select is(pg_temp.append(3, '[{"event": "x", "type": "x", "seq": 99, "run_id": "run_ffffffffffff"}]'), 'ok', 'an event that names another place');
select tests.as_superuser();
select set_eq(
  $$select payload ->> 'seq' as seq, payload ->> 'run_id' as run from realtime.messages$$, $$values ('3', pg_temp.run('run_id'))$$, 'keeps the one of the log'
);
delete from realtime.messages;
select is(pg_temp.append(4, jsonb_build_array(jsonb_build_object('event', 'tool_result', 'type', 'tool_result', 'result', repeat('x', 40000)))), 'ok', 'a large one');
select tests.as_superuser();
select set_eq(
  $$select payload - 'id' as payload from realtime.messages$$,
  $$values (jsonb_build_object('run_id', pg_temp.run('run_id'), 'seq', 4, 'type', 'tool_result', 'ref', true))$$, 'is announced only'
);
select tests.sign_in('member');
select is(
  (select char_length(payload ->> 'result') from ai.run_events where run_id = pg_temp.run('id')::uuid and seq = 4), 40000, 'and read under the person''s own rights'
);

-- Nothing that goes wrong here stops a run.
select tests.as_superuser();
delete from realtime.messages;
set local client_min_messages to error;
alter table realtime.messages add constraint no_more check (false) not valid;
select is(pg_temp.append(5, '[{"event": "x", "type": "x"}]'), 'ok', 'a broadcast that fails');
select tests.as_superuser();
select is_empty('select id from realtime.messages', 'is lost');
select isnt_empty($$select seq from ai.run_events where run_id = pg_temp.run('id')::uuid and seq = 5$$, 'and the log goes on');
alter table realtime.messages drop constraint no_more;

-- A backend's run is nobody's chat.
select pg_temp.start('backend_a');
select is(pg_temp.append(1, '[{"event": "start", "type": "start"}]'), 'ok', 'a run of the backend');
select tests.as_superuser();
select set_eq('select topic from realtime.messages', $$values ('run:' || pg_temp.run('run_id'))$$, 'is told of on its own channel only');

-- Listening, as the Realtime server asks: rows of the topic, under the policies.
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
select ok(pg_temp.hears('backend_a', 'run:' || pg_temp.run('run_id')), 'the backend hears its own runs');
select ok(not pg_temp.hears('member', 'run:' || pg_temp.run('run_id')), 'people do not');
select pg_temp.start('member');
select ok(pg_temp.hears('member', 'run:' || pg_temp.run('run_id')), 'S01 a person hears their own run');
select ok(not pg_temp.hears('owner', 'run:' || pg_temp.run('run_id')), 'S01 an owner of the tenant does not');
select ok(not pg_temp.hears('b_member', 'run:' || pg_temp.run('run_id')), 'S01 nor does another tenant');
select ok(not pg_temp.hears('anon', 'run:' || pg_temp.run('run_id')), 'S01 nor anon');
select ok(not pg_temp.hears('member', 'run:' || upper(pg_temp.run('run_id'))), 'S01 nor under another spelling of the run');
select ok(not pg_temp.hears('member', 'RUN:' || pg_temp.run('run_id')), 'S01 or of the topic');
select ok(not pg_temp.hears('member', 'run:*') and not pg_temp.hears('member', 'run:') and not pg_temp.hears('member', pg_temp.run('run_id')), 'S01 or by a pattern');
select ok(not pg_temp.hears('member', 'run:' || pg_temp.run('run_id'), 'presence'), 'S03 there is no presence to see who is there');
select tests.as_superuser();
delete from public.memberships where user_id = tests.person('member') and tenant_id = tests.tenant('a');
select ok(not pg_temp.hears('member', 'run:' || pg_temp.run('run_id')), 'S04 who has left the tenant hears nothing more');


-- Who stays in another tenant may still join their own channel: what goes on in this one is not told there.
select pg_temp.start('both');
select tests.as_superuser();
delete from realtime.messages;
select is(pg_temp.append(1, '[{"event": "start", "type": "start"}]'), 'ok', 'a run of somebody in two tenants');
select tests.as_superuser();
select ok(exists (select from realtime.messages where topic = 'chat:' || tests.person('both')), 'S04 reaches their channel');
delete from public.memberships where user_id = tests.person('both') and tenant_id = tests.tenant('a');
delete from realtime.messages;
select is(pg_temp.append(2, '[{"event": "content_delta", "type": "content_delta", "delta": "secret", "off": 0}]'), 'ok', 'what its executor still says after they have left one');
select tests.as_superuser();
select set_eq('select topic from realtime.messages', $$values ('run:' || pg_temp.run('run_id'))$$, 'S04 does not');
select is((select payload - 'id' from realtime.messages), jsonb_build_object('run_id', pg_temp.run('run_id'), 'seq', 2, 'type', 'content_delta', 'ref', true), 'S04 and whoever hears the run has to read it under their own rights');

-- Speaking: nobody.
select tests.sign_in('admin');
select set_config('realtime.topic', 'run:' || pg_temp.run('run_id'), true);
select is(
  tests.outcome(format($s$insert into realtime.messages (topic, extension, event, payload, private) values (%L, 'broadcast', 'run_event', '{"type": "complete"}', true)$s$, 'run:' || pg_temp.run('run_id'))),
  '42501', 'S02 nobody can forge an event'
);

select * from finish();
rollback;
