-- take_jobs, beat_jobs, finish_job: the queues as an executor without a connection of its own works on them.
begin;
select plan(29);
select tests.make_world();
delete from pgboss.job;

create function pg_temp.make(letter text, number int, size int default 1) returns void language sql as $$
  insert into ai.sources (id, tenant_id, name, file_type, mime_type, size_bytes, content_hash, storage_path)
  select tests.id(letter || number), tests.tenant(letter), letter || number, '.txt', 'text/plain', size, encode(sha256((letter || number)::bytea), 'hex'),
    tests.tenant(letter) || '/' || tests.id(letter || number) || '/x';
  select ai.enqueue('extract_source', jsonb_build_object('id', tests.id(letter || number)), dedupe => tests.id(letter || number)::text);
$$;
create function pg_temp.take(most int, max_bytes bigint default null) returns text[] language sql as $$
  select coalesce(array_agg(sources.name order by sources.name), '{}')
  from jsonb_array_elements(ai.take_jobs('extract_source', most, max_bytes)) as taken (job)
  join ai.sources on sources.id::text = taken.job ->> 'subject';
$$;
create function pg_temp.job(source text) returns pgboss.job language sql security definer as $$
  select job from pgboss.job where job.data ->> 'id' = tests.id(source)::text and job.name = 'extract_source';
$$;
create function pg_temp.finish(name text, succeeded boolean, attempt int default null) returns boolean language sql as $$
  select ai.finish_job('extract_source', (pg_temp.job(name)).id, coalesce(attempt, (pg_temp.job(name)).retry_count), succeeded);
$$;
select count(pg_temp.make('a', number)) from generate_series(1, 4) as number;
select pg_temp.make('b', 1);

select tests.as_service();
select is(ai.take_jobs('no_queue'), '[]', 'a queue that is not there has no jobs');
select is(pg_temp.take(10), '{a1,a2,b1}', 'tenants take turns, and have no more than their limit');
select is(pg_temp.take(10), '{}', 'what is taken is taken');
select is((select (pg_temp.job('a1')).state::text), 'active', 'it is active');
select is((select (pg_temp.job('a1')).retry_count), 0, 'for the first time');
select ok((select (pg_temp.job('a1')).heartbeat_on is not null), 'and its heart beats');

-- Done.
select ok(pg_temp.finish('b1', true), 'what is done');
select is((select (pg_temp.job('b1')).id), null, 'is gone');
select ok(pg_temp.finish('a1', true), 'and leaves its place');
select is(pg_temp.take(10), '{a3}', 'to the next of its tenant');

-- In vain.
select ok(pg_temp.finish('a2', false), 'what has failed');
select is((select (pg_temp.job('a2')).state::text), 'retry', 'waits');
select ok((select (pg_temp.job('a2')).start_after between now() + interval '2 seconds' and now() + interval '4 seconds'), 'for some seconds');
select is(pg_temp.take(10), '{a4}', 'and leaves its place, too');
select ok(pg_temp.finish('a4', true) and pg_temp.finish('a3', true), 'then');
select tests.as_superuser();
update pgboss.job set start_after = now() where state = 'retry';
select tests.as_service();
select is(ai.take_jobs('extract_source') -> 0 -> 'attempt', '1', 'it is taken again');
select is(pg_temp.finish('a2', true, 0), false, 'of which whoever had it before cannot say that it is done');
select is(pg_temp.finish('a2', false, 0), false, 'nor that it failed');

-- Its executor died.
select is(ai.beat_jobs(array[(pg_temp.job('a2')).id, gen_random_uuid()]), 1, 'its heart can be made to beat');
select is(pg_temp.take(10), '{}', 'while it does, nobody takes it');
select tests.as_superuser();
update pgboss.job set heartbeat_on = now() - interval '11 seconds' where state = 'active';
select tests.as_service();
select is(pg_temp.take(10), '{}', 'once it has stopped');
select is((select (pg_temp.job('a2')).state::text), 'retry', 'it waits to be taken again');
select is(pg_temp.finish('a2', true), false, 'and is nobody''s');

-- The last attempt.
select tests.as_superuser();
update pgboss.job set start_after = now(), retry_count = 3 where state = 'retry';
select tests.as_service();
select is(ai.take_jobs('extract_source') -> 0 -> 'retry_seconds', 'null', 'after the fourth retry there is none');
select ok(pg_temp.finish('a2', false), 'it is given up');
select tests.as_superuser();
select results_eq(
  $$select name, data, group_id from pgboss.job$$,
  $$select 'extract_source_dead', jsonb_build_object('id', tests.id('a2')), tests.tenant('a')::text$$, 'to the dead letters'
);
delete from pgboss.job;

-- What is too large for the executor is left aside.
select pg_temp.make('b', 2, 1000);
select pg_temp.make('b', 3, 10);
select tests.as_service();
select is(pg_temp.take(10, 999), '{b3}', 'a small source passes a large one');
select is(pg_temp.take(10), '{b2}', 'which waits for who can read it');

select tests.sign_in('owner');
select is(tests.outcome('select ai.take_jobs(''extract_source'')'), '42501', 'no person takes jobs');
select * from finish();
rollback;
