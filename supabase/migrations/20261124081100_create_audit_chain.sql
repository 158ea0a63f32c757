-- How events come into the log. While a transaction works, its events wait in private.audit_pending; a deferred trigger chains
-- them all when it commits. So the lock on the head of a tenant's chain is the last one a transaction takes: it is held for the
-- commit only, and cannot be part of a deadlock with locks on other rows. docs/decisions/0007 has the reasons and figures.
create function private.audit_hash(event ai.audit_events)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  return encode(sha256(convert_to(
    event.prev_hash || E'\n' || jsonb_build_object(
      'tenant_id', event.tenant_id, 'seq', event.seq, 'id', event.id,
      'occurred_at', to_char(event.occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
      'recorded_at', to_char(event.recorded_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
      'actor_id', event.actor_id, 'act', event.act, 'action', event.action, 'subject_type', event.subject_type,
      'subject_id', event.subject_id, 'run_id', event.run_id, 'detail', event.detail
    )::text, 'UTF8'
  )), 'hex');
end;
$$;

comment on function private.audit_hash(ai.audit_events) is
  'What hash must be: SHA-256 over prev_hash, a line feed and the other columns as the text of a jsonb object, times in UTC with six decimals.';

create function private.stage_audit(tenant_id uuid, entries jsonb)
returns void
language plpgsql
security definer -- nobody has rights on private.audit_pending
set search_path = ''
as $$
declare
  claims constant jsonb := auth.jwt();
  actor constant uuid := nullif(claims ->> 'sub', '')::uuid;
  act jsonb := jsonb_strip_nulls(jsonb_build_object(
    'sub', claims -> 'act' -> 'sub', 'agent_id', claims -> 'act' -> 'agent_id', 'run_id', claims -> 'act' -> 'run_id'
  ));
  run uuid;
begin
  if act = '{}' then
    act := case
      when claims ->> 'role' = 'service_role' then '{"sub": "service_key"}'::jsonb
      when actor is null then '{"sub": "system"}'::jsonb
    end;
  end if;
  if act ? 'run_id' then
    select agent_runs.id into run
    from ai.agent_runs
    where agent_runs.run_id = act ->> 'run_id' and agent_runs.tenant_id = stage_audit.tenant_id;
  end if;
  insert into private.audit_pending (tenant_id, actor_id, act, entries)
  values (
    stage_audit.tenant_id, actor, act,
    case
      when run is null then stage_audit.entries
      else (
        select jsonb_agg(jsonb_build_object('run_id', run) || jsonb_strip_nulls(entry.value) order by entry.place)
        from jsonb_array_elements(stage_audit.entries) with ordinality as entry (value, place)
      )
    end
  );
end;
$$;

comment on function private.stage_audit(uuid, jsonb) is
  'Puts events of one tenant into the audit log when the transaction commits: [{action, subject_type, subject_id, detail?, run_id?, actor_id?, act?}]. Actor, and through whom, are read from the claims of the request.';

create function private.record_audit(
  tenant_id uuid,
  action text,
  subject_type text,
  subject_id text,
  detail jsonb default '{}',
  run_id uuid default null
)
returns void
language plpgsql
set search_path = ''
as $$
begin
  perform private.stage_audit(record_audit.tenant_id, jsonb_build_array(jsonb_build_object(
    'action', record_audit.action, 'subject_type', record_audit.subject_type, 'subject_id', record_audit.subject_id,
    'detail', coalesce(record_audit.detail, '{}'), 'run_id', record_audit.run_id
  )));
end;
$$;

comment on function private.record_audit(uuid, text, text, text, jsonb, uuid) is
  'Puts one event into the audit log of a tenant when the transaction commits. action: subject.verb; detail: ids, names of actions, hashes and whole numbers, never content; run_id: ai.agent_runs.id.';

create function private.append_audit(tenant_id uuid, first_id bigint)
returns void
language plpgsql
security definer -- nobody has rights on the chain
set search_path = ''
set enable_seqscan = off -- the waiting rows are the last of a table full of dead ones
as $$
declare
  head private.audit_heads;
  event ai.audit_events;
  entry record;
begin
  select * into head from private.audit_heads where audit_heads.tenant_id = append_audit.tenant_id for update;
  if head.tenant_id is null then
    insert into private.audit_heads (tenant_id) values (append_audit.tenant_id) on conflict do nothing;
    select * into strict head from private.audit_heads where audit_heads.tenant_id = append_audit.tenant_id for update;
  end if;
  event.tenant_id := append_audit.tenant_id;
  -- Read under the lock: the order of the chain is the order of the times in it.
  event.recorded_at := clock_timestamp();
  for entry in
    with moved as (
      delete from private.audit_pending
      where audit_pending.id >= append_audit.first_id and audit_pending.tenant_id = append_audit.tenant_id
      returning *
    )
    select moved.occurred_at, moved.actor_id, moved.act, entries.value
    from moved
    cross join lateral jsonb_array_elements(moved.entries) with ordinality as entries (value, place)
    order by moved.id, entries.place
  loop
    event.seq := head.seq + 1;
    event.id := gen_random_uuid();
    event.occurred_at := entry.occurred_at;
    event.actor_id := case when entry.value ? 'actor_id' then (entry.value ->> 'actor_id')::uuid else entry.actor_id end;
    event.act := case when entry.value ? 'act' then nullif(entry.value -> 'act', 'null') else entry.act end;
    event.action := entry.value ->> 'action';
    event.subject_type := entry.value ->> 'subject_type';
    event.subject_id := entry.value ->> 'subject_id';
    event.run_id := (entry.value ->> 'run_id')::uuid;
    event.detail := coalesce(entry.value -> 'detail', '{}');
    event.prev_hash := head.hash;
    event.hash := private.audit_hash(event);
    insert into ai.audit_events values (event.*);
    head.seq := event.seq;
    head.hash := event.hash;
  end loop;
  update private.audit_heads set seq = head.seq, hash = head.hash where audit_heads.tenant_id = append_audit.tenant_id;
end;
$$;

comment on function private.append_audit(uuid, bigint) is
  'Chains the events of a tenant that this transaction has staged, from this one on. Keeps the head of the chain locked until the commit.';

create function private.chain_audit()
returns trigger
language plpgsql
security definer -- whoever commits
set search_path = ''
set enable_seqscan = off -- as above
as $$
declare
  tenants uuid[];
  tenant uuid;
begin
  -- Fires for every row; the first, which has the lowest id, takes them all. Rows of other transactions are invisible: none of
  -- them is ever committed.
  tenants := array(select distinct audit_pending.tenant_id from private.audit_pending where audit_pending.id >= new.id);
  if not new.tenant_id = any (tenants) then
    return null;
  end if;
  -- In one order for everybody.
  for tenant in select unnest(tenants) order by 1 loop
    perform private.append_audit(tenant, new.id);
  end loop;
  return null;
end;
$$;

comment on function private.chain_audit() is 'Deferred trigger: chains what the transaction has staged, when it commits.';

create constraint trigger chain_audit after insert on private.audit_pending deferrable initially deferred
for each row execute function private.chain_audit();

revoke execute on function private.audit_hash(ai.audit_events) from public;
revoke execute on function private.stage_audit(uuid, jsonb) from public;
revoke execute on function private.record_audit(uuid, text, text, text, jsonb, uuid) from public;
revoke execute on function private.append_audit(uuid, bigint) from public;
revoke execute on function private.chain_audit() from public;
-- Functions of the ledger add events of their own; `private` is not exposed, so the secret key by itself cannot.
grant execute on function private.stage_audit(uuid, jsonb) to service_role;
grant execute on function private.record_audit(uuid, text, text, text, jsonb, uuid) to service_role;
