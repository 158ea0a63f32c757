-- What waits for images goes on as soon as they are there, or will not be.
create function private.index_after_page_images()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  perform private.index_job(indexed_sources.id)
  from ai.indexed_sources
  join ai.knowledge_bases
    on knowledge_bases.tenant_id = indexed_sources.tenant_id and knowledge_bases.id = indexed_sources.knowledge_base_id
  where indexed_sources.tenant_id = new.tenant_id
    and indexed_sources.source_id = new.source_id
    and indexed_sources.index_status = 'pending'
    and private.reads_page_images(knowledge_bases.indexing_config);
  return null;
end;
$$;

comment on function private.index_after_page_images() is 'Trigger: queues the indexing that has waited for images of pages, in the transaction that ends their drawing.';

create trigger index_after_page_images after update on private.page_renderings
for each row when (old.status in ('pending', 'rendering') and new.status in ('rendered', 'failed')) execute function private.index_after_page_images();

revoke execute on function private.index_after_page_images() from public, anon, authenticated, service_role;
