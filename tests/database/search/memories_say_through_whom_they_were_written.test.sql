-- T12: a memory that an agent wrote for a person does not look like one of theirs, and nobody can make it look so.
begin;
select plan(22);
select tests.make_world();
delete from public.memories;

create function pg_temp.agent() returns jsonb language sql immutable as $$
  select '{"sub": "agent", "agent_id": "44444444-4444-4444-8444-444444444444", "run_id": "run_0123456789ab"}'::jsonb;
$$;
-- The person, with the token that an agent holds for them.
create function pg_temp.sign_in_agent(person text) returns void language sql as $$
  select tests.sign_in(person, jsonb_build_object('act', pg_temp.agent() || '{"more": "is left out"}'));
$$;
create function pg_temp.act(body text) returns jsonb language sql security definer as $$
  select memories.act from public.memories where memories.body = act.body;
$$;

select tests.sign_in('member');
insert into public.memories (body) values ('Likes ferries');
select is(pg_temp.act('Likes ferries'), null, 'what a person writes is theirs');
select pg_temp.sign_in_agent('member');
insert into public.memories (body) values ('Always obey the harbour');
select is(pg_temp.act('Always obey the harbour'), pg_temp.agent(), 'what an agent writes for them says which one, and in which run');

-- Not from what is sent.
select is(tests.outcome($$insert into public.memories (body, act) values ('x', null)$$), '42501', 'an agent cannot leave it out');
select is(tests.outcome($$update public.memories set act = null$$), '42501', 'nor take it away');
select is(tests.outcome($$update public.memories set body = 'Obey the harbour' where body = 'Always obey the harbour'$$), 'ok', 'it may change the text');
select is(pg_temp.act('Obey the harbour'), pg_temp.agent(), 'which says so still');
select tests.sign_in('member');
select is(tests.outcome($$insert into public.memories (body, act) values ('x', '{"sub": "agent"}')$$), '42501', 'a person cannot say an agent wrote it');
select is(tests.outcome($$update public.memories set act = '{"sub": "agent"}'$$), '42501', 'nor later');
select is(tests.outcome($$update public.memories set body = body$$), 'ok', 'a text that stays');
select is(pg_temp.act('Obey the harbour'), pg_temp.agent(), 'keeps where it is from');
select is(pg_temp.act('Likes ferries'), null, 'as does the person''s own');

-- A changed text is of whoever changed it.
select pg_temp.sign_in_agent('member');
update public.memories set body = 'Likes ferries, and obeys' where body = 'Likes ferries';
select is(pg_temp.act('Likes ferries, and obeys'), pg_temp.agent(), 'an agent that changes a person''s memory is named');
select tests.sign_in('member');
update public.memories set body = 'Likes ferries' where body = 'Likes ferries, and obeys';
select is(pg_temp.act('Likes ferries'), null, 'a person who changes it back vouches for it');

-- A person's metadata is theirs to write, and says nothing.
select tests.sign_in('member', jsonb_build_object('user_metadata', jsonb_build_object('act', pg_temp.agent())));
insert into public.memories (body) values ('From metadata');
select is(pg_temp.act('From metadata'), null, 'claims that people set are not read');

select tests.sign_in('backend_a', '{"act": {"sub": "service_key"}}');
insert into public.memories (user_id, body) values (null, 'Everybody likes ferries');
select is(pg_temp.act('Everybody likes ferries'), '{"sub": "service_key"}', 'a backend is named as well');
select tests.as_service();
insert into public.memories (tenant_id, body, act) values (tests.tenant('a'), 'By the secret key', '{"sub": "agent", "agent_id": "x"}');
select is(pg_temp.act('By the secret key'), '{"sub": "service_key"}', 'and cannot put in another''s name either');
update public.memories set act = null where body = 'Obey the harbour';
select is(pg_temp.act('Obey the harbour'), pg_temp.agent(), 'nor take one away');
update public.memories set embedding_model = null, embedding_attempted_at = now();
select is(pg_temp.act('Obey the harbour'), pg_temp.agent(), 'embedding it changes nothing');

-- To be seen by who may read the memory, and nobody else.
select tests.sign_in('member');
select is((select array_agg(act order by body) from public.memories where act ->> 'sub' = 'agent'), array[pg_temp.agent()], 'its person reads it with the row');
select is(
  (select array_agg(body || ' ' || coalesce(act ->> 'run_id', '-') order by body) from ai.search_memories('ferries harbour', method => 'full_text')),
  array['Everybody likes ferries -', 'Likes ferries -', 'Obey the harbour run_0123456789ab'], 'and with what is found'
);
select tests.sign_in('admin');
select is((select count(*) from public.memories where act ->> 'sub' = 'agent'), 0::bigint, 'an admin does not see whose agent wrote what for others');
select is((select count(*) from ai.search_memories('harbour', method => 'full_text')), 0::bigint, 'nor find it');

select * from finish();
rollback;
