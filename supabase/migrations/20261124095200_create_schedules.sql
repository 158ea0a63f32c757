create function private.is_cron(expression text)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
declare
  fields constant text[] := regexp_split_to_array(upper(btrim(expression)), '\s+');
  lows constant int[] := array[0, 0, 1, 1, 0];
  highs constant int[] := array[59, 23, 31, 12, 7];
  months constant text[] := array['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'];
  days constant text[] := array['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];
  field text;
  item text;
  parts text[];
begin
  if expression is null or char_length(expression) > 200 or cardinality(fields) <> 5 then
    return false;
  end if;
  for place in 1..5 loop
    field := fields[place];
    if place = 4 then
      for number in 1..12 loop
        field := regexp_replace(field, '\m' || months[number] || '\M', number::text, 'g');
      end loop;
    elsif place = 5 then
      for number in 1..7 loop
        field := regexp_replace(field, '\m' || days[number] || '\M', (number - 1)::text, 'g');
      end loop;
    end if;
    foreach item in array string_to_array(field, ',') loop
      parts := regexp_match(item, '^(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?$');
      if parts is null
        or parts[1]::int not between lows[place] and highs[place]
        or parts[2]::int not between parts[1]::int and highs[place]
        or parts[3]::int not between 1 and highs[place]
      then
        return false;
      end if;
    end loop;
  end loop;
  return true;
end;
$$;

comment on function private.is_cron(text) is
  'Whether a text is a cron expression of five fields: minute, hour, day of month, month, day of week; numbers, names of months and days, ranges, lists, steps. So nothing happens more often than once a minute.';

create table ai.schedules (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null default private.acting_tenant_id(),
  agent_id uuid not null,
  created_by uuid not null default private.caller_user_id(),
  name text not null,
  cron text not null,
  timezone text not null default 'UTC',
  message text not null,
  session_id text,
  enabled boolean not null default true,
  next_run_at timestamptz,
  last_run_at timestamptz,
  last_run_id uuid,
  last_error text,
  failure_count int not null default 0,
  skipped_count int not null default 0,
  disabled_reason text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint schedules_tenant_id_fkey foreign key (tenant_id) references public.tenants (id) on delete cascade,
  constraint schedules_agent_fkey foreign key (tenant_id, agent_id) references ai.agents (tenant_id, id) on delete cascade,
  constraint schedules_created_by_fkey foreign key (created_by) references auth.users (id) on delete cascade,
  constraint schedules_last_run_fkey foreign key (tenant_id, last_run_id) references ai.agent_runs (tenant_id, id) on delete set null (last_run_id),
  constraint schedules_tenant_id_id_key unique (tenant_id, id),
  constraint schedules_name_has_a_length check (char_length(btrim(name)) between 1 and 200),
  constraint schedules_cron_has_five_fields check (private.is_cron(cron)),
  constraint schedules_timezone_has_a_form check (char_length(timezone) <= 64 and timezone ~ '^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$'),
  constraint schedules_message_has_a_length check (char_length(message) between 1 and 20000),
  constraint schedules_session_id_has_a_form check (session_id ~ '^[A-Za-z0-9_.:@-]{1,200}$'),
  constraint schedules_disabled_reason_is_known check (
    disabled_reason in ('creator_left', 'creator_lost_role', 'agent_unpublished', 'invalid_cron', 'failed_repeatedly')
  ),
  constraint schedules_disabled_reason_matches_enabled check (not enabled or disabled_reason is null),
  constraint schedules_next_run_at_matches_enabled check (enabled or next_run_at is null)
);

comment on table ai.schedules is 'Runs that begin by themselves, in the name of whoever made the schedule and with that person''s rights at the time.';
comment on column ai.schedules.created_by is 'The principal of its runs. Not the backend: a run needs a person whose rights are read.';
comment on column ai.schedules.cron is 'Five fields: minute, hour, day of month, month, day of week.';
comment on column ai.schedules.timezone is 'A name of the IANA database, e.g. Europe/Berlin: cron is meant in its local time.';
comment on column ai.schedules.session_id is 'Public id of the session its runs go on with; null: each begins one.';
comment on column ai.schedules.next_run_at is 'Null until the worker has computed it.';
comment on column ai.schedules.last_error is 'Code of why it could not begin its last run; null when it could.';
comment on column ai.schedules.failure_count is 'Runs in succession that could not begin; at ten it is switched off.';
comment on column ai.schedules.skipped_count is 'Times it was due while its last run still went on.';
comment on column ai.schedules.disabled_reason is 'Why it was switched off by the system; null when a person did.';

create index schedules_tenant_id_created_at_idx on ai.schedules (tenant_id, created_at desc, id);
create index schedules_tenant_id_agent_id_idx on ai.schedules (tenant_id, agent_id);
create index schedules_tenant_id_last_run_id_idx on ai.schedules (tenant_id, last_run_id);
create index schedules_created_by_idx on ai.schedules (created_by);
create index schedules_due_idx on ai.schedules (next_run_at) where enabled;

alter table ai.schedules enable row level security;
alter table ai.schedules force row level security;
revoke all on table ai.schedules from anon, authenticated, service_role;
grant select, delete on table ai.schedules to authenticated;
grant insert (tenant_id, agent_id, name, cron, timezone, message, session_id, enabled) on table ai.schedules to authenticated;
grant update (name, cron, timezone, message, session_id, enabled) on table ai.schedules to authenticated;
grant select, insert, update, delete on table ai.schedules to service_role;

create policy "people read their own schedules, admins all" on ai.schedules
for select to authenticated
using (
  (created_by = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids())))
  or tenant_id = any (array(select private.caller_tenant_ids('admin')))
);

-- An agent that could schedule itself would go on for ever.
create policy "members make schedules for themselves, agents make none" on ai.schedules
for insert to authenticated
with check (
  created_by = (select auth.uid())
  and tenant_id = any (array(select private.caller_tenant_ids('member')))
  and (select auth.jwt()) #>> '{act,run_id}' is null
);

create policy "creators change their schedules, admins switch them off" on ai.schedules
for update to authenticated
using (
  (
    (created_by = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids('member'))))
    or tenant_id = any (array(select private.caller_tenant_ids('admin')))
  )
  and (select auth.jwt()) #>> '{act,run_id}' is null
)
with check (
  (
    (created_by = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids('member'))))
    or tenant_id = any (array(select private.caller_tenant_ids('admin')))
  )
  and (select auth.jwt()) #>> '{act,run_id}' is null
);

create policy "creators and admins delete schedules" on ai.schedules
for delete to authenticated
using (
  (
    (created_by = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids('member'))))
    or tenant_id = any (array(select private.caller_tenant_ids('admin')))
  )
  and (select auth.jwt()) #>> '{act,run_id}' is null
);

create function private.check_schedule()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if tg_op = 'INSERT' or new.timezone is distinct from old.timezone then
    begin
      perform now() at time zone new.timezone;
    exception
      when invalid_parameter_value then
        perform private.raise_error(400, 'invalid_request', format('There is no time zone %s.', new.timezone), 'Use a name like Europe/Berlin.');
    end;
  end if;
  if tg_op = 'INSERT' then
    return new;
  end if;
  if (select auth.uid()) is not null and (select auth.uid()) is distinct from old.created_by
    and (
      new.enabled
      or (new.name, new.cron, new.timezone, new.message, new.session_id)
        is distinct from (old.name, old.cron, old.timezone, old.message, old.session_id)
    )
  then
    -- Its runs act with the creator's rights: what they are asked is not for others to say.
    perform private.raise_error(
      403, 'forbidden', 'A schedule acts in the name of its creator: others can only switch it off or delete it.', 'Make one of your own.'
    );
  end if;
  if not new.enabled then
    new.next_run_at := null;
  elsif not old.enabled then
    new.disabled_reason := null;
    new.last_error := null;
    new.failure_count := 0;
    new.next_run_at := null;
  elsif (new.cron, new.timezone) is distinct from (old.cron, old.timezone) then
    new.next_run_at := null;
  end if;
  return new;
end;
$$;

comment on function private.check_schedule() is
  'Trigger: the time zone exists; only the creator changes what a schedule does; a changed or switched-on one is planned anew.';

revoke execute on function private.is_cron(text) from public;
revoke execute on function private.check_schedule() from public;
grant execute on function private.is_cron(text) to authenticated, service_role;

create trigger refuse_tenant_change before update on ai.schedules for each row execute function private.refuse_tenant_change();
create trigger check_schedule before insert or update on ai.schedules for each row execute function private.check_schedule();
create trigger touch_updated_at before update on ai.schedules for each row execute function private.touch_updated_at();
create trigger refuse_too_many_rows after insert on ai.schedules for each row execute function private.refuse_too_many_rows('tenant_id', '100');
