-- What it held is in ai.run_steps.calls.
drop table private.run_calls;
drop function private.audit_call();
