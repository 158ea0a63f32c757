-- Jobs only wake executors: what is to be done stands in the run, and one that wakes nobody in vain costs a look-up.
select pgboss.create_queue('run_agent_dead', '{"policy": "short", "retryLimit": 20, "retryDelay": 30, "notify": true}');
select pgboss.create_queue('run_agent', '{"policy": "short", "retryLimit": 4, "retryDelay": 1, "retryBackoff": true, "retryDelayMax": 60, "expireInSeconds": 3600, "heartbeatSeconds": 30, "deadLetter": "run_agent_dead", "notify": true}');
