-- With the id: the first waiting run of a session is its first entry, and no other index has it there.
drop index ai.agent_runs_active_idx;
create index agent_runs_active_idx on ai.agent_runs (tenant_id, session_id, created_at, id) where status in ('pending', 'running', 'waiting');
