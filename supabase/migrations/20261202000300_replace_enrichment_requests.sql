-- Fields that are well formed and too long were refused as no fields at all.
create or replace function private.set_enrichment(
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
  if not private.is_enrichment_fields(set_enrichment.fields) then
    perform private.raise_error(400, 'invalid_request', 'fields is no list of fields.', 'Each is {name, description, type: text | boolean | number | enum, enum_values?}.');
  end if;
  if pg_column_size(set_enrichment.fields) > 65536 then
    perform private.raise_error(400, 'invalid_request', 'fields is too long: 64 KiB is the most.', 'Shorten descriptions and enum_values: all of them go along with every question.');
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
