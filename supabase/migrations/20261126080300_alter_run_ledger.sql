-- Executors keep their plans. One made when there were a few runs reads the whole table for a run's id, and goes on to when there are thousands.
alter function private.start_run(uuid, text, text, text, text, jsonb, uuid, jsonb, text, boolean, uuid) set enable_seqscan = off;
alter function private.claim_run(uuid, text, int) set enable_seqscan = off;
alter function private.end_run(uuid, text, text, text) set enable_seqscan = off;
alter function ai.append_run_events(uuid, uuid, int, jsonb, jsonb, int) set enable_seqscan = off;
alter function ai.beat_run(uuid, uuid, int) set enable_seqscan = off;
alter function ai.delegate_run(uuid, uuid) set enable_seqscan = off;
alter function ai.reserve_tokens(uuid, uuid, int, text, bigint, bigint) set enable_seqscan = off;
alter function ai.settle_tokens(uuid, uuid, jsonb) set enable_seqscan = off;
alter function ai.suspend_run(uuid, uuid, int, jsonb, jsonb, text) set enable_seqscan = off;
alter function ai.record_run_trace(uuid, uuid, jsonb, jsonb, jsonb, jsonb) set enable_seqscan = off;
alter function ai.finish_run(uuid, uuid, text, text, jsonb, text, text, jsonb, int, jsonb, int, jsonb, jsonb, jsonb) set enable_seqscan = off;
