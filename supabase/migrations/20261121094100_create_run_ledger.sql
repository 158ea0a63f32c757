create function ai.renew_run_lease(run_id uuid, lease_token uuid)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  update ai.agent_runs set lease_expires_at = now() + interval '2 minutes'
  where agent_runs.id = renew_run_lease.run_id and agent_runs.lease_token = renew_run_lease.lease_token;
  return found;
end;
$$;

comment on function ai.renew_run_lease(uuid, uuid) is 'Ledger: keeps the run for two more minutes. False when the lease is lost; the executor must stop.';

create function ai.finish_run(
  run_id uuid,
  lease_token uuid,
  status text,
  content text,
  usage jsonb default '{}',
  error text default null,
  error_code text default null,
  citations jsonb default '[]',
  invalid_citation_count int default 0,
  output_messages jsonb default null
)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  run ai.agent_runs;
begin
  if finish_run.status not in ('completed', 'failed', 'cancelled') then
    raise exception 'status must be completed, failed or cancelled' using errcode = '22023';
  end if;
  update ai.agent_runs
  set
    status = finish_run.status, content = finish_run.content, error = left(finish_run.error, 2000), error_code = finish_run.error_code,
    prompt_tokens = (finish_run.usage ->> 'prompt_tokens')::int, completion_tokens = (finish_run.usage ->> 'completion_tokens')::int,
    reasoning_tokens = (finish_run.usage ->> 'reasoning_tokens')::int, cached_tokens = (finish_run.usage ->> 'cached_tokens')::int,
    total_tokens = (finish_run.usage ->> 'total_tokens')::int, invalid_citation_count = finish_run.invalid_citation_count,
    output_messages = coalesce(
      finish_run.output_messages, jsonb_build_array(jsonb_build_object('role', 'assistant', 'content', finish_run.content))
    ),
    lease_token = null, lease_expires_at = null, completed_at = now()
  where agent_runs.id = finish_run.run_id and agent_runs.lease_token = finish_run.lease_token
  returning * into run;
  if run.id is null then
    return false;
  end if;
  insert into ai.message_citations (tenant_id, run_id, user_id, citation_key, item_id, source_id, text_excerpt, meta)
  select
    run.tenant_id, run.id, run.user_id, citation.citation_key, citation.item_id, sources.id, left(coalesce(citation.text_excerpt, ''), 300),
    coalesce(citation.meta, '{}')
  from jsonb_to_recordset(finish_run.citations) as citation (
    citation_key int, item_id uuid, source_id uuid, text_excerpt text, meta jsonb
  )
  -- A source that is gone by now, or was never this tenant's, leaves the citation without a source.
  left join ai.sources on sources.tenant_id = run.tenant_id and sources.id = citation.source_id;
  return true;
end;
$$;

comment on function ai.finish_run(uuid, uuid, text, text, jsonb, text, text, jsonb, int, jsonb) is
  'Ledger: ends a run with its answer, usage (tokens) and citations [{citation_key, item_id, source_id, text_excerpt, meta}], all at once. False when the lease is lost or the run has ended.';

create function ai.fail_abandoned_runs()
returns int
language plpgsql
set search_path = ''
as $$
declare
  failed int;
begin
  update ai.agent_runs
  set
    status = 'failed', error = 'The run was interrupted.', error_code = 'interrupted', lease_token = null, lease_expires_at = null,
    completed_at = now()
  where agent_runs.status = 'running' and agent_runs.lease_expires_at < now();
  get diagnostics failed = row_count;
  return failed;
end;
$$;

comment on function ai.fail_abandoned_runs() is 'Ledger: ends runs whose executor died. Returns how many. Called by the worker''s sweep.';

revoke execute on function ai.renew_run_lease(uuid, uuid) from public, anon, authenticated, service_role;
revoke execute on function ai.finish_run(uuid, uuid, text, text, jsonb, text, text, jsonb, int, jsonb) from public, anon, authenticated, service_role;
revoke execute on function ai.fail_abandoned_runs() from public, anon, authenticated, service_role;
grant execute on function ai.renew_run_lease(uuid, uuid) to service_role;
grant execute on function ai.finish_run(uuid, uuid, text, text, jsonb, text, text, jsonb, int, jsonb) to service_role;
grant execute on function ai.fail_abandoned_runs() to service_role;
