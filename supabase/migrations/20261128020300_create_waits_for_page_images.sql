-- Records may be made from images of pages, which are drawn after the text of a document is there, by a job of their own.
create function private.waits_for_page_images(source_id uuid, config jsonb)
returns boolean
language sql
stable
set search_path = ''
as $$
  select private.reads_page_images(waits_for_page_images.config)
    and exists (
      select from private.page_renderings
      where page_renderings.source_id = waits_for_page_images.source_id
        and page_renderings.status in ('pending', 'rendering')
        -- Where nobody draws, the text has to do.
        and page_renderings.requested_at > now() - interval '30 minutes'
    );
$$;

comment on function private.waits_for_page_images(uuid, jsonb) is
  'Whether indexing with these settings is to wait until the pages of the source have been drawn: half an hour at most.';

revoke execute on function private.waits_for_page_images(uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function private.waits_for_page_images(uuid, jsonb) to service_role;
