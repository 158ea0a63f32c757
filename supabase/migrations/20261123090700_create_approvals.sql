create table ai.approvals (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null,
  run_id uuid not null,
  agent_id uuid,
  user_id uuid,
  call_id text not null,
  tool_name text not null,
  tool_input jsonb not null,
  input_hash text not null,
  message text,
  status text not null default 'pending',
  decided_by uuid,
  reason text,
  expires_at timestamptz not null,
  created_at timestamptz not null default now(),
  decided_at timestamptz,
  constraint approvals_run_fkey foreign key (tenant_id, run_id) references ai.agent_runs (tenant_id, id) on delete cascade,
  constraint approvals_agent_fkey foreign key (tenant_id, agent_id) references ai.agents (tenant_id, id) on delete set null (agent_id),
  constraint approvals_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade,
  constraint approvals_decided_by_fkey foreign key (decided_by) references auth.users (id) on delete set null,
  constraint approvals_run_id_call_id_key unique (run_id, call_id),
  constraint approvals_call_id_has_a_length check (char_length(call_id) between 1 and 200),
  constraint approvals_tool_name_has_a_length check (char_length(tool_name) between 1 and 200),
  constraint approvals_tool_input_is_an_object check (jsonb_typeof(tool_input) = 'object'),
  constraint approvals_input_hash_has_a_form check (input_hash ~ '^[0-9a-f]{64}$'),
  constraint approvals_message_has_a_length check (char_length(message) <= 2000),
  constraint approvals_reason_has_a_length check (char_length(reason) <= 2000),
  constraint approvals_status_is_known check (status in ('pending', 'approved', 'denied', 'expired')),
  constraint approvals_decided_at_matches_status check ((status in ('approved', 'denied')) = (decided_at is not null))
);

comment on table ai.approvals is 'Calls of tools that wait, or waited, for a person: one call of one run with exactly these arguments.';
comment on column ai.approvals.user_id is 'The person the run acts for; null for the tenant''s backend.';
comment on column ai.approvals.input_hash is 'SHA-256 (hex) of tool_input as text: what was approved, and nothing else, may be called.';
comment on column ai.approvals.decided_by is 'Who decided; null for the tenant''s backend and for an account that is gone.';

create index approvals_tenant_id_run_id_idx on ai.approvals (tenant_id, run_id, created_at);
create index approvals_tenant_id_agent_id_idx on ai.approvals (tenant_id, agent_id);
create index approvals_user_id_idx on ai.approvals (user_id);
create index approvals_decided_by_idx on ai.approvals (decided_by);
create index approvals_pending_idx on ai.approvals (tenant_id, created_at) where status = 'pending';

alter table ai.approvals enable row level security;
alter table ai.approvals force row level security;
revoke all on table ai.approvals from anon, authenticated, service_role;
grant select on table ai.approvals to authenticated;
grant select, insert, update, delete on table ai.approvals to service_role;

create policy "people read the approvals of their own runs, admins all" on ai.approvals
for select to authenticated
using (
  (user_id = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids())))
  or tenant_id = any (array(select private.caller_tenant_ids('admin')))
);

create function private.end_pending_approvals()
returns trigger
language plpgsql
security definer -- whoever ends the run
set search_path = ''
as $$
begin
  update ai.approvals set status = 'expired'
  where approvals.tenant_id = new.tenant_id and approvals.run_id = new.id and approvals.status = 'pending';
  return null;
end;
$$;

comment on function private.end_pending_approvals() is 'Trigger: nothing waits for a run that has ended.';

revoke execute on function private.end_pending_approvals() from public;

create trigger refuse_tenant_change before update on ai.approvals for each row execute function private.refuse_tenant_change();
create trigger end_pending_approvals after update of status on ai.agent_runs
for each row when (old.status = 'running' and new.status <> 'running') execute function private.end_pending_approvals();

create function private.decide_approval(run_id text, approved boolean, reason text)
returns jsonb
language plpgsql
security definer -- approvals are written through functions only: one that waits is decided once and changed in no other way
set search_path = ''
as $$
declare
  approval ai.approvals;
begin
  if decide_approval.approved is null then
    perform private.raise_error(400, 'invalid_request', 'approved must be true or false', null);
  end if;
  if char_length(decide_approval.reason) > 2000 then
    perform private.raise_error(400, 'invalid_request', 'reason may have 2000 characters', null);
  end if;
  select approvals.* into approval
  from ai.agent_runs
  join ai.approvals on approvals.tenant_id = agent_runs.tenant_id and approvals.run_id = agent_runs.id
  where agent_runs.run_id = decide_approval.run_id
    and agent_runs.status = 'running'
    and approvals.status = 'pending'
    and approvals.expires_at > now()
    and (
      approvals.tenant_id = any (array(select private.caller_tenant_ids('admin')))
      or (approvals.user_id = (select auth.uid()) and approvals.tenant_id = any (array(select private.caller_tenant_ids())))
    )
    -- An agent that acts for a person does not approve in their name.
    and (select auth.jwt()) -> 'act' ->> 'sub' is distinct from 'agent'
  order by approvals.created_at, approvals.id
  limit 1
  for update of approvals;
  if approval.id is null then
    perform private.raise_error(404, 'approval_not_found', 'No approval is waiting in this run.', 'It may have been decided or have expired.');
  end if;
  update ai.approvals
  set
    status = case when decide_approval.approved then 'approved' else 'denied' end, reason = decide_approval.reason,
    decided_by = private.caller_user_id(), decided_at = now()
  where approvals.id = approval.id;
  return jsonb_build_object('status', 'resumed', 'approval_id', approval.id);
end;
$$;

comment on function private.decide_approval(text, boolean, text) is 'Core of ai.decide_approval().';

create function ai.decide_approval(run_id text, approved boolean, reason text default null)
returns jsonb
language sql
set search_path = ''
as $$
  select private.decide_approval(run_id, approved, reason);
$$;

comment on function ai.decide_approval(text, boolean, text) is
  'Approves or denies the tool call that waits longest in a run (run_...), once: by the person of the run or an admin, never by an agent. Returns {status: "resumed", approval_id}. '
  'PT404 approval_not_found for everybody else, and when none waits or it has expired; PT400 invalid_request.';

revoke execute on function private.decide_approval(text, boolean, text) from public;
revoke execute on function ai.decide_approval(text, boolean, text) from public, anon, authenticated, service_role;
grant execute on function private.decide_approval(text, boolean, text) to authenticated;
grant execute on function ai.decide_approval(text, boolean, text) to authenticated;
