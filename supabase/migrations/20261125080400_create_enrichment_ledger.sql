create function ai.claim_enrichment(enrichment_id uuid, worker text, lease_seconds int default 60)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  claimed ai.enrichments;
begin
  update ai.enrichments
  set
    lease_token = gen_random_uuid(), leased_by = claim_enrichment.worker,
    lease_expires_at = now() + make_interval(secs => least(greatest(claim_enrichment.lease_seconds, 1), 600)),
    attempts = enrichments.attempts + 1, next_retry_at = null, error_code = null, reason_code = null, error_message = null
  where enrichments.id = claim_enrichment.enrichment_id
    and enrichments.status = 'enriching'
    and (enrichments.lease_token is null or enrichments.lease_expires_at < now())
  returning * into claimed;
  if claimed.id is null then
    return null;
  end if;
  return jsonb_build_object(
    'lease_token', claimed.lease_token, 'enrichment_id', claimed.id, 'tenant_id', claimed.tenant_id,
    'knowledge_base_id', claimed.knowledge_base_id, 'fields', claimed.fields, 'llm_model', claimed.llm_model, 'max_tokens', claimed.max_tokens,
    'run_number', claimed.run_number, 'attempts', claimed.attempts
  );
end;
$$;

comment on function ai.claim_enrichment(uuid, text, int) is
  'Ledger: takes the lease on the run of an enrichment that waits or whose lease has run out, with what is to be asked. Null when there is nothing to do.';

create function private.holds_enrichment_lease(enrichment_id uuid, lease_token uuid)
returns ai.enrichments
language sql
set search_path = ''
as $$
  select enrichments
  from ai.enrichments
  where enrichments.id = holds_enrichment_lease.enrichment_id and enrichments.lease_token = holds_enrichment_lease.lease_token
  for update;
$$;

comment on function private.holds_enrichment_lease(uuid, uuid) is 'Locks and returns the enrichment if this token still holds its lease, else null.';

create function ai.delegate_enrichment(enrichment_id uuid, lease_token uuid)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  run ai.enrichments;
  is_entitled boolean;
begin
  select * into run
  from ai.enrichments
  where enrichments.id = delegate_enrichment.enrichment_id and enrichments.lease_token = delegate_enrichment.lease_token;
  if run.id is null then
    return null;
  end if;
  if run.started_by is not null then
    is_entitled := run.principal_id = run.started_by and exists (
      select from public.memberships
      where memberships.tenant_id = run.tenant_id and memberships.user_id = run.started_by
        and private.role_rank(memberships.role) >= private.role_rank('member')
    );
  else
    is_entitled := exists (
      select from private.tenant_principals
      where tenant_principals.tenant_id = run.tenant_id and tenant_principals.id = run.principal_id
    );
  end if;
  if not is_entitled then
    perform private.raise_error(
      403, 'membership_lost', 'The person this enrichment acts for may not have it done any more.', 'Let a member of the tenant run it again.'
    );
  end if;
  return jsonb_build_object('sub', run.principal_id, 'tenant_id', run.tenant_id);
end;
$$;

comment on function ai.delegate_enrichment(uuid, uuid) is
  'Ledger: whose token may be minted for an enrichment right now: {sub, tenant_id}. PT403 membership_lost when the person is no member of the tenant any more, or only a viewer; null when the lease is lost.';

create function ai.reserve_enrichment_tokens(enrichment_id uuid, lease_token uuid, model text, provider text, prompt_tokens bigint, max_tokens bigint)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  run ai.enrichments;
  budget_ids uuid[];
  granted bigint;
  reservation_id uuid;
begin
  if reserve_enrichment_tokens.prompt_tokens is null or reserve_enrichment_tokens.prompt_tokens < 0
    or reserve_enrichment_tokens.max_tokens is null or reserve_enrichment_tokens.max_tokens < 1
  then
    raise exception 'prompt_tokens and max_tokens are required and positive' using errcode = '22023';
  end if;
  -- Shared: the lease cannot change hands before the reservation stands, and several calls may be made at once.
  select * into run
  from ai.enrichments
  where enrichments.id = reserve_enrichment_tokens.enrichment_id and enrichments.lease_token = reserve_enrichment_tokens.lease_token
  for share;
  if run.id is null then
    return null;
  end if;
  -- All or nothing: an answer that is cut short fits no form.
  select held.budget_ids, held.max_tokens into budget_ids, granted
  from private.hold_tokens(
    run.tenant_id, run.started_by, null, null, reserve_enrichment_tokens.prompt_tokens, reserve_enrichment_tokens.max_tokens,
    reserve_enrichment_tokens.max_tokens
  ) as held;
  insert into private.token_reservations (
    tenant_id, enrichment_id, lease_token, user_id, model, provider, prompt_tokens, reserved_tokens, budget_ids
  )
  values (
    run.tenant_id, run.id, reserve_enrichment_tokens.lease_token, run.started_by, reserve_enrichment_tokens.model,
    reserve_enrichment_tokens.provider, reserve_enrichment_tokens.prompt_tokens, reserve_enrichment_tokens.prompt_tokens + granted, budget_ids
  )
  returning id into reservation_id;
  return jsonb_build_object('id', reservation_id, 'max_tokens', granted);
end;
$$;

comment on function ai.reserve_enrichment_tokens(uuid, uuid, text, text, bigint, bigint) is
  'Ledger: holds tokens back for one call to a model on behalf of who started the run: {id, max_tokens}; ended by ai.settle_tokens(). PT402 budget_exceeded when prompt_tokens and max_tokens are not left. Null when the lease is lost.';

create function ai.store_enrichment_result(
  enrichment_id uuid,
  lease_token uuid,
  indexed_source_id uuid,
  source_extracted_at timestamptz,
  field_values jsonb,
  error_code text default null,
  error_message text default null,
  note text default null,
  model text default null
)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  held constant ai.enrichments := private.holds_enrichment_lease(enrichment_id, lease_token);
begin
  if held.id is null then
    return false;
  end if;
  insert into ai.enrichment_results (
    tenant_id, enrichment_id, indexed_source_id, run_number, field_values, error_code, error_message, note, model, source_extracted_at
  )
  select
    held.tenant_id, held.id, indexed_sources.id, held.run_number, nullif(store_enrichment_result.field_values, 'null'),
    store_enrichment_result.error_code, left(store_enrichment_result.error_message, 1000), left(store_enrichment_result.note, 1000),
    store_enrichment_result.model, store_enrichment_result.source_extracted_at
  from ai.indexed_sources
  -- One that was taken out meanwhile has no result.
  where indexed_sources.id = store_enrichment_result.indexed_source_id
    and indexed_sources.tenant_id = held.tenant_id and indexed_sources.knowledge_base_id = held.knowledge_base_id
  for key share
  on conflict on constraint enrichment_results_pkey do update
  set
    run_number = excluded.run_number, field_values = excluded.field_values, error_code = excluded.error_code,
    error_message = excluded.error_message, note = excluded.note, model = excluded.model,
    source_extracted_at = excluded.source_extracted_at, enriched_at = now();
  -- It gets on: what was begun in vain before counts no more.
  update ai.enrichments set attempts = 0 where enrichments.id = held.id and enrichments.attempts > 0;
  return true;
end;
$$;

comment on function ai.store_enrichment_result(uuid, uuid, uuid, timestamptz, jsonb, text, text, text, text) is
  'Ledger: what a model has answered about a source, or the code and the sentence of why it has not. False when the lease is lost.';

create function ai.yield_enrichment(enrichment_id uuid, lease_token uuid)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  held constant ai.enrichments := private.holds_enrichment_lease(enrichment_id, lease_token);
begin
  if held.id is null then
    return false;
  end if;
  update ai.enrichments set lease_token = null, leased_by = null, lease_expires_at = null where enrichments.id = held.id;
  perform private.enqueue('enrich_knowledge_base', jsonb_build_object('id', held.id), now(), held.id::text);
  return true;
end;
$$;

comment on function ai.yield_enrichment(uuid, uuid) is
  'Ledger: gives the lease back with work left, and queues the rest behind what other tenants wait for. False when the lease is lost.';

create function ai.finish_enrichment(enrichment_id uuid, lease_token uuid)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  update ai.enrichments
  set
    status = 'completed', finished_at = now(), error_code = null, reason_code = null, error_message = null, next_retry_at = null,
    lease_token = null, leased_by = null, lease_expires_at = null
  where enrichments.id = finish_enrichment.enrichment_id and enrichments.lease_token = finish_enrichment.lease_token;
  return found;
end;
$$;

comment on function ai.finish_enrichment(uuid, uuid) is 'Ledger: ends a run that has nothing left to ask about. False when the lease is lost.';

create function ai.fail_enrichment(
  enrichment_id uuid,
  lease_token uuid,
  status text,
  error_code text,
  reason_code text,
  error_message text,
  next_retry_at timestamptz default null
)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  if fail_enrichment.status not in ('failed', 'pending') then
    raise exception 'status must be failed or pending' using errcode = '22023';
  end if;
  update ai.enrichments
  set
    status = case when fail_enrichment.status = 'failed' then 'failed' else 'enriching' end,
    finished_at = case when fail_enrichment.status = 'failed' then now() end,
    error_code = fail_enrichment.error_code, reason_code = fail_enrichment.reason_code,
    error_message = left(fail_enrichment.error_message, 1000), next_retry_at = fail_enrichment.next_retry_at,
    lease_token = null, leased_by = null, lease_expires_at = null
  where enrichments.id = fail_enrichment.enrichment_id and enrichments.lease_token = fail_enrichment.lease_token;
  return found;
end;
$$;

comment on function ai.fail_enrichment(uuid, uuid, text, text, text, text, timestamptz) is
  'Ledger: gives the lease back with the reason; status pending means the queue will retry at next_retry_at. False when the lease is lost.';

create function ai.renew_enrichment_lease(enrichment_id uuid, lease_token uuid, lease_seconds int default 60)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  update ai.enrichments
  set lease_expires_at = now() + make_interval(secs => least(greatest(renew_enrichment_lease.lease_seconds, 1), 600))
  where enrichments.id = renew_enrichment_lease.enrichment_id and enrichments.lease_token = renew_enrichment_lease.lease_token;
  return found;
end;
$$;

comment on function ai.renew_enrichment_lease(uuid, uuid, int) is 'Ledger: puts off the end of a lease; false when it is lost.';

create function private.live_enrichment_jobs()
returns table (enrichment_id text, is_waiting boolean)
language sql
stable
security definer -- the queue is readable by nobody
set search_path = ''
as $$
  select job.data ->> 'id', job.name = 'enrich_knowledge_base' and job.state in ('created', 'retry')
  from pgboss.job
  where job.name in ('enrich_knowledge_base', 'enrich_knowledge_base_dead') and job.state in ('created', 'retry', 'active');
$$;

comment on function private.live_enrichment_jobs() is 'Jobs about enrichments, given up ones too: the id they are about, and whether they wait (now or for a retry).';

create function ai.due_enrichments()
returns setof uuid
language sql
stable
set search_path = ''
as $$
  select enrichments.id
  from ai.enrichments
  where enrichments.status = 'enriching'
    and (
      enrichments.lease_expires_at < now()
      or (enrichments.lease_token is null and coalesce(enrichments.next_retry_at, enrichments.started_at) < now() - interval '10 seconds')
    )
    and not exists (
      select from private.live_enrichment_jobs() as live
      where live.enrichment_id = enrichments.id::text
        -- The job of a worker that died stays active until its heartbeat is missed; the lease has told us before.
        and (live.is_waiting or enrichments.lease_token is null)
    )
  limit 500;
$$;

comment on function ai.due_enrichments() is
  'Ledger: at most 500 enrichments that wait while no job is about them, e.g. after their worker has died. The sweep queues them again.';

create function ai.mark_dead_enrichment(enrichment_id uuid, error_message text)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  update ai.enrichments
  set
    status = 'failed', finished_at = now(), error_code = coalesce(enrichments.error_code, 'internal'), reason_code = 'dead_letter',
    error_message = coalesce(enrichments.error_message, mark_dead_enrichment.error_message), next_retry_at = null,
    lease_token = null, leased_by = null, lease_expires_at = null
  where enrichments.id = mark_dead_enrichment.enrichment_id
    and enrichments.status = 'enriching'
    and (enrichments.lease_token is null or enrichments.lease_expires_at < now())
    -- Somebody asked again meanwhile: that job decides.
    and not exists (
      select from private.live_enrichment_jobs() as live
      where live.enrichment_id = mark_dead_enrichment.enrichment_id::text and live.is_waiting
    );
  return found;
end;
$$;

comment on function ai.mark_dead_enrichment(uuid, text) is
  'Ledger: the queue has given the run up; what the last attempt said is kept as the reason. False when it has ended or been taken up again meanwhile.';

create function private.release_enrichment_reservations()
returns trigger
language plpgsql
security definer -- a person who deletes a knowledge base may read no reservations
set search_path = ''
as $$
begin
  perform private.close_reservations(
    array(
      select token_reservations.id
      from private.token_reservations
      where token_reservations.tenant_id = old.tenant_id and token_reservations.enrichment_id = old.id
        and (tg_op = 'DELETE' or token_reservations.lease_token = old.lease_token)
    ),
    null
  );
  if tg_op = 'DELETE' then
    return old;
  end if;
  return null;
end;
$$;

comment on function private.release_enrichment_reservations() is
  'Trigger: closes the reservations of a worker that has lost its lease, and of an enrichment that is deleted. What was not settled counts with the estimate of its prompt: the provider may have charged for it.';

create trigger release_reservations after update of lease_token on ai.enrichments for each row
when (old.lease_token is not null and old.lease_token is distinct from new.lease_token)
execute function private.release_enrichment_reservations();
create trigger release_reservations_of_deleted before delete on ai.enrichments for each row execute function private.release_enrichment_reservations();

revoke execute on function ai.claim_enrichment(uuid, text, int) from public, anon, authenticated, service_role;
revoke execute on function private.holds_enrichment_lease(uuid, uuid) from public, anon, authenticated, service_role;
revoke execute on function ai.delegate_enrichment(uuid, uuid) from public, anon, authenticated, service_role;
revoke execute on function ai.reserve_enrichment_tokens(uuid, uuid, text, text, bigint, bigint) from public, anon, authenticated, service_role;
revoke execute on function ai.store_enrichment_result(uuid, uuid, uuid, timestamptz, jsonb, text, text, text, text) from public, anon, authenticated, service_role;
revoke execute on function ai.yield_enrichment(uuid, uuid) from public, anon, authenticated, service_role;
revoke execute on function ai.finish_enrichment(uuid, uuid) from public, anon, authenticated, service_role;
revoke execute on function ai.fail_enrichment(uuid, uuid, text, text, text, text, timestamptz) from public, anon, authenticated, service_role;
revoke execute on function ai.renew_enrichment_lease(uuid, uuid, int) from public, anon, authenticated, service_role;
revoke execute on function private.live_enrichment_jobs() from public, anon, authenticated, service_role;
revoke execute on function ai.due_enrichments() from public, anon, authenticated, service_role;
revoke execute on function ai.mark_dead_enrichment(uuid, text) from public, anon, authenticated, service_role;
revoke execute on function private.release_enrichment_reservations() from public, anon, authenticated, service_role;
grant execute on function ai.claim_enrichment(uuid, text, int) to service_role;
grant execute on function private.holds_enrichment_lease(uuid, uuid) to service_role;
grant execute on function ai.delegate_enrichment(uuid, uuid) to service_role;
grant execute on function ai.reserve_enrichment_tokens(uuid, uuid, text, text, bigint, bigint) to service_role;
grant execute on function ai.store_enrichment_result(uuid, uuid, uuid, timestamptz, jsonb, text, text, text, text) to service_role;
grant execute on function ai.yield_enrichment(uuid, uuid) to service_role;
grant execute on function ai.finish_enrichment(uuid, uuid) to service_role;
grant execute on function ai.fail_enrichment(uuid, uuid, text, text, text, text, timestamptz) to service_role;
grant execute on function ai.renew_enrichment_lease(uuid, uuid, int) to service_role;
grant execute on function private.live_enrichment_jobs() to service_role;
grant execute on function ai.due_enrichments() to service_role;
grant execute on function ai.mark_dead_enrichment(uuid, text) to service_role;
