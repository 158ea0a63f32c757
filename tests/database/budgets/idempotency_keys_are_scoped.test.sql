-- A key stands for one request of one caller in one tenant: Q07.
begin;
select plan(23);
select tests.as_service();
create function pg_temp.begin_as(who text, narrowing text[], key text default 'k', body text default 'body', route text default 'POST /x')
returns jsonb
language sql
as $$
  select ai.begin_request(
    coalesce(tests.person(who), (select id from private.tenant_principals where tenant_id = tests.tenant(right(who, 1)))),
    array(select tests.tenant(letter) from unnest(narrowing) as letter), key, route, body
  );
$$;
create function pg_temp.finish(attempt jsonb, who text, response jsonb)
returns boolean
language sql
as $$ select ai.finish_request((attempt ->> 'id')::uuid, tests.person(who), response); $$;

select tests.keep('first', pg_temp.begin_as('both', '{a}')::text);
select is(tests.kept('first')::jsonb ->> 'state', 'new', 'the first is carried out');
select is(pg_temp.begin_as('both', '{a}'), '{"state": "in_progress"}', 'a twin is told to wait');
select is(tests.outcome($$select pg_temp.begin_as('both', '{a}', body => 'other')$$), 'PT409 idempotency_conflict', 'another body is refused at once');
select is(pg_temp.begin_as('both', '{b}', body => 'other') ->> 'state', 'new', 'in another tenant the same key is another one');
select is(pg_temp.begin_as('both', '{}', body => 'other') ->> 'state', 'new', 'also in both at once');
select is(pg_temp.begin_as('member', '{a}', body => 'other') ->> 'state', 'new', 'somebody else''s key is another one');
select is(pg_temp.begin_as('backend_a', '{a}', body => 'other') ->> 'state', 'new', 'the backend''s too');
select is(pg_temp.begin_as('both', '{a}', route => 'POST /y', body => 'other') ->> 'state', 'new', 'and that of another route');
select ok(not pg_temp.finish(tests.kept('first')::jsonb, 'member', '{"status": 200}'), 'nobody answers for somebody else');
select ok(pg_temp.finish(tests.kept('first')::jsonb, 'both', '{"status": 200}'), 'who carried it out answers');
select ok(not pg_temp.finish(tests.kept('first')::jsonb, 'both', '{"status": 500}'), 'once');
select is(pg_temp.begin_as('both', '{a}'), '{"state": "answered", "response": {"status": 200}}', 'a repetition gets the first answer');
select is(tests.outcome($$select pg_temp.begin_as('both', '{a}', body => 'other')$$), 'PT409 idempotency_conflict', 'another body still does not');

-- Who has left the tenant gets nothing that was answered in it.
select tests.as_superuser();
delete from public.memberships where user_id = tests.person('both') and tenant_id = tests.tenant('a');
select tests.as_service();
select is(pg_temp.begin_as('both', '{a}') ->> 'state', 'new', 'an answer of a tenant one has left is not repeated');

-- An attempt that failed, and one that died.
select tests.keep('second', pg_temp.begin_as('member', '{a}', 'k2')::text);
select ok(pg_temp.finish(tests.kept('second')::jsonb, 'member', null), 'an attempt that came to nothing');
select tests.keep('third', pg_temp.begin_as('member', '{a}', 'k2')::text);
select is(tests.kept('third')::jsonb ->> 'state', 'new', 'is forgotten');
update private.idempotency_keys set locked_until = now() where id = (tests.kept('third')::jsonb ->> 'id')::uuid;
select is(tests.outcome($$select pg_temp.begin_as('member', '{a}', 'k2', body => 'other')$$), 'PT409 idempotency_conflict', 'one that died keeps its body');
select tests.keep('fourth', pg_temp.begin_as('member', '{a}', 'k2')::text);
select is(tests.kept('fourth')::jsonb ->> 'state', 'new', 'and makes room for the next');
select ok(not pg_temp.finish(tests.kept('third')::jsonb, 'member', '{"status": 200}'), 'which it cannot answer for any more');
select pg_temp.finish(tests.kept('fourth')::jsonb, 'member', '{"status": 201}');
update private.idempotency_keys set expires_at = now() where id = (tests.kept('fourth')::jsonb ->> 'id')::uuid;
select is(pg_temp.begin_as('member', '{a}', 'k2', body => 'other') ->> 'state', 'new', 'after a day a key is new again');

-- No later request with a key is needed.
update private.idempotency_keys set expires_at = now() - interval '1 second' where id = (tests.kept('first')::jsonb ->> 'id')::uuid;
select is(ai.remove_expired_answers(), 1, 'the sweep removes what has been kept for a day');
select is(ai.remove_expired_answers(), 0, 'and nothing else');

-- With the tenant goes what was answered in it.
select tests.as_superuser();
delete from public.tenants where id = tests.tenant('b');
select is((select count(*) from private.idempotency_keys where tenant_id = tests.tenant('b')), 0::bigint, 'answers are deleted with their tenant');

select * from finish();
rollback;
