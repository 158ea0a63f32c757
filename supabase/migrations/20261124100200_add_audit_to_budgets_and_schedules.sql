-- Limits, and what begins by itself.
create trigger audit_inserted after insert on ai.budgets referencing new table as new_rows
for each statement execute function private.audit_inserted('budget.set', 'budget', 'id', 'scope period max_tokens user_id agent_id');
create trigger audit_updated after update on ai.budgets
for each row execute function private.audit_updated('budget.set', 'budget', 'id', 'scope period user_id agent_id', 'max_tokens');
create trigger audit_deleted after delete on ai.budgets referencing old table as old_rows
for each statement execute function private.audit_deleted('budget.removed', 'budget', 'id', 'scope period max_tokens user_id agent_id');
create trigger audit_inserted after insert on ai.tenant_settings referencing new table as new_rows
for each statement execute function private.audit_inserted('tenant.settings_changed', 'tenant', 'tenant_id', 'run_event_days max_running_runs max_queued_runs');
create trigger audit_updated after update on ai.tenant_settings
for each row execute function private.audit_updated('tenant.settings_changed', 'tenant', 'tenant_id', '', 'run_event_days max_running_runs max_queued_runs');

create trigger audit_inserted after insert on ai.schedules referencing new table as new_rows
for each statement execute function private.audit_inserted('schedule.created', 'schedule', 'id', 'agent_id created_by cron timezone enabled');
-- Not what the system notes of each time it was due.
create trigger audit_updated after update of name, cron, timezone, message, session_id, enabled on ai.schedules
for each row when (
  (old.name, old.cron, old.timezone, old.message, old.session_id, old.enabled)
  is distinct from (new.name, new.cron, new.timezone, new.message, new.session_id, new.enabled)
)
execute function private.audit_updated('schedule.updated', 'schedule', 'id', 'agent_id created_by', 'cron timezone enabled disabled_reason');
create trigger audit_deleted after delete on ai.schedules referencing old table as old_rows
for each statement execute function private.audit_deleted('schedule.deleted', 'schedule', 'id', 'agent_id created_by');
