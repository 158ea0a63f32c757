-- What makes a run survive its executor: the log that everybody sees, and what only an executor needs to go on.
create table ai.run_events (
  tenant_id uuid not null,
  run_id uuid not null,
  seq int not null,
  type text not null,
  payload jsonb not null,
  -- No foreign key: the run has it, and rows go with the run.
  user_id uuid,
  created_at timestamptz not null default now(),
  constraint run_events_pkey primary key (run_id, seq),
  constraint run_events_run_fkey foreign key (tenant_id, run_id) references ai.agent_runs (tenant_id, id) on delete cascade,
  constraint run_events_seq_is_positive check (seq > 0),
  constraint run_events_type_has_a_length check (char_length(type) between 1 and 100),
  constraint run_events_payload_says_its_type check (payload ->> 'type' = type)
);

comment on table ai.run_events is 'The events of a run, in order and without gaps: what every device shows, live or later. Written by the holder of the lease.';
comment on column ai.run_events.seq is
  'From 1. After the end neighbouring deltas become one row: it has the number of the last of them, and payload.from_seq that of the first.';
comment on column ai.run_events.payload is 'The event as clients get it, without seq and ts. ts is created_at.';
comment on column ai.run_events.user_id is 'The person the run acts for; null for the tenant''s backend.';

alter table ai.run_events enable row level security;
alter table ai.run_events force row level security;
revoke all on table ai.run_events from anon, authenticated, service_role;
grant select on table ai.run_events to authenticated;
grant select, insert, update, delete on table ai.run_events to service_role;

create policy "people read the events of their own runs" on ai.run_events
for select to authenticated
using (
  (user_id = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids())))
  or tenant_id = any (array(select private.caller_backend_tenant_ids()))
);

create trigger refuse_tenant_change before update on ai.run_events for each row execute function private.refuse_tenant_change();

create table ai.run_steps (
  tenant_id uuid not null,
  run_id uuid not null,
  step int not null,
  turn jsonb,
  record jsonb,
  user_id uuid,
  created_at timestamptz not null default now(),
  completed_at timestamptz,
  constraint run_steps_pkey primary key (run_id, step),
  constraint run_steps_run_fkey foreign key (tenant_id, run_id) references ai.agent_runs (tenant_id, id) on delete cascade,
  constraint run_steps_step_is_positive check (step > 0),
  constraint run_steps_completed_at_matches_record check ((record is null) = (completed_at is null))
);

comment on table ai.run_steps is 'The steps of a run: one call of the model and the tool calls it asked for.';
comment on column ai.run_steps.turn is 'What the model said, before any filter. For executors only.';
comment on column ai.run_steps.record is 'How the step went; null while it goes on.';
comment on column ai.run_steps.user_id is 'The person the run acts for; null for the tenant''s backend.';

alter table ai.run_steps enable row level security;
alter table ai.run_steps force row level security;
revoke all on table ai.run_steps from anon, authenticated, service_role;
grant select (tenant_id, run_id, step, record, user_id, created_at, completed_at) on table ai.run_steps to authenticated;
grant select, insert, update, delete on table ai.run_steps to service_role;

create policy "people read the steps of their own runs" on ai.run_steps
for select to authenticated
using (
  (user_id = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids())))
  or tenant_id = any (array(select private.caller_backend_tenant_ids()))
);

create trigger refuse_tenant_change before update on ai.run_steps for each row execute function private.refuse_tenant_change();

create table private.run_calls (
  tenant_id uuid not null,
  run_id uuid not null,
  call_id text not null,
  step int not null,
  started jsonb,
  is_retry_safe boolean,
  finished jsonb,
  decision text,
  decided_by uuid,
  decided_at timestamptz,
  created_at timestamptz not null default now(),
  constraint run_calls_pkey primary key (run_id, call_id),
  constraint run_calls_run_fkey foreign key (tenant_id, run_id) references ai.agent_runs (tenant_id, id) on delete cascade,
  constraint run_calls_decided_by_fkey foreign key (decided_by) references auth.users (id) on delete set null,
  constraint run_calls_call_id_has_a_length check (char_length(call_id) between 1 and 200),
  constraint run_calls_decision_is_known check (decision in ('retry', 'skip', 'fail'))
);

comment on table private.run_calls is 'Tool calls of a run: begun, ended, and what a person decided about one that was interrupted between the two.';
comment on column private.run_calls.is_retry_safe is 'Whether it may be repeated when its executor died before it ended.';
comment on column private.run_calls.decision is 'Counts once: beginning the call again uses it up.';

create index run_calls_decided_by_idx on private.run_calls (decided_by);

alter table private.run_calls enable row level security;
alter table private.run_calls force row level security;
revoke all on table private.run_calls from anon, authenticated, service_role;
grant select, insert, update, delete on table private.run_calls to service_role;

create table private.run_requests (
  run_id uuid primary key,
  tenant_id uuid not null,
  request jsonb not null,
  created_at timestamptz not null default now(),
  constraint run_requests_run_fkey foreign key (tenant_id, run_id) references ai.agent_runs (tenant_id, id) on delete cascade
);

comment on table private.run_requests is
  'What the caller of a run sent, until it ends: words of the caller only. Whoever executes the run checks them again and reads everything else under the person''s rights.';

alter table private.run_requests enable row level security;
alter table private.run_requests force row level security;
revoke all on table private.run_requests from anon, authenticated, service_role;
grant select, insert, update, delete on table private.run_requests to service_role;
