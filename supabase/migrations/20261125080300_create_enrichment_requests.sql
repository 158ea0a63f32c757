-- What people ask for: to set what is asked about the sources of a knowledge base, to have it asked, to see how far it is.
create function private.start_enrichment(enrichment_id uuid, scope text)
returns uuid
language plpgsql
security definer -- states are written through functions only; the callers have asked what the person may
set search_path = ''
as $$
declare
  tenant constant uuid := (select enrichments.tenant_id from ai.enrichments where enrichments.id = start_enrichment.enrichment_id);
  person constant uuid := private.caller_user_id();
  job_id uuid;
begin
  perform private.check_budget(tenant, person, null);
  update ai.enrichments
  set
    status = 'enriching', run_number = enrichments.run_number + 1, scope = start_enrichment.scope, started_by = person, principal_id = auth.uid(),
    started_at = now(), finished_at = null, error_code = null, reason_code = null, error_message = null, attempts = 0, next_retry_at = null
  where enrichments.id = start_enrichment.enrichment_id;
  job_id := private.enqueue(
    'enrich_knowledge_base', jsonb_build_object('id', start_enrichment.enrichment_id), now(), start_enrichment.enrichment_id::text
  );
  update ai.enrichments set celery_task_id = coalesce(job_id::text, enrichments.celery_task_id) where enrichments.id = start_enrichment.enrichment_id;
  return job_id;
end;
$$;

comment on function private.start_enrichment(uuid, text) is
  'Begins a run in the name of the caller and queues its job. Returns the id of the job. PT402 insufficient_credits when a budget has no token left.';

create function private.held_enrichment(knowledge_base_id uuid, changes_configuration boolean, must_exist boolean)
returns ai.enrichments
language plpgsql
security definer -- takes a lock on the row; what the caller may do is asked here
set search_path = ''
as $$
declare
  held ai.enrichments;
  tenant uuid;
begin
  select knowledge_bases.tenant_id into tenant
  from ai.knowledge_bases
  where knowledge_bases.id = held_enrichment.knowledge_base_id
    and knowledge_bases.tenant_id = any (array(select private.caller_tenant_ids()));
  if tenant is null then
    perform private.raise_error(404, 'not_found', 'Knowledge base not found.', 'Check the id.');
  end if;
  if changes_configuration and not private.may_change_knowledge_base(held_enrichment.knowledge_base_id) then
    perform private.raise_error(403, 'forbidden', 'Only its creator and admins may change how this knowledge base is enriched.', null);
  end if;
  if not tenant = any (array(select private.caller_tenant_ids('member'))) then
    perform private.raise_error(403, 'forbidden', 'Viewers cannot have a knowledge base enriched.', null);
  end if;
  select enrichments.* into held
  from ai.enrichments
  where enrichments.tenant_id = tenant and enrichments.knowledge_base_id = held_enrichment.knowledge_base_id
  for update;
  if must_exist and held.id is null then
    perform private.raise_error(404, 'not_found', 'This knowledge base has no enrichment.', 'Set one first.');
  end if;
  held.tenant_id := tenant;
  return held;
end;
$$;

comment on function private.held_enrichment(uuid, boolean, boolean) is
  'The enrichment of a knowledge base, locked, or a row with no more than its tenant where there is none yet. PT404; PT403 for viewers, and for whoever may not change the knowledge base where the configuration is to change.';

create function private.refuse_while_enriching(status text, act text)
returns void
language plpgsql
immutable
set search_path = ''
as $$
begin
  if status = 'enriching' then
    perform private.raise_error(409, 'conflict', format('The knowledge base is being enriched: %s when that has ended.', act), null);
  end if;
end;
$$;

comment on function private.refuse_while_enriching(text, text) is 'PT409 conflict while a run goes on.';

create function private.set_enrichment(
  knowledge_base_id uuid,
  fields jsonb,
  llm_model text,
  max_tokens int,
  use_multimodal boolean,
  start_run boolean
)
returns jsonb
language plpgsql
security definer -- as held_enrichment
set search_path = ''
as $$
declare
  held ai.enrichments := private.held_enrichment(knowledge_base_id, true, false);
  is_new constant boolean := held.id is null;
  asks_otherwise constant boolean := is_new or (held.fields, held.llm_model) is distinct from (set_enrichment.fields, set_enrichment.llm_model);
  job_id uuid;
begin
  if not private.is_enrichment_fields(set_enrichment.fields) or pg_column_size(set_enrichment.fields) > 65536 then
    perform private.raise_error(400, 'invalid_request', 'fields is no list of fields.', 'Each is {name, description, type: text | boolean | number | enum, enum_values?}.');
  end if;
  if set_enrichment.llm_model !~ '^[[:graph:]]{1,200}$' then
    perform private.raise_error(400, 'invalid_request', 'llm_model must be the name of a model.', null);
  end if;
  if coalesce(set_enrichment.max_tokens, 2000) not between 1 and 100000 then
    perform private.raise_error(400, 'invalid_request', 'max_tokens must be from 1 to 100000.', null);
  end if;
  if is_new then
    insert into ai.enrichments (tenant_id, knowledge_base_id, fields, llm_model, max_tokens, use_multimodal, created_by)
    values (
      held.tenant_id, set_enrichment.knowledge_base_id, set_enrichment.fields, set_enrichment.llm_model, coalesce(set_enrichment.max_tokens, 2000),
      coalesce(set_enrichment.use_multimodal, false), private.caller_user_id()
    )
    returning * into held;
  else
    if asks_otherwise then
      perform private.refuse_while_enriching(held.status, 'change what is asked');
      -- Answers to other questions.
      delete from ai.enrichment_results where enrichment_results.tenant_id = held.tenant_id and enrichment_results.enrichment_id = held.id;
      update ai.enrichments set status = 'idle', error_code = null, reason_code = null, error_message = null where enrichments.id = held.id;
    end if;
    update ai.enrichments
    set
      fields = set_enrichment.fields, llm_model = set_enrichment.llm_model, max_tokens = coalesce(set_enrichment.max_tokens, 2000),
      use_multimodal = coalesce(set_enrichment.use_multimodal, false)
    where enrichments.id = held.id;
  end if;
  if asks_otherwise and coalesce(set_enrichment.start_run, true) then
    job_id := private.start_enrichment(held.id, 'all');
  end if;
  return jsonb_build_object('id', held.id, 're_enrichment_triggered', asks_otherwise and coalesce(set_enrichment.start_run, true), 'job_id', job_id);
end;
$$;

comment on function private.set_enrichment(uuid, jsonb, text, int, boolean, boolean) is 'Core of ai.set_enrichment().';

create function private.delete_enrichment(knowledge_base_id uuid)
returns void
language plpgsql
security definer -- as held_enrichment
set search_path = ''
as $$
declare
  held constant ai.enrichments := private.held_enrichment(knowledge_base_id, true, true);
begin
  perform private.refuse_while_enriching(held.status, 'delete its enrichment');
  delete from ai.enrichments where enrichments.id = held.id;
end;
$$;

comment on function private.delete_enrichment(uuid) is 'Core of ai.delete_enrichment().';

create function private.run_enrichment(knowledge_base_id uuid, incremental boolean, retry_failed boolean)
returns uuid
language plpgsql
security definer -- as held_enrichment
set search_path = ''
as $$
declare
  held constant ai.enrichments := private.held_enrichment(knowledge_base_id, false, true);
begin
  perform private.refuse_while_enriching(held.status, 'run it again');
  return private.start_enrichment(
    held.id,
    case
      when incremental and retry_failed then 'new_and_failed'
      when incremental then 'new'
      when retry_failed then 'failed'
      else 'all'
    end
  );
end;
$$;

comment on function private.run_enrichment(uuid, boolean, boolean) is 'Core of ai.run_enrichment().';

create function ai.set_enrichment(
  knowledge_base_id uuid,
  fields jsonb,
  llm_model text default null,
  max_tokens int default 2000,
  use_multimodal boolean default false,
  start_run boolean default true
)
returns jsonb
language sql
set search_path = ''
as $$
  select private.set_enrichment(
    set_enrichment.knowledge_base_id, set_enrichment.fields, set_enrichment.llm_model, set_enrichment.max_tokens, set_enrichment.use_multimodal,
    set_enrichment.start_run
  );
$$;

comment on function ai.set_enrichment(uuid, jsonb, text, int, boolean, boolean) is
  'Sets what a model is asked about the sources of a knowledge base: its creator and admins. Other fields, or another model, discard what was answered and, unless start_run is false, begin a run over all sources that the caller can see. '
  'Returns {id, re_enrichment_triggered, job_id}. PT400, PT402 insufficient_credits, PT403, PT404, PT409 while a run goes on and its questions would change.';

create function ai.delete_enrichment(knowledge_base_id uuid)
returns void
language sql
set search_path = ''
as $$
  select private.delete_enrichment(delete_enrichment.knowledge_base_id);
$$;

comment on function ai.delete_enrichment(uuid) is
  'Deletes what is asked about the sources of a knowledge base, and all answers: its creator and admins. PT403, PT404, PT409 while a run goes on.';

create function ai.run_enrichment(knowledge_base_id uuid, incremental boolean default false, retry_failed boolean default false)
returns uuid
language sql
set search_path = ''
as $$
  select private.run_enrichment(run_enrichment.knowledge_base_id, coalesce(run_enrichment.incremental, false), coalesce(run_enrichment.retry_failed, false));
$$;

comment on function ai.run_enrichment(uuid, boolean, boolean) is
  'Has the sources of a knowledge base enriched that the caller, a member, can see: all; with incremental those without an answer to their present text; with retry_failed those that failed; with both, both. '
  'Returns the id of the job. PT402 insufficient_credits, PT403, PT404, PT409 while a run goes on.';

create function ai.enrichment_state(knowledge_base_ids uuid[])
returns table (knowledge_base_id uuid, status text, enriched_count bigint, failed_count bigint, total_count bigint)
language sql
stable
set search_path = ''
as $$
  select
    enrichments.knowledge_base_id,
    case when enrichments.status = 'completed' and counts.failed > 0 then 'completed_with_errors' else enrichments.status end,
    counts.enriched, counts.failed, counts.total
  from ai.enrichments
  -- Under the policies on sources and results: what the caller cannot see is no part of any count.
  cross join lateral (
    select
      count(*) as total,
      count(*) filter (where results.field_values is not null) as enriched,
      count(*) filter (where results.error_code is not null) as failed
    from ai.indexed_sources
    left join ai.enrichment_results as results
      on results.tenant_id = enrichments.tenant_id and results.indexed_source_id = indexed_sources.id
      -- While all are asked again, an earlier answer is none yet.
      and (results.run_number = enrichments.run_number or enrichments.status <> 'enriching' or enrichments.scope <> 'all')
    where indexed_sources.tenant_id = enrichments.tenant_id
      and indexed_sources.knowledge_base_id = enrichments.knowledge_base_id
      and indexed_sources.indexed_at is not null
  ) as counts
  where enrichments.knowledge_base_id = any (enrichment_state.knowledge_base_ids);
$$;

comment on function ai.enrichment_state(uuid[]) is
  'How far the enrichment of knowledge bases is, of the sources that the caller can see: idle, enriching, completed, completed_with_errors or failed, and the sources enriched, failed and altogether. No row where there is no enrichment.';

create function ai.items_to_enrich(enrichment_id uuid, item_limit int)
returns table (id uuid, source_id uuid, source_name text, source_extracted_at timestamptz)
language sql
stable
set search_path = ''
as $$
  select indexed_sources.id, sources.id, sources.name, sources.extracted_at
  from ai.enrichments
  join ai.indexed_sources
    on indexed_sources.tenant_id = enrichments.tenant_id and indexed_sources.knowledge_base_id = enrichments.knowledge_base_id
  join ai.sources on sources.tenant_id = indexed_sources.tenant_id and sources.id = indexed_sources.source_id
  left join ai.enrichment_results as results
    on results.tenant_id = indexed_sources.tenant_id and results.indexed_source_id = indexed_sources.id
  where enrichments.id = items_to_enrich.enrichment_id
    and enrichments.status = 'enriching'
    and indexed_sources.indexed_at is not null
    and sources.extraction_status = 'extracted'
    and (
      results.indexed_source_id is null and enrichments.scope <> 'failed'
      or results.run_number <> enrichments.run_number
      and (
        enrichments.scope = 'all'
        or enrichments.scope in ('failed', 'new_and_failed') and results.error_code is not null
        or enrichments.scope in ('new', 'new_and_failed') and results.source_extracted_at is distinct from sources.extracted_at
      )
    )
  order by indexed_sources.created_at, indexed_sources.id
  limit least(greatest(items_to_enrich.item_limit, 1), 1000);
$$;

comment on function ai.items_to_enrich(uuid, int) is
  'At most item_limit (1 to 1000) sources that the run under way is still to ask about, of those that the caller can see at this moment. The worker calls it as the person the run acts for.';

revoke execute on function private.start_enrichment(uuid, text) from public, anon, authenticated, service_role;
revoke execute on function private.held_enrichment(uuid, boolean, boolean) from public, anon, authenticated, service_role;
revoke execute on function private.refuse_while_enriching(text, text) from public, anon, authenticated, service_role;
revoke execute on function private.set_enrichment(uuid, jsonb, text, int, boolean, boolean) from public, anon, authenticated, service_role;
revoke execute on function private.delete_enrichment(uuid) from public, anon, authenticated, service_role;
revoke execute on function private.run_enrichment(uuid, boolean, boolean) from public, anon, authenticated, service_role;
revoke execute on function ai.set_enrichment(uuid, jsonb, text, int, boolean, boolean) from public, anon, authenticated, service_role;
revoke execute on function ai.delete_enrichment(uuid) from public, anon, authenticated, service_role;
revoke execute on function ai.run_enrichment(uuid, boolean, boolean) from public, anon, authenticated, service_role;
revoke execute on function ai.enrichment_state(uuid[]) from public, anon, authenticated, service_role;
revoke execute on function ai.items_to_enrich(uuid, int) from public, anon, authenticated, service_role;
grant execute on function private.set_enrichment(uuid, jsonb, text, int, boolean, boolean) to authenticated;
grant execute on function private.delete_enrichment(uuid) to authenticated;
grant execute on function private.run_enrichment(uuid, boolean, boolean) to authenticated;
grant execute on function ai.set_enrichment(uuid, jsonb, text, int, boolean, boolean) to authenticated;
grant execute on function ai.delete_enrichment(uuid) to authenticated;
grant execute on function ai.run_enrichment(uuid, boolean, boolean) to authenticated;
grant execute on function ai.enrichment_state(uuid[]) to authenticated;
grant execute on function ai.items_to_enrich(uuid, int) to authenticated;
