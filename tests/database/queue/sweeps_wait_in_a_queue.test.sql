-- What is done again and again is a row, and a job when it is due.
begin;
select plan(33);
select tests.make_world();
delete from pgboss.job;
update private.sweeps set last_began_at = null, last_ended_at = null, last_failed_at = null, last_error = null;

create function pg_temp.id(name text) returns uuid language sql security definer as $$ select sweeps.id from private.sweeps where sweeps.name = $1; $$;
create function pg_temp.waiting() returns text[] language sql security definer as $$
  select coalesce(array_agg(sweeps.name order by sweeps.name), '{}')
  from pgboss.job join private.sweeps on job.data = jsonb_build_object('id', sweeps.id)
  where job.name = 'sweep' and job.state = 'created';
$$;
create function pg_temp.age(span interval) returns void language sql security definer as $$
  update private.sweeps set last_began_at = now() - span, last_ended_at = now() - span;
$$;
create function pg_temp.state(name text) returns text language sql security definer as $$
  select concat_ws(' ', case when last_began_at is not null then 'began' end, case when last_ended_at >= last_began_at then 'ended' end,
    case when last_failed_at is not null then 'failed' end, last_error)
  from private.sweeps where sweeps.name = $1;
$$;

select tests.as_service();
select is(ai.queue_due_sweeps(15, array['queue_maintenance']), 9, 'what was never done is due, but for what is left to others');
select is(
  pg_temp.waiting(),
  '{close_expired_searches,expire_approvals,remove_expired_answers,remove_stale_uploads,requeue_enrichments,requeue_page_renderings,requeue_schedules,requeue_work,sweep_run_log}',
  'each is queued'
);
select is(ai.queue_due_sweeps(15), 1, 'one job waits for each at most');
select is((select count(*)::int from ai.queue_health() where queue = 'sweep' and waiting = 10 and tenants_waiting = 0), 1, 'they are nobody''s');
select tests.as_superuser();
select is_empty($$select id from pgboss.job where name = 'sweep' and group_id is not null$$, 'and take no tenant''s turn');
select tests.as_service();
select is((select sum(jsonb_array_length(ai.take_jobs('sweep', 6)))::int from generate_series(1, 2)), 10, 'several executors share them');
select is(pg_temp.waiting(), '{}', 'none is left');

-- Done.
select is(ai.run_sweep(pg_temp.id('expire_approvals')), '{"name": "expire_approvals", "requeued": [], "counts": {"count": 0}}', 'it says what it did');
select is(pg_temp.state('expire_approvals'), 'began ended', 'and notes when');
select is(ai.run_sweep(pg_temp.id('queue_maintenance'), array['queue_maintenance']), null, 'what an executor leaves to others');
select is(pg_temp.state('queue_maintenance'), '', 'it has not done');
select is(ai.run_sweep(gen_random_uuid()), null, 'an id of nothing is nothing');
select is((select array_agg((ai.run_sweep(sweeps.id)) ->> 'name' order by name) from (select pg_temp.id(name) as id, name from ai.sweep_health()) as sweeps),
  (select array_agg(name order by name) from ai.sweep_health()), 'each can be done');
select is((select count(*)::int from ai.sweep_health() where last_ended_at >= last_began_at and last_error is null), 10, 'and the operator sees it');

-- Due again.
select tests.as_superuser();
delete from pgboss.job;
select pg_temp.age('10 seconds');
select tests.as_service();
select is(ai.queue_due_sweeps(15), 0, 'not before its time');
select is(ai.queue_due_sweeps(12), 8, 'who asks often may be a little early; uploads that nobody sent and answers are looked for less often');
select tests.as_superuser();
delete from pgboss.job;
select pg_temp.age('11 minutes');
select tests.as_service();
select is(ai.queue_due_sweeps(15), 10, 'but they are');
select tests.as_superuser();
update pgboss.job set state = 'active', started_on = now();
delete from pgboss.job;
select pg_temp.age('11 minutes');
update private.sweeps set least_seconds = 3600 where name = 'expire_approvals';
select tests.as_service();
select is(ai.queue_due_sweeps(15), 9, 'nor does one happen more often than the operator says');

select is((ai.run_sweep(pg_temp.id('remove_stale_uploads'))) ->> 'name', 'remove_stale_uploads', 'when its time has come');
select is(ai.run_sweep(pg_temp.id('remove_stale_uploads')), null, 'also with a job too many');

-- Left to others, who are there or not.
select tests.as_superuser();
delete from pgboss.job;
select pg_temp.age('1 minute');
select ai.run_sweep(pg_temp.id('queue_maintenance'), array['queue_maintenance']);
select is(
  (select array_agg(data ->> 'id') from pgboss.job where name = 'sweep' and state = 'created' and start_after > now()), array[pg_temp.id('queue_maintenance')::text],
  'what somebody else does is queued again for them'
);
delete from pgboss.job;
select pg_temp.age('1 hour');
select ai.run_sweep(pg_temp.id('queue_maintenance'), array['queue_maintenance']);
select is_empty($$select id from pgboss.job where name = 'sweep'$$, 'what nobody does is not');

-- In vain.
select is(ai.note_failed_sweep(pg_temp.id('requeue_work'), 'unavailable'), 'requeue_work', 'one that failed');
select is(pg_temp.state('requeue_work'), 'began ended failed unavailable', 'says why');
select tests.as_superuser();
delete from pgboss.job;
select tests.as_service();
select is(ai.queue_due_sweeps(15, array['expire_approvals']), 8, 'is due later, while the others are now');
select is((ai.run_sweep(pg_temp.id('requeue_work'))) ->> 'name', 'requeue_work', 'and done again');
select is(pg_temp.state('requeue_work'), 'began ended failed', 'it has failed once');
select is(ai.note_failed_sweep(gen_random_uuid(), 'x'), null, 'nothing cannot fail');

-- Work without a job.
select tests.as_superuser();
delete from pgboss.job;
update ai.sources set extraction_status = 'pending', extracted_at = null, updated_at = now() where id = tests.id('source a_open');
update ai.sources set next_retry_at = now() - interval '1 minute' where id = tests.id('source a_open');
select tests.as_service();
select is(
  (select array_agg(work order by work ->> 'id') from jsonb_array_elements((ai.run_sweep(pg_temp.id('requeue_work'))) -> 'requeued') as work where work ->> 'kind' = 'extraction'),
  array[jsonb_build_object('kind', 'extraction', 'id', tests.id('source a_open'))], 'what waits without a job is named'
);
select tests.as_superuser();
select is((select group_id from pgboss.job where name = 'extract_source' and data = jsonb_build_object('id', tests.id('source a_open'))), tests.tenant('a')::text, 'and queued');

select tests.sign_in('owner');
select is(tests.outcome('select ai.queue_due_sweeps(0)'), '42501', 'no person has anything swept');
select is(tests.outcome('select ai.run_sweep(gen_random_uuid())'), '42501', 'nor does it');
select is(tests.outcome('select * from ai.sweep_health()'), '42501', 'nor looks');
select * from finish();
rollback;
