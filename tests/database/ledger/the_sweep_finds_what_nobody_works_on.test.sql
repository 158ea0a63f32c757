begin;
select plan(17);
select tests.make_world();
delete from pgboss.job;
delete from public.memories;
update ai.sources set uploaded_at = now() - interval '1 hour';
create function pg_temp.set_source(state text, expires interval default null) returns void language plpgsql as $$
begin
  perform tests.as_superuser();
  alter table ai.sources disable trigger touch_updated_at;
  update ai.sources
  set extraction_status = state, extracted_at = case when state = 'extracted' then now() end, updated_at = now() - interval '1 minute',
    lease_token = case when state = 'extracting' then gen_random_uuid() end, lease_expires_at = now() + expires
  where id = tests.id('source a_open');
  perform tests.as_service();
end;
$$;

select tests.as_service();
select is_empty('select * from ai.due_ingestion()', 'when all is done nothing is due');
select pg_temp.set_source('pending');
select set_eq('select kind, id from ai.due_ingestion()', $$values ('extraction', tests.id('source a_open'))$$, 'a source that waits while no job is about it');
select ai.enqueue('extract_source', jsonb_build_object('id', tests.id('source a_open')), dedupe => tests.id('source a_open')::text);
select is_empty('select * from ai.due_ingestion()', 'not when one is');
select tests.as_superuser();
update pgboss.job set state = 'completed';
select pg_temp.set_source('extracting', interval '1 minute');
select is_empty('select * from ai.due_ingestion()', 'not while a worker holds its lease');
select pg_temp.set_source('extracting', interval '-1 minute');
select set_eq('select kind, id from ai.due_ingestion()', $$values ('extraction', tests.id('source a_open'))$$, 'but when the lease has run out');
-- Its job stays active until the queue misses its heartbeat; that must not hide it.
select tests.as_superuser();
update pgboss.job set state = 'active';
select tests.as_service();
select set_eq('select kind, id from ai.due_ingestion()', $$values ('extraction', tests.id('source a_open'))$$, 'also while the dead worker''s job counts as active');
select pg_temp.set_source('pending');
select is_empty('select * from ai.due_ingestion()', 'a job that is about to take it is left to do so');
select tests.as_superuser();
update pgboss.job set state = 'completed';
select pg_temp.set_source('pending');
select tests.as_superuser();
update ai.sources set next_retry_at = now() + interval '1 hour' where id = tests.id('source a_open');
select tests.as_service();
select is_empty('select * from ai.due_ingestion()', 'not before its next retry');
select tests.as_superuser();
update ai.sources set next_retry_at = null, uploaded_at = null where id = tests.id('source a_open');
select tests.as_service();
select is_empty('select * from ai.due_ingestion()', 'nor while its bytes are awaited');

select pg_temp.set_source('extracted');
select tests.as_superuser();
update ai.indexed_sources set index_status = 'pending', last_dispatched_at = now() - interval '1 minute' where id = tests.id('indexed a_open');
select tests.as_service();
select set_eq('select kind, id from ai.due_ingestion()', $$values ('indexing', tests.id('indexed a_open'))$$, 'the same for indexing');
select is(ai.mark_dead_letter('indexing', tests.id('indexed a_open'), 'It failed four times.'), true, 'which the queue can give up');
select is(
  (select concat_ws(' ', index_status, reason_code, error_message) from ai.indexed_sources where id = tests.id('indexed a_open')), 'failed dead_letter It failed four times.',
  'with a reason'
);
select is_empty('select * from ai.due_ingestion()', 'and then it is not due');

-- Bytes whose source is gone, and whose job is lost.
select tests.as_superuser();
delete from private.object_removals;
select tests.keep('sweep', (select id from private.sweeps where name = 'requeue_work')::text);
update ai.sources set created_at = now() - interval '1 hour' where id = tests.id('source a_open');
delete from ai.sources where id = tests.id('source a_open');
select is((select count(*)::int from pgboss.job where name = 'remove_object' and state = 'created'), 1, 'a removal has its job');
update private.object_removals set created_at = now() - interval '61 minutes';
select is_empty('select * from ai.due_ingestion()', 'and is not due beside it');
delete from pgboss.job;
select results_eq('select kind, id from ai.due_ingestion()', $$select 'removal', id from private.object_removals$$, 'without one it is');
select tests.keep('removal', (select id from private.object_removals)::text);
select tests.as_service();
select is(
  ai.run_sweep(tests.kept_id('sweep')) -> 'requeued', jsonb_build_array(jsonb_build_object('kind', 'removal', 'id', tests.kept('removal'))),
  'and is queued again'
);

select * from finish();
rollback;
