create table ai.agent_runs (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null,
  run_id text not null default 'run_' || encode(extensions.gen_random_bytes(6), 'hex'),
  session_id uuid not null,
  agent_id uuid,
  user_id uuid,
  principal_id uuid not null,
  context_handler_id uuid,
  model text,
  provider text,
  status text not null default 'running',
  input_messages jsonb not null default '[]',
  output_messages jsonb not null default '[]',
  content text,
  retrieved_context jsonb not null default '[]',
  error text,
  error_code text,
  prompt_tokens int,
  completion_tokens int,
  reasoning_tokens int,
  cached_tokens int,
  total_tokens int,
  tool_call_count int not null default 0,
  tool_call_error_count int not null default 0,
  tool_call_duration_ms_total bigint not null default 0,
  invalid_citation_count int not null default 0,
  steps jsonb not null default '[]',
  events jsonb not null default '[]',
  reasoning_steps jsonb not null default '[]',
  lease_token uuid,
  lease_expires_at timestamptz,
  started_at timestamptz,
  completed_at timestamptz,
  created_at timestamptz not null default now(),
  constraint agent_runs_session_fkey foreign key (tenant_id, session_id) references ai.agent_sessions (tenant_id, id) on delete cascade,
  constraint agent_runs_agent_fkey foreign key (tenant_id, agent_id) references ai.agents (tenant_id, id) on delete set null (agent_id),
  constraint agent_runs_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade,
  constraint agent_runs_tenant_id_id_key unique (tenant_id, id),
  constraint agent_runs_run_id_key unique (run_id),
  constraint agent_runs_status_is_known check (status in ('pending', 'running', 'completed', 'failed', 'cancelled')),
  constraint agent_runs_lease_matches_status check ((status = 'running') = (lease_token is not null)),
  constraint agent_runs_completed_at_matches_status check ((status in ('completed', 'failed', 'cancelled')) = (completed_at is not null))
);

comment on table ai.agent_runs is 'One execution of an agent: who it acted for, what went in, what came out, what it cost.';
comment on column ai.agent_runs.principal_id is 'Subject of the token the run was started with: the person, or the backend principal of the tenant. Set by the database.';
comment on column ai.agent_runs.user_id is 'The person the run acts for; null when the tenant''s backend acts for nobody in particular.';
comment on column ai.agent_runs.provider is 'Who answered, e.g. openai or offline; with model it says what stands behind an answer.';
comment on column ai.agent_runs.lease_token is 'Fencing token of the executor; a late holder''s write is refused.';
comment on column ai.agent_runs.invalid_citation_count is 'Citation marks in the answer that resolved to nothing and were removed.';

create index agent_runs_tenant_id_session_id_idx on ai.agent_runs (tenant_id, session_id, created_at);
create index agent_runs_tenant_id_agent_id_idx on ai.agent_runs (tenant_id, agent_id);
create index agent_runs_user_id_idx on ai.agent_runs (user_id);

alter table ai.agent_runs enable row level security;
alter table ai.agent_runs force row level security;
revoke all on table ai.agent_runs from anon, authenticated, service_role;
grant select (
  id, tenant_id, run_id, session_id, agent_id, user_id, context_handler_id, model, provider, status, input_messages,
  output_messages, content, retrieved_context, error, error_code, prompt_tokens, completion_tokens, reasoning_tokens,
  cached_tokens, total_tokens, tool_call_count, tool_call_error_count, tool_call_duration_ms_total, invalid_citation_count,
  steps, events, reasoning_steps, started_at, completed_at, created_at
) on table ai.agent_runs to authenticated;
grant select, insert, update, delete on table ai.agent_runs to service_role;

create policy "people read their own runs" on ai.agent_runs
for select to authenticated
using (
  (user_id = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids())))
  or tenant_id = any (array(select private.caller_backend_tenant_ids()))
);

create trigger refuse_tenant_change before update on ai.agent_runs for each row execute function private.refuse_tenant_change();
