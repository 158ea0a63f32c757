-- Context handlers: written once by the person they were retrieved for, changed by nobody.
begin;
select plan(24);
select tests.make_world();

create function pg_temp.store(columns text default 'query', value text default $$'x'$$)
returns text
language sql
as $$ select tests.outcome(format('insert into ai.context_handlers (%s) values (%s)', columns, value)); $$;

select tests.sign_in('viewer');
select is(pg_temp.store(), 'ok', 'a viewer stores a retrieval');
select is((select user_id from ai.context_handlers), tests.person('viewer'), 'of their own');
select is((select status || (completed_at = now()) from ai.context_handlers), 'completedtrue', 'complete, unless they say otherwise');
select is(pg_temp.store('query, user_id', format('%L, %L', 'x', tests.person('viewer'))), '42501', 'it is not said whose');
select is(tests.outcome($$update ai.context_handlers set retrieved_context = '[]'$$), '42501', 'nothing is changed');
select is(tests.outcome('delete from ai.context_handlers'), '42501', 'or taken away');
select tests.sign_in('backend_a');
select is(pg_temp.store(), 'ok', 'the backend stores one');
select is((select count(*)::int from ai.context_handlers where query = 'x' and user_id is null), 1, 'of nobody in particular');
select tests.sign_in('both');
select is(pg_temp.store(), 'PT400 tenant_required', 'who is in several tenants says in which');
select is(pg_temp.store('query, tenant_id', format('%L, %L', 'x', tests.tenant('b'))), 'ok', 'and finds it there');
select tests.sign_in('both', jsonb_build_object('tenant_id', tests.tenant('a')));
select is_empty('select id from ai.context_handlers', 'only there');
select tests.as_superuser();
delete from public.memberships where user_id = tests.person('viewer');
select tests.sign_in('viewer');
select is_empty('select id from ai.context_handlers', 'who has left does not keep what they could see');

select tests.sign_in('member');
select is(pg_temp.store('query', $$''$$), '23514', 'a question says something');
select is(pg_temp.store('query, knowledge_base_configs', $$'x', '{}'$$), '23514', 'where it was looked is a list');
select is(pg_temp.store('query, errors', $$'x', '{}'$$), '23514', 'and so is what went wrong');
select is(pg_temp.store('query, errors', $$'x', jsonb_build_array((select string_agg(md5(i::text), '') from generate_series(1, 3000) as i))$$), '23514', 'of a size');
select is(pg_temp.store('query, status, completed_at', $$'x', 'lost', null$$), '23514', 'a status is one we know');
select is(pg_temp.store('query, status', $$'x', 'pending'$$), '23514', 'what is pending is not complete');
select is(pg_temp.store('query, status, completed_at', $$'x', 'pending', null$$), 'ok', 'but may become so');
select is(pg_temp.store('query, retrieved_context', $$'x', '{}'$$), '23514', 'passages are a list');
select is(pg_temp.store('query, metadata', $$'x', '[]'$$), '23514', 'metadata an object');
select is(pg_temp.store('query, max_context_tokens', $$'x', 0$$), '23514', 'an allowance is more than nothing');
select is(
  pg_temp.store('query, retrieved_context', $$'x', jsonb_build_array((select string_agg(md5(i::text), '') from generate_series(1, 140000) as i))$$), '23514',
  'what is kept has a size'
);
select is(pg_temp.store('query, formatted_context', $$'x', repeat('x', 4000001)$$), '23514', 'in both forms');

select * from finish();
rollback;
