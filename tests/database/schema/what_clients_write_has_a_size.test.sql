-- The limits of the functions hold in the database too, where every caller meets them.
begin;
select plan(21);
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

-- Ten bytes of such a number are 131,072 characters to whoever reads it, or 16,385 behind the point.
select is(tests.outcome(format($$insert into ai.agents (name, settings) values ('x', %L)$$, numbers.settings)), numbers.expected, numbers.settings)
from (
  values
    ('{"a": [1e131071]}', 'PT400 invalid_request'), ('{"a": {"b": -1e309}}', 'PT400 invalid_request'), ('{"a": 0e-16383}', 'PT400 invalid_request'),
    ('{"a": [1, -2.5, 1.7976931348623157e308, 5e-324, 0.12345678901234567890, null, true, "1e131071"]}', 'ok')
) as numbers (settings, expected);
select is(tests.outcome($$update ai.sources set metadata = '{"a": 1e131071}' where id = tests.id('source a_open')$$), 'PT400 invalid_request', 'what a document is told of');
select is(tests.outcome($$insert into ai.knowledge_bases (name, indexing_config) values ('x', '{"a": 1e131071}')$$), 'PT400 invalid_request', 'how to index');
select is(tests.outcome($$insert into ai.context_handlers (query, retrieved_context) values ('x', '[{"score": 1e131071}]')$$), 'PT400 invalid_request', 'what was found');
select is(
  tests.outcome($$select ai.start_run(agent_id => tests.id('agent a'), message => 'x', retrieved_context => '[{"score": 1e131071}]')$$),
  'PT400 invalid_request', 'what a run is given'
);
select is(
  tests.outcome($$select ai.start_run(agent_id => tests.id('agent a'), message => 'x', request => '{"a": [1e131071]}')$$), 'PT400 invalid_request',
  'and what it was asked with'
);
select is(
  tests.outcome($$select ai.start_run(agent_id => tests.id('agent a'), message => 'x', retrieved_context => '[{"score": 0.5}]', request => '{"a": 1}')$$), 'ok',
  'other numbers are welcome'
);
-- Permissions are of a form that has no numbers, which the last line shows.
select tests.as_superuser();
select is_empty(
  $$
    select format('%s.%s', pg_attribute.attrelid::regclass, pg_attribute.attname)
    from pg_attribute
    join pg_class on pg_class.oid = pg_attribute.attrelid
    where pg_class.relkind = 'r' and pg_class.relnamespace in ('ai'::regnamespace, 'public'::regnamespace)
      and pg_attribute.atttypid = 'jsonb'::regtype and not pg_attribute.attisdropped
      and (has_column_privilege('authenticated', pg_class.oid, attnum, 'insert') or has_column_privilege('authenticated', pg_class.oid, attnum, 'update'))
      and pg_attribute.attname <> 'permissions'
      and not exists (
        select from pg_trigger
        where pg_trigger.tgrelid = pg_class.oid and pg_trigger.tgname = 'refuse_odd_numbers'
          and pg_get_triggerdef(pg_trigger.oid) like '%has_plain_numbers(new.' || pg_attribute.attname || ')%'
      )
  $$,
  'so is every column of the kind that clients write'
);
-- What was there before holds up nobody who changes something else.
alter table ai.sources disable trigger refuse_odd_numbers;
update ai.sources set metadata = '{"a": 1e131071}' where id = tests.id('source a_open');
alter table ai.sources enable trigger refuse_odd_numbers;
select lives_ok($$update ai.sources set visibility = 'private' where id = tests.id('source a_open')$$, 'a source that has such a number already can be hidden');
select tests.sign_in('admin');
select is(
  tests.outcome($$insert into ai.agent_tools (agent_id, tool_type, tool_name, permissions) values (tests.id('agent quiet a'), 'builtin', 'x', '{"a": 1e131071}')$$),
  '23514', 'permissions have no numbers'
);

select * from finish();
rollback;
