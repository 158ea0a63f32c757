-- Gives the images of pages along where the settings want them, and waits for them. The sweep asks again about what waits.
create or replace function ai.claim_indexing(indexed_source_id uuid, worker text, lease_seconds int default 60)
returns jsonb
language sql
set search_path = ''
as $$
  update ai.indexed_sources
  set
    index_status = 'indexing', lease_token = gen_random_uuid(), leased_by = claim_indexing.worker,
    lease_expires_at = now() + make_interval(secs => least(greatest(claim_indexing.lease_seconds, 1), 600)),
    attempts = indexed_sources.attempts + 1, next_retry_at = null, error_code = null, reason_code = null, error_message = null,
    indexing_config_snapshot = knowledge_bases.indexing_config
  from ai.knowledge_bases, ai.sources
  where indexed_sources.id = claim_indexing.indexed_source_id
    and knowledge_bases.id = indexed_sources.knowledge_base_id
    and sources.id = indexed_sources.source_id
    and sources.extraction_status = 'extracted'
    and (
      indexed_sources.index_status = 'pending'
      or (indexed_sources.index_status = 'indexing' and indexed_sources.lease_expires_at < now())
    )
    and not private.waits_for_page_images(sources.id, knowledge_bases.indexing_config)
  returning jsonb_build_object(
    'lease_token', indexed_sources.lease_token, 'indexed_source_id', indexed_sources.id, 'tenant_id', indexed_sources.tenant_id,
    'source_id', sources.id, 'knowledge_base_id', knowledge_bases.id, 'source_name', sources.name,
    'page_count', sources.page_count, 'indexing_config', knowledge_bases.indexing_config, 'attempts', indexed_sources.attempts,
    'embedding_model', knowledge_bases.embedding_model
  ) || case
    when private.reads_page_images(knowledge_bases.indexing_config) then jsonb_build_object('page_images', coalesce(sources.derivatives -> 'image', '[]'))
    else '{}'
  end;
$$;

comment on function ai.claim_indexing(uuid, text, int) is
  'Ledger: takes the lease on an extracted source that waits to be indexed, or whose lease has run out. Says which model to embed with (null: the worker''s own) and, where the settings want them, lists the images of its pages. Null when there is nothing to do, or not before the pages are drawn.';
