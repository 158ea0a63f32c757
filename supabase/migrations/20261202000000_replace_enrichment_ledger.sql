-- Who deletes a knowledge base removes what is indexed there before its enrichment, and an answer locked the enrichment before what it
-- is about: the two waited for each other, and one of them failed.
create or replace function ai.store_enrichment_result(
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
  held ai.enrichments;
begin
  -- First of all what a deletion begins with: it waits for us, or we for it, before either has anything else.
  perform
  from ai.knowledge_bases
  where knowledge_bases.id = (
    select enrichments.knowledge_base_id from ai.enrichments where enrichments.id = store_enrichment_result.enrichment_id
  )
  for key share;
  held := private.holds_enrichment_lease(enrichment_id, lease_token);
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
