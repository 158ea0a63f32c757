-- The text of a document is Markdown, and is listed as that, too.
create or replace function ai.finish_extraction(source_id uuid, lease_token uuid, page_count int, auto_metadata jsonb, render_pages boolean default false)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  tenant uuid;
  has_pages_to_render constant boolean := finish_extraction.render_pages and finish_extraction.auto_metadata ->> 'document_type' = 'pdf';
begin
  update ai.sources
  set
    extraction_status = 'extracted', extracted_at = now(), page_count = finish_extraction.page_count,
    auto_metadata = sources.auto_metadata || coalesce(finish_extraction.auto_metadata, '{}')
      || jsonb_build_object('page_count', finish_extraction.page_count)
      || case when has_pages_to_render then '{"page_images": {"status": "pending"}}' else '{}' end::jsonb,
    lease_token = null, leased_by = null, lease_expires_at = null,
    derivatives = jsonb_build_object(
      -- What is read of a document is written as Markdown: the same stored pages, under both names.
      'markdown', jsonb_build_array(jsonb_build_object('storage_path', null, 'format', 'md')),
      'image', coalesce(sources.derivatives -> 'image', jsonb_build_array()),
      'text', jsonb_build_array(jsonb_build_object('storage_path', null, 'format', 'txt')),
      'page_text',
      (
        select coalesce(jsonb_agg(jsonb_build_object('storage_path', null, 'page', numbers.page, 'format', 'txt') order by numbers.page), '[]')
        from generate_series(1, least(finish_extraction.page_count, 2000)) as numbers (page)
      )
    )
  where sources.id = finish_extraction.source_id and sources.lease_token = finish_extraction.lease_token
  returning sources.tenant_id into tenant;
  if tenant is null then
    return false;
  end if;
  -- An earlier extraction may have found more pages.
  delete from ai.source_pages
  where source_pages.source_id = finish_extraction.source_id and source_pages.page_number > finish_extraction.page_count;
  perform private.index_job(indexed_sources.id)
  from ai.indexed_sources
  where indexed_sources.source_id = finish_extraction.source_id and indexed_sources.index_status = 'pending';
  if has_pages_to_render then
    perform private.request_page_images(finish_extraction.source_id);
  end if;
  return true;
end;
$$;
