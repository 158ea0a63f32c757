-- The answer to a message is stored by the database when the run that was started for it ends.
alter table public.chat_messages add constraint chat_messages_tenant_id_id_key unique (tenant_id, id);

alter table ai.agent_runs
  add column wait_reason text,
  add column cancel_requested_at timestamptz,
  add column last_seq int not null default 0,
  add column attempts int not null default 0,
  add column executor text,
  add column multitask_strategy text not null default 'queue',
  add column rolled_back boolean not null default false,
  add column is_new_session boolean not null default false,
  add column streams boolean not null default true,
  add column chat_message_id uuid,
  add column log_state text not null default 'open',
  drop constraint agent_runs_status_is_known,
  add constraint agent_runs_status_is_known check (status in ('pending', 'running', 'waiting', 'completed', 'failed', 'cancelled')),
  add constraint agent_runs_wait_reason_is_known check (wait_reason in ('approval', 'unsafe_call')),
  add constraint agent_runs_wait_reason_matches_status check ((status = 'waiting') = (wait_reason is not null)),
  add constraint agent_runs_multitask_strategy_is_known check (multitask_strategy in ('reject', 'queue', 'interrupt', 'rollback')),
  add constraint agent_runs_log_state_is_known check (log_state in ('open', 'folded', 'removed')),
  add constraint agent_runs_executor_has_a_length check (char_length(executor) <= 200),
  add constraint agent_runs_chat_message_fkey foreign key (tenant_id, chat_message_id)
    references public.chat_messages (tenant_id, id) on delete set null (chat_message_id);

comment on column ai.agent_runs.status is
  'pending: to be executed; running: somebody holds the lease; waiting: for a person, held by nobody; completed, failed, cancelled: over.';
comment on column ai.agent_runs.wait_reason is 'approval: a tool call waits for one; unsafe_call: a call was interrupted, and whether it took effect is unknown.';
comment on column ai.agent_runs.cancel_requested_at is 'The executor is told with its next write, within a second.';
comment on column ai.agent_runs.last_seq is 'Number of the last event in ai.run_events.';
comment on column ai.agent_runs.attempts is 'How often it was taken up since it last got further.';
comment on column ai.agent_runs.executor is 'Who holds the lease, as it calls itself.';
comment on column ai.agent_runs.multitask_strategy is 'What this run did about the others of its session: reject, queue, interrupt or rollback.';
comment on column ai.agent_runs.rolled_back is 'A later run took its place: no part of the history, and deleted some minutes after its end.';
comment on column ai.agent_runs.is_new_session is 'Whether the session was made for this run.';
comment on column ai.agent_runs.streams is 'Started as a stream: its agent may use tools.';
comment on column ai.agent_runs.chat_message_id is 'The message of the person that it answers.';
comment on column ai.agent_runs.log_state is 'open: as it was written; folded: neighbouring deltas are one row; removed: its time is over.';

create index agent_runs_tenant_id_chat_message_id_idx on ai.agent_runs (tenant_id, chat_message_id);
create index agent_runs_active_idx on ai.agent_runs (tenant_id, session_id, created_at) where status in ('pending', 'running', 'waiting');
create index agent_runs_pending_idx on ai.agent_runs (tenant_id, created_at, id) where status = 'pending';
-- Nothing that an executor writes all the time (lease_expires_at, last_seq) is in an index: such writes touch no index at all.
create index agent_runs_running_idx on ai.agent_runs (tenant_id, created_at, id) where status = 'running';
create index agent_runs_log_idx on ai.agent_runs (log_state, completed_at) where log_state <> 'removed' and completed_at is not null;
create index agent_runs_rolled_back_idx on ai.agent_runs (completed_at) where rolled_back;

grant select (
  wait_reason, cancel_requested_at, last_seq, attempts, multitask_strategy, rolled_back, is_new_session, streams, chat_message_id
) on table ai.agent_runs to authenticated;

-- Room on the page for the next version of a row, so that writes without an index stay on it.
alter table ai.agent_runs set (fillfactor = 80);

-- A run that waits or is handed over goes on: its approvals stay.
drop trigger end_pending_approvals on ai.agent_runs;
create trigger end_pending_approvals after update of status on ai.agent_runs
for each row when (
  new.status in ('completed', 'failed', 'cancelled') and old.status not in ('completed', 'failed', 'cancelled')
) execute function private.end_pending_approvals();
