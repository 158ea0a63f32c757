-- `short`: at most one waiting job per key (the id of what it is about), so that asking twice queues once.
-- A job that its worker stopped to heartbeat is retried; after four retries it lands in the dead letter queue.
select pgboss.create_queue('extract_source_dead', '{"policy": "short", "retryLimit": 20, "retryDelay": 30, "notify": true}');
select pgboss.create_queue('index_source_dead', '{"policy": "short", "retryLimit": 20, "retryDelay": 30, "notify": true}');
select pgboss.create_queue('remove_object_dead', '{"policy": "short", "retryLimit": 20, "retryDelay": 3600, "notify": true}');
select pgboss.create_queue('extract_source', '{"policy": "short", "retryLimit": 4, "retryDelay": 2, "retryBackoff": true, "retryDelayMax": 300, "expireInSeconds": 900, "heartbeatSeconds": 30, "deadLetter": "extract_source_dead", "notify": true}');
select pgboss.create_queue('index_source', '{"policy": "short", "retryLimit": 4, "retryDelay": 2, "retryBackoff": true, "retryDelayMax": 300, "expireInSeconds": 1800, "heartbeatSeconds": 30, "deadLetter": "index_source_dead", "notify": true}');
select pgboss.create_queue('remove_object', '{"policy": "short", "retryLimit": 10, "retryDelay": 10, "retryBackoff": true, "retryDelayMax": 3600, "deadLetter": "remove_object_dead", "notify": true}');
