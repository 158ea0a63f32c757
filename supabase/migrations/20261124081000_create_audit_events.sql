-- Who did what, in each tenant one chain of rows that only grows. How rows come in: 20261124081100. No foreign keys: the log
-- outlives the people, agents and tenants it tells of, and holds their ids, never their names or what they wrote.
create table ai.audit_events (
  tenant_id uuid not null,
  seq bigint not null,
  id uuid not null default gen_random_uuid(),
  occurred_at timestamptz not null,
  recorded_at timestamptz not null,
  actor_id uuid,
  act jsonb,
  action text not null,
  subject_type text not null,
  subject_id text not null,
  run_id uuid,
  detail jsonb not null default '{}',
  prev_hash text not null,
  hash text not null,
  constraint audit_events_pkey primary key (tenant_id, seq),
  constraint audit_events_seq_is_positive check (seq >= 1),
  constraint audit_events_action_has_a_form check (action ~ '^[a-z_]+\.[a-z_]+$'),
  constraint audit_events_act_is_an_object check (jsonb_typeof(act) = 'object'),
  constraint audit_events_detail_is_an_object check (jsonb_typeof(detail) = 'object'),
  constraint audit_events_hashes_have_a_length check (char_length(prev_hash) = 64 and char_length(hash) = 64)
);

comment on table ai.audit_events is
  'The audit log: append-only for everybody, chained by hash per tenant. Rows hold ids, names of actions, hashes and counts, never content.';
comment on column ai.audit_events.seq is 'Place in the chain of the tenant, from 1 without gaps, in the order of the commits.';
comment on column ai.audit_events.occurred_at is 'When the statement ran.';
comment on column ai.audit_events.recorded_at is 'When its transaction was committed, by the clock of the server: does not run backwards along a chain.';
comment on column ai.audit_events.actor_id is 'The person, or the tenant''s backend principal, in whose name it was done; null when nobody was signed in.';
comment on column ai.audit_events.act is 'Through whom: {sub: agent, agent_id, run_id (run_...)}, {sub: service_key} or {sub: system}; null when the person did it themselves.';
comment on column ai.audit_events.action is 'subject.verb; docs/audit.md lists them.';
comment on column ai.audit_events.run_id is 'Id of the run (ai.agent_runs.id) it belongs to or was done in.';
comment on column ai.audit_events.prev_hash is 'hash of the row before; 64 zeros in the first.';
comment on column ai.audit_events.hash is 'SHA-256 (hex) over prev_hash and the rest of the row; docs/audit.md has the exact form.';

create index audit_events_tenant_id_occurred_at_idx on ai.audit_events (tenant_id, occurred_at);
create index audit_events_tenant_id_subject_id_idx on ai.audit_events (tenant_id, subject_id);
create index audit_events_tenant_id_run_id_idx on ai.audit_events (tenant_id, run_id) where run_id is not null;

alter table ai.audit_events enable row level security;
alter table ai.audit_events force row level security;
revoke all on table ai.audit_events from anon, authenticated, service_role;
grant select on table ai.audit_events to authenticated;
-- To export, also what a deleted tenant has left. Nothing else: the secret key writes no row and changes none.
grant select on table ai.audit_events to service_role;

create policy "admins read the audit log of their tenants" on ai.audit_events
for select to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids('admin'))));

create table private.audit_heads (
  tenant_id uuid not null,
  seq bigint not null default 0,
  hash text not null default repeat('0', 64),
  constraint audit_heads_pkey primary key (tenant_id)
)
-- Updated by every commit: room for the new version of the row on the same page.
with (fillfactor = 50);

comment on table private.audit_heads is 'The last row of each tenant''s audit chain. Its lock decides who comes next; a log that is shorter than its head has lost rows.';

alter table private.audit_heads enable row level security;
alter table private.audit_heads force row level security;
revoke all on table private.audit_heads from anon, authenticated, service_role;

-- Unlogged: its rows live within one transaction and are never there after a crash.
create unlogged table private.audit_pending (
  id bigint generated always as identity,
  tenant_id uuid not null,
  occurred_at timestamptz not null default clock_timestamp(),
  actor_id uuid,
  act jsonb,
  entries jsonb not null,
  constraint audit_pending_pkey primary key (id)
);

comment on table private.audit_pending is 'What a transaction has done so far, one row per statement and tenant. Chained and removed when it commits.';
comment on column private.audit_pending.entries is '[{action, subject_type, subject_id, detail, run_id, actor_id, act}]; the last two stand in place of the row''s where present.';

alter table private.audit_pending enable row level security;
alter table private.audit_pending force row level security;
revoke all on table private.audit_pending from anon, authenticated, service_role;

create function private.refuse_audit_change()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  perform private.raise_error(403, 'forbidden', 'The audit log cannot be changed.', 'What is wrong in it is put right by another event.');
  return null; -- not reached
end;
$$;

comment on function private.refuse_audit_change() is 'Trigger: refuses to update, delete or truncate the audit log, whoever asks: its owner and superusers too.';

revoke execute on function private.refuse_audit_change() from public;

-- Per statement: also refused when no row fits. Always: session_replication_role = replica does not switch them off.
create trigger refuse_change before update or delete on ai.audit_events for each statement execute function private.refuse_audit_change();
create trigger refuse_truncate before truncate on ai.audit_events for each statement execute function private.refuse_audit_change();
alter table ai.audit_events enable always trigger refuse_change;
alter table ai.audit_events enable always trigger refuse_truncate;
