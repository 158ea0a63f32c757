-- A worker that died counts against the limit of a tenant until its heartbeat is missed: a third as long as before.
update pgboss.queue set heartbeat_seconds = 10 where queue.name in ('extract_source', 'index_source');
update pgboss.job set heartbeat_seconds = 10 where job.name in ('extract_source', 'index_source') and job.state < 'active';
