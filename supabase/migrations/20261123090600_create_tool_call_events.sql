create table ai.tool_call_events (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null,
  agent_run_id uuid not null,
  agent_id uuid,
  user_id uuid,
  model text,
  tool_name text not null,
  call_id text not null,
  status text not null,
  duration_ms bigint not null default 0,
  arguments jsonb not null default '{}',
  result text,
  arguments_preview text,
  result_preview text,
  error text,
  step int,
  occurred_at timestamptz not null default now(),
  constraint tool_call_events_run_fkey foreign key (tenant_id, agent_run_id) references ai.agent_runs (tenant_id, id) on delete cascade,
  constraint tool_call_events_agent_fkey foreign key (tenant_id, agent_id) references ai.agents (tenant_id, id) on delete set null (agent_id),
  constraint tool_call_events_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade,
  constraint tool_call_events_status_is_known check (status in ('success', 'error')),
  constraint tool_call_events_result_has_a_length check (char_length(result) <= 200000),
  constraint tool_call_events_previews_are_short check (char_length(arguments_preview) <= 200 and char_length(result_preview) <= 200)
);

comment on table ai.tool_call_events is 'Every call of a tool in a run: what was asked and what came back. As private as the run.';
comment on column ai.tool_call_events.user_id is 'The person the run acted for; null for the tenant''s backend.';
comment on column ai.tool_call_events.result is 'What the model was given, cut at 50,000 characters.';

create index tool_call_events_tenant_id_agent_run_id_idx on ai.tool_call_events (tenant_id, agent_run_id, step);
create index tool_call_events_tenant_id_agent_id_idx on ai.tool_call_events (tenant_id, agent_id);
create index tool_call_events_user_id_idx on ai.tool_call_events (user_id);

alter table ai.tool_call_events enable row level security;
alter table ai.tool_call_events force row level security;
revoke all on table ai.tool_call_events from anon, authenticated, service_role;
grant select on table ai.tool_call_events to authenticated;
grant select, insert, update, delete on table ai.tool_call_events to service_role;

create policy "people read the tool calls of their own runs" on ai.tool_call_events
for select to authenticated
using (
  (user_id = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids())))
  or tenant_id = any (array(select private.caller_backend_tenant_ids()))
);

create trigger refuse_tenant_change before update on ai.tool_call_events for each row execute function private.refuse_tenant_change();
