create table ai.tenant_settings (
  tenant_id uuid primary key default private.acting_tenant_id(),
  run_event_days int not null default 30,
  max_running_runs int not null default 20,
  max_queued_runs int not null default 10000,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint tenant_settings_tenant_id_fkey foreign key (tenant_id) references public.tenants (id) on delete cascade,
  constraint tenant_settings_run_event_days_has_a_range check (run_event_days between 1 and 3650),
  constraint tenant_settings_max_running_runs_has_a_range check (max_running_runs between 0 and 100000),
  constraint tenant_settings_max_queued_runs_has_a_range check (max_queued_runs between 0 and 1000000)
);

comment on table ai.tenant_settings is 'What a tenant may set about its runs, and what the operator sets for it. Without a row the defaults of the columns hold.';
comment on column ai.tenant_settings.run_event_days is 'Days after its end for which the log of a run is kept. The run and its answer stay.';
comment on column ai.tenant_settings.max_running_runs is 'Runs that are executed at the same time; more wait. Set by the operator.';
comment on column ai.tenant_settings.max_queued_runs is 'Runs that may wait to be executed; more are refused. Set by the operator.';

alter table ai.tenant_settings enable row level security;
alter table ai.tenant_settings force row level security;
revoke all on table ai.tenant_settings from anon, authenticated, service_role;
grant select on table ai.tenant_settings to authenticated;
grant insert (tenant_id, run_event_days) on table ai.tenant_settings to authenticated;
grant update (run_event_days) on table ai.tenant_settings to authenticated;
grant select, insert, update, delete on table ai.tenant_settings to service_role;

create policy "admins read the settings of their tenants" on ai.tenant_settings
for select to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids('admin'))));

create policy "admins begin the settings of their tenants" on ai.tenant_settings
for insert to authenticated
with check (tenant_id = any (array(select private.caller_tenant_ids('admin'))));

create policy "admins change the settings of their tenants" on ai.tenant_settings
for update to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids('admin'))))
with check (tenant_id = any (array(select private.caller_tenant_ids('admin'))));

create trigger refuse_tenant_change before update on ai.tenant_settings for each row execute function private.refuse_tenant_change();
create trigger touch_updated_at before update on ai.tenant_settings for each row execute function private.touch_updated_at();
