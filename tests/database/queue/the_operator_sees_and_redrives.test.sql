begin;
select plan(22);
select tests.make_world();
delete from pgboss.job;
create function pg_temp.health(queue text) returns jsonb language sql as $$
  select to_jsonb(health) - array['queue', 'oldest_active_seconds', 'max_active_per_tenant'] from ai.queue_health() as health where health.queue = $1;
$$;
create function pg_temp.tenant(letter text) returns jsonb language sql as $$
  select to_jsonb(t) - array['tenant_id', 'tenant_name'] from ai.queue_tenants() as t where t.tenant_id = tests.tenant(letter);
$$;

select tests.as_service();
select is(
  pg_temp.health('extract_source'),
  '{"waiting": 0, "deferred": 0, "active": 0, "dead": 0, "tenants_waiting": 0, "oldest_waiting_seconds": null}', 'an empty queue'
);
select ai.enqueue('extract_source', jsonb_build_object('id', tests.id('source ' || name)), dedupe => name) from unnest(array['a_open', 'a_secret', 'b_open']) as name;
select ai.enqueue('extract_source', jsonb_build_object('id', tests.id('source a_boss')), now() + interval '1 hour');
select tests.as_superuser();
update pgboss.job set created_on = now() - interval '90 seconds', start_after = now() - interval '90 seconds' where singleton_key = 'a_secret';
update pgboss.job set state = 'active', started_on = now() where singleton_key = 'a_open';
select tests.as_service();
select is(
  pg_temp.health('extract_source'),
  '{"waiting": 2, "deferred": 1, "active": 1, "dead": 0, "tenants_waiting": 2, "oldest_waiting_seconds": 90.0}', 'what waits, is put off, runs'
);
select is((select max_active_per_tenant from ai.queue_health() where queue = 'extract_source'), 2, 'beside the limit');
select is_empty($$select queue from ai.queue_health() where queue like '%dead'$$, 'dead letters are counted with their queue');
select is(
  pg_temp.tenant('a'),
  '{"waiting_jobs": 2, "active_jobs": 1, "pending_runs": 0, "running_runs": 0, "waiting_runs": 0, "dead": 0}', 'whose they are'
);
select is(pg_temp.tenant('b') ->> 'waiting_jobs', '1', 'and the other''s');

-- Given up: by the verdict on the row, or as a letter nobody has opened.
update ai.sources
set extraction_status = 'failed', extracted_at = null, error_code = 'internal', reason_code = 'dead_letter', error_message = 'x', attempts = 10
where id = tests.id('source a_team');
update ai.sources
set extraction_status = 'failed', extracted_at = null, error_code = 'permanent', reason_code = 'corrupt_document', error_message = 'x'
where id = tests.id('source b_found');
select ai.enqueue('extract_source_dead', jsonb_build_object('id', tests.id('source a_named')));
select is(pg_temp.health('extract_source') -> 'dead', '2', 'both kinds of dead letters are counted, once each');
select is(pg_temp.tenant('a') -> 'dead', '2', 'for their tenant');
select is(ai.redrive_dead_letters('extract_source', 1), 1, 'as many as asked for go back');
select is(ai.redrive_dead_letters('extract_source'), 1, 'then the others');
select is(ai.redrive_dead_letters('extract_source'), 0, 'then none is left');
select is(
  (select to_jsonb(s) from (select extraction_status, attempts, reason_code from ai.sources where id = tests.id('source a_team')) as s),
  '{"extraction_status": "pending", "attempts": 0, "reason_code": null}', 'the work waits again, with all its attempts'
);
select is((select reason_code from ai.sources where id = tests.id('source b_found')), 'corrupt_document', 'what no retry cures stays as it is');
select tests.as_superuser();
select is(
  (select count(*)::int from pgboss.job where name = 'extract_source' and data ->> 'id' in (tests.id('source a_team')::text, tests.id('source a_named')::text)), 2,
  'in the queue'
);
select is_empty($$select id from pgboss.job where name = 'extract_source_dead'$$, 'and not with the dead letters');
select tests.as_service();
update ai.indexed_sources
set index_status = 'failed', error_code = 'internal', reason_code = 'dead_letter', error_message = 'x' where id = tests.id('indexed b_open');
select is(ai.redrive_dead_letters('index_source'), 1, 'indexing as well');
select is((select index_status from ai.indexed_sources where id = tests.id('indexed b_open')), 'pending', 'waits again');
select is(tests.outcome($$select ai.redrive_dead_letters('nowhere')$$), 'PT404 not_found', 'a queue that is not there');
select is(tests.outcome($$select ai.redrive_dead_letters('extract_source_dead')$$), 'PT404 not_found', 'or that is none of work');

-- P14: what is given to pg_net can be read in its tables.
select tests.as_superuser();
select is_empty($$select oid::regprocedure from pg_proc where prosrc ~* '\mnet\.http|http_request_queue'$$, 'nothing of ours gives a token to pg_net');

select tests.sign_in('owner');
select is(tests.outcome('select * from ai.queue_health()'), '42501', 'the owner of a tenant is no operator');
select is(tests.outcome($$select ai.redrive_dead_letters('extract_source')$$), '42501', 'and redrives nothing');

select * from finish();
rollback;
