-- What a tenant may say about its own work: this can wait for the rest of mine. There is no way to say more: nothing comes before `normal`,
-- and between tenants a priority changes nothing.
alter table ai.sources
  add column priority text not null default 'normal',
  add constraint sources_priority_is_known check (priority in ('normal', 'low'));
alter table ai.agent_runs
  add column priority text not null default 'normal',
  add constraint agent_runs_priority_is_known check (priority in ('normal', 'low'));
alter table ai.schedules
  add column priority text not null default 'normal',
  add constraint schedules_priority_is_known check (priority in ('normal', 'low'));

comment on column ai.sources.priority is
  'normal, or low: read, drawn and indexed after what else its tenant has waiting. Said when it is registered.';
comment on column ai.agent_runs.priority is
  'normal, or low: begun after what else its tenant has waiting. A low one becomes normal when a normal one of its session waits behind it.';
comment on column ai.schedules.priority is 'Priority of its runs: normal or low.';

grant select (priority) on table ai.sources to authenticated;
grant select (priority) on table ai.agent_runs to authenticated;
grant insert (priority), update (priority) on table ai.schedules to authenticated;

-- The order in which a tenant's runs are taken: `normal` sorts after `low`.
drop index ai.agent_runs_pending_idx;
create index agent_runs_pending_idx on ai.agent_runs (tenant_id, priority desc, created_at, id) where status = 'pending';

drop trigger audit_updated on ai.schedules;
create trigger audit_updated after update of name, cron, timezone, message, session_id, enabled, priority on ai.schedules
for each row when (
  (old.name, old.cron, old.timezone, old.message, old.session_id, old.enabled, old.priority)
  is distinct from (new.name, new.cron, new.timezone, new.message, new.session_id, new.enabled, new.priority)
)
execute function private.audit_updated('schedule.updated', 'schedule', 'id', 'agent_id created_by', 'cron timezone enabled disabled_reason priority');
