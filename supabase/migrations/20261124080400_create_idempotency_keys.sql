-- What requests with an Idempotency-Key were answered, so that a repetition gets the same answer and has no second effect.
create table private.idempotency_keys (
  scope bytea primary key,
  id uuid not null default gen_random_uuid(),
  tenant_id uuid references public.tenants (id) on delete cascade,
  caller_id uuid not null,
  route text not null,
  body_hash text not null,
  status text not null default 'in_progress',
  response jsonb,
  locked_until timestamptz,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null default now() + interval '24 hours',
  constraint idempotency_keys_status_is_known check (status in ('in_progress', 'answered')),
  constraint idempotency_keys_response_matches_status check ((status = 'answered') = (response is not null))
);

comment on table private.idempotency_keys is 'First answers to requests with an Idempotency-Key, for 24 hours.';
comment on column private.idempotency_keys.scope is
  'SHA-256 of caller, the tenants the caller acts in, route and key: the same key elsewhere is another one, and so it is for somebody who has left a tenant.';
comment on column private.idempotency_keys.tenant_id is 'The tenant, when the caller acted in exactly one: the answer is deleted with it.';
comment on column private.idempotency_keys.id is 'Names the attempt: an attempt that was given up for dead cannot answer for the one that followed.';

create index idempotency_keys_id_idx on private.idempotency_keys (id);
create index idempotency_keys_tenant_id_idx on private.idempotency_keys (tenant_id);
create index idempotency_keys_expires_at_idx on private.idempotency_keys (expires_at);

alter table private.idempotency_keys enable row level security;
alter table private.idempotency_keys force row level security;
revoke all on table private.idempotency_keys from anon, authenticated, service_role;
grant select, insert, update, delete on table private.idempotency_keys to service_role;

create function ai.begin_request(
  caller_id uuid,
  narrowing uuid[],
  idempotency_key text,
  route text,
  body_hash text,
  lock_seconds int default 400
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  tenant_ids constant uuid[] := array(
    select memberships.tenant_id
    from public.memberships
    where memberships.user_id = begin_request.caller_id and memberships.tenant_id = all (narrowing)
    union
    select tenant_principals.tenant_id
    from private.tenant_principals
    where tenant_principals.id = begin_request.caller_id and tenant_principals.tenant_id = all (narrowing)
    order by 1
  );
  key constant bytea := sha256(
    convert_to(jsonb_build_array(begin_request.caller_id, tenant_ids, begin_request.route, begin_request.idempotency_key)::text, 'UTF8')
  );
  attempt constant uuid := gen_random_uuid();
  present private.idempotency_keys;
begin
  if begin_request.caller_id is null or begin_request.idempotency_key is null or begin_request.route is null or begin_request.body_hash is null then
    raise exception 'caller_id, idempotency_key, route and body_hash are required' using errcode = '22004';
  end if;
  delete from private.idempotency_keys
  where idempotency_keys.scope in (
    select expired.scope
    from private.idempotency_keys as expired
    where expired.expires_at <= now()
    limit 20
    for update skip locked
  );

  -- Of twins the second waits here for the first to have its row, and then finds it.
  insert into private.idempotency_keys as keys (scope, id, tenant_id, caller_id, route, body_hash, locked_until)
  values (
    key, attempt, case when cardinality(tenant_ids) = 1 then tenant_ids[1] end, begin_request.caller_id, left(begin_request.route, 500),
    begin_request.body_hash, now() + make_interval(secs => lock_seconds)
  )
  on conflict (scope) do update
  set
    id = excluded.id, body_hash = excluded.body_hash, status = 'in_progress', response = null, locked_until = excluded.locked_until,
    created_at = excluded.created_at, expires_at = excluded.expires_at
  -- One that is over, and one whose first attempt died, begin anew.
  where keys.expires_at <= now() or (keys.status = 'in_progress' and keys.locked_until <= now() and keys.body_hash = excluded.body_hash)
  returning * into present;
  if present.id = attempt then
    return jsonb_build_object('state', 'new', 'id', attempt);
  end if;

  select * into present from private.idempotency_keys where idempotency_keys.scope = key;
  if present.body_hash <> begin_request.body_hash then
    perform private.raise_error(
      409, 'idempotency_conflict', 'This Idempotency-Key was sent with another request.', 'Use a new key for every new request.'
    );
  end if;
  if present.status = 'answered' then
    return jsonb_build_object('state', 'answered', 'response', present.response);
  end if;
  return jsonb_build_object('state', 'in_progress');
end;
$$;

comment on function ai.begin_request(uuid, uuid[], text, text, text, int) is
  'Ledger: what to do with a request that has an Idempotency-Key: {state: new, id}: carry it out and call ai.finish_request(); {state: answered, response}; {state: in_progress}. '
  'narrowing: the tenants that header and token name. PT409 idempotency_conflict when the key came with another body. An attempt is given up for dead after lock_seconds.';

create function ai.finish_request(id uuid, caller_id uuid, response jsonb default null)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  if finish_request.response is null or finish_request.response = 'null' then
    delete from private.idempotency_keys
    where idempotency_keys.id = finish_request.id and idempotency_keys.caller_id = finish_request.caller_id
      and idempotency_keys.status = 'in_progress';
  else
    update private.idempotency_keys
    set status = 'answered', response = finish_request.response, locked_until = null
    where idempotency_keys.id = finish_request.id and idempotency_keys.caller_id = finish_request.caller_id
      and idempotency_keys.status = 'in_progress';
  end if;
  return found;
end;
$$;

comment on function ai.finish_request(uuid, uuid, jsonb) is
  'Ledger: keeps the answer of an attempt of ai.begin_request(), or, without one, forgets the attempt, so that the key may be used again. False when the attempt was given up for dead.';

revoke execute on function ai.begin_request(uuid, uuid[], text, text, text, int) from public, anon, authenticated, service_role;
revoke execute on function ai.finish_request(uuid, uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function ai.begin_request(uuid, uuid[], text, text, text, int) to service_role;
grant execute on function ai.finish_request(uuid, uuid, jsonb) to service_role;
