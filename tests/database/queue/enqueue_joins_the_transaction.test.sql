begin;
select plan(17);

create function pg_temp.jobs(queue text) returns int language sql as $$ select count(*)::int from pgboss.job where job.name = queue; $$;
select tests.as_service();
select isnt(ai.enqueue('extract_source', '{"id": "1"}', dedupe => '1'), null, 'a job is queued and its id returned');
select is(ai.enqueue('extract_source', '{"id": "1"}', dedupe => '1'), null, 'not twice while it waits');
select isnt(ai.enqueue('extract_source', '{"id": "2"}', dedupe => '2'), null, 'another key is another job');
select isnt(ai.enqueue('index_source', '{"id": "1"}', dedupe => '1'), null, 'so is the same key in another queue');
select isnt(ai.enqueue('extract_source', '{"id": "3"}'), null, 'without a key');
select isnt(ai.enqueue('extract_source', '{"id": "3"}'), null, 'nothing is left out');
select is(tests.outcome($$select ai.enqueue('nowhere', '{}')$$), '22023', 'an unknown queue is an error');
select tests.as_superuser();
select is(pg_temp.jobs('extract_source'), 4, 'these are the jobs');
update pgboss.job set state = 'active' where singleton_key = '1' and name = 'extract_source';
select tests.as_service();
select isnt(ai.enqueue('extract_source', '{"id": "1"}', dedupe => '1'), null, 'while one runs, the next may wait');

select is(tests.outcome_undone($$select ai.enqueue('remove_object', '{}')$$), 'ok', 'a transaction that is undone');
select tests.as_superuser();
select is(pg_temp.jobs('remove_object'), 0, 'leaves no job');

-- pg-boss reads from the job what its queue was made with.
select set_eq(
  $$
    select job.policy, job.retry_limit, job.retry_backoff, job.dead_letter, job.heartbeat_seconds, job.expire_seconds, job.state::text, job.priority, job.blocked
    from pgboss.job
    where job.name = 'extract_source' and job.singleton_key = '2'
  $$,
  $$
    select queue.policy, queue.retry_limit, queue.retry_backoff, queue.dead_letter, queue.heartbeat_seconds, queue.expire_seconds, 'created' as state, 0 as priority, false as blocked
    from pgboss.queue
    where queue.name = 'extract_source'
  $$,
  'a job carries the settings of its queue'
);
select set_eq(
  'select name, policy, dead_letter, notify from pgboss.queue',
  $$values
    ('extract_source', 'short', 'extract_source_dead', true), ('index_source', 'short', 'index_source_dead', true),
    ('remove_object', 'short', 'remove_object_dead', true), ('extract_source_dead', 'short', null, true),
    ('index_source_dead', 'short', null, true), ('remove_object_dead', 'short', null, true),
    ('enrich_knowledge_base', 'short', 'enrich_knowledge_base_dead', true), ('enrich_knowledge_base_dead', 'short', null, true),
    ('render_pages', 'short', 'render_pages_dead', true), ('render_pages_dead', 'short', null, true),
    ('reembed_knowledge_base', 'short', 'reembed_knowledge_base_dead', true), ('reembed_knowledge_base_dead', 'short', null, true),
    ('run_agent', 'short', 'run_agent_dead', true), ('run_agent_dead', 'short', null, true), ('embed_memory', 'short', null, true), ('maintain_search', 'short', null, true),
    ('fire_schedule', 'short', 'fire_schedule_dead', true), ('fire_schedule_dead', 'short', null, true), ('sweep', 'short', 'sweep_dead', true), ('sweep_dead', 'short', null, true)$$,
  'the queues'
);

select tests.sign_in('owner');
select is(tests.outcome($$select ai.enqueue('extract_source', '{"id": "x"}')$$), '42501', 'people put nothing into the queue');
select is(tests.outcome($$select private.enqueue('extract_source', '{"id": "x"}')$$), '42501', 'not by the back door');
select is(tests.outcome($$insert into pgboss.job (name) values ('extract_source')$$), '42501', 'nor directly');
select is(tests.outcome($$select * from pgboss.job$$), '42501', 'and read nothing in it');

select * from finish();
rollback;
