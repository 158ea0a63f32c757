-- The limits of the functions hold in the database too, where every caller meets them.
begin;
select plan(8);
select tests.make_world();

select tests.sign_in('member');
select is(tests.outcome($$insert into ai.agents (name, model) values ('x', repeat('m', 201))$$), '23514', 'the name of a model');
select is(tests.outcome($$insert into ai.agents (name, settings) values ('x', jsonb_build_object('a', (select string_agg(md5(i::text), '') from generate_series(1, 3000) as i)))$$), '23514', 'settings');
select is(tests.outcome($$insert into ai.knowledge_bases (name, description) values ('x', repeat('d', 10001))$$), '23514', 'a description');
select is(
  tests.outcome($$insert into ai.knowledge_bases (name, indexing_config) values ('x', jsonb_build_object('a', (select string_agg(md5(i::text), '') from generate_series(1, 3000) as i)))$$), '23514', 'how to index'
);
select is(
  tests.outcome($$insert into ai.knowledge_bases (name, retrieval_config) values ('x', jsonb_build_object('a', (select string_agg(md5(i::text), '') from generate_series(1, 3000) as i)))$$), '23514', 'how to search'
);
select is(tests.outcome($$insert into public.chat_sessions (title) values (repeat('t', 201))$$), '23514', 'a title');
select is(tests.outcome($$insert into public.memories (user_id, body) values (auth.uid(), repeat('b', 20001))$$), '23514', 'a memory');
select lives_ok($$insert into ai.knowledge_bases (name, description) values ('x', repeat('d', 10000))$$, 'up to the limit all is well');

select * from finish();
rollback;
