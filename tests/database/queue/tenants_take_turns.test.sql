begin;
select plan(14);

-- The queue as its workers see it: what would be picked, in order.
create function pg_temp.order_of(queue text) returns text[] language sql as $$
  select array_agg(sources.name order by job.priority desc, job.created_on, job.seq)
  from (select job.*, row_number() over (order by job.ctid) as seq from pgboss.job where job.name = queue and job.state < 'active') as job
  join ai.sources on sources.id::text = job.data ->> 'id';
$$;
create function pg_temp.make(letter text, number int) returns void language sql as $$
  insert into ai.sources (id, tenant_id, name, file_type, mime_type, size_bytes, content_hash, storage_path)
  select tests.id(letter || number), tests.tenant(letter), letter || number, '.txt', 'text/plain', 1, encode(sha256((letter || number)::bytea), 'hex'),
    tests.tenant(letter) || '/' || tests.id(letter || number) || '/x';
$$;
create function pg_temp.ask(letter text, number int) returns uuid language sql as $$
  select ai.enqueue('extract_source', jsonb_build_object('id', tests.id(letter || number)), dedupe => tests.id(letter || number)::text);
$$;
create function pg_temp.start(source text) returns void language sql as $$
  update pgboss.job set state = 'active', started_on = now() where job.data ->> 'id' = tests.id(source)::text;
$$;
select count(pg_temp.make('a', number)) from generate_series(1, 9) as number;
select count(pg_temp.make('b', number)) from generate_series(1, 4) as number;

select count(pg_temp.ask('a', number)) from generate_series(1, 5) as number;
select pg_temp.ask('b', 1);
select pg_temp.ask('b', 2);
select is(pg_temp.order_of('extract_source'), '{a1,b1,a2,b2,a3,a4,a5}', 'who comes later with less does not wait for all who came before');
select set_eq(
  $$select distinct group_id from pgboss.job where name = 'extract_source'$$, $$select tests.tenant(l)::text from unnest(array['a', 'b']) as l$$,
  'a job belongs to the tenant of what it is about'
);

-- Time goes on: the queue has come to the fourth job of A.
select pg_temp.start('a1'), pg_temp.start('a2'), pg_temp.start('b1'), pg_temp.start('b2');
update pgboss.job set state = 'completed' where name = 'extract_source' and state = 'active';
select pg_temp.start('a3');
select count(pg_temp.ask('b', number)) from generate_series(3, 4) as number;
select is(pg_temp.order_of('extract_source'), '{a4,b3,a5,b4}', 'who comes anew goes with the first of those who wait');
select count(pg_temp.ask('a', number)) from generate_series(6, 7) as number;
select is(pg_temp.order_of('extract_source'), '{a4,b3,a5,b4,a6,a7}', 'what waits keeps its turn, and is not overtaken for ever');

-- A job that failed is tried again in its tenant's turn.
select pg_temp.start('a4');
delete from pgboss.job where data ->> 'id' = tests.id('a4')::text;
insert into pgboss.job (name, data, state, policy, singleton_key)
values ('extract_source', jsonb_build_object('id', tests.id('a4')), 'retry', 'short', tests.id('a4')::text);
select is(pg_temp.order_of('extract_source'), '{b3,a5,b4,a6,a7,a4}', 'what is tried again takes a new turn');

-- Nobody chooses a tenant or a turn.
select tests.keep('job', pg_temp.ask('a', 8)::text);
insert into pgboss.job (name, data, priority, group_id)
values ('extract_source', jsonb_build_object('id', tests.id('a9'), 'tenant_id', tests.tenant('b')), 1000, tests.tenant('b')::text);
select is((select group_id from pgboss.job where data ->> 'id' = tests.id('a9')::text), tests.tenant('a')::text, 'a job cannot say whose it is');
select is((pg_temp.order_of('extract_source'))[array_length(pg_temp.order_of('extract_source'), 1)], 'a9', 'nor how important');
select lives_ok($$select ai.enqueue('maintain_search', '{"id": "00000000-0000-0000-0000-000000000000"}')$$, 'work of no tenant');
select is((select group_id from pgboss.job where name = 'maintain_search'), null, 'has no group');
select lives_ok($$insert into pgboss.job (name, data) values ('extract_source', '{"id": "'' or true"}')$$, 'an id that is none is no trouble');

-- The limits.
select tests.as_service();
select is(ai.queue_limits(), '{"enrich_knowledge_base": 1, "extract_source": 2, "index_source": 2, "reembed_knowledge_base": 1, "render_pages": 1}'::jsonb, 'the limits');
select tests.as_superuser();
delete from pgboss.job where name = 'extract_source' and state = 'active';
select pg_temp.start('a5'), pg_temp.start('a6'), pg_temp.start('a7'), pg_temp.start('b3');
select is(
  (select array_agg(sources.name order by sources.name) from pgboss.job join ai.sources on sources.id::text = job.data ->> 'id' where job.state = 'active'),
  '{a5,a6,b3}', 'a job beyond the limit of its tenant does not start, however it is picked'
);
update pgboss.job set state = 'completed' where data ->> 'id' = tests.id('a5')::text;
select pg_temp.start('a7');
select is((select state::text from pgboss.job where data ->> 'id' = tests.id('a7')::text), 'active', 'until one has ended');
select tests.sign_in('owner');
select is(tests.outcome('select ai.queue_limits()'), '42501', 'people do not ask for them');

select * from finish();
rollback;
