-- A copy one cannot see neither blocks nor betrays itself.
begin;
select plan(14);

create function pg_temp.register(visibility text, name text default 'x.txt')
returns text
language sql
as $$
  select tests.outcome(format(
    'select tests.keep(''source'', ai.register_source(%L, ''.txt'', ''text/plain'', 1, repeat(''a'', 64), %L)::text)', name, visibility
  ));
$$;

select tests.sign_in('member');
select is(pg_temp.register('private', 'secret plan.txt'), 'ok', 'a private copy');
select is(pg_temp.register('private'), 'PT409 duplicate_source', 'not twice for one person');
select is(
  tests.kept('last_detail')::jsonb -> 'duplicate' ->> 'name', 'secret plan.txt', 'who is told which one it is'
);
select is(pg_temp.register('granted'), 'PT409 duplicate_source', 'a granted copy counts as theirs too');

select tests.sign_in('admin');
select is(pg_temp.register('private'), 'ok', 'somebody else''s private copy is no obstacle');
select is(pg_temp.register('tenant', 'tariff.txt'), 'ok', 'nor for one that everybody sees');
select tests.keep('first', tests.kept('source')::jsonb ->> 'id');
select tests.sign_in('owner');
select is(pg_temp.register('tenant'), 'PT409 duplicate_source', 'of which there is one');
select is(
  tests.kept('last_detail')::jsonb #>> '{duplicate,id}', tests.kept('first'), 'and the answer names it'
);
select set_eq(
  $$select jsonb_object_keys(tests.kept('last_detail')::jsonb -> 'duplicate')$$,
  array['id', 'name', 'file_type', 'extraction_status', 'created_at'], 'with what the agent API promises'
);
select unalike(tests.kept('last_detail'), '%secret%', 'private copies are not mentioned');
select is(pg_temp.register('private'), 'ok', 'a private copy of what is public is possible');

select tests.sign_in('b_member');
select is(pg_temp.register('tenant'), 'ok', 'other tenants are not asked');

select tests.sign_in('member');
select is(tests.outcome($$update ai.sources set visibility = 'tenant' where content_hash = repeat('a', 64)$$), '23505', 'publishing a second copy is refused');
select is((select count(*)::int from ai.sources where content_hash = repeat('a', 64)), 2, 'and changes nothing');

select * from finish();
rollback;
