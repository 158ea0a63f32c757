create table ai.source_pages (
  tenant_id uuid not null,
  source_id uuid not null,
  page_number int not null,
  text text not null,
  constraint source_pages_pkey primary key (source_id, page_number),
  constraint source_pages_source_fkey foreign key (tenant_id, source_id) references ai.sources (tenant_id, id) on delete cascade,
  constraint source_pages_page_number_is_positive check (page_number >= 1)
);

comment on table ai.source_pages is 'The extracted text of a source, page by page. Chunk offsets count characters of all pages joined by two line feeds.';
comment on column ai.source_pages.page_number is 'From 1. Formats without pages are cut at paragraphs.';

create index source_pages_tenant_id_source_id_idx on ai.source_pages (tenant_id, source_id);

alter table ai.source_pages enable row level security;
alter table ai.source_pages force row level security;
revoke all on table ai.source_pages from anon, authenticated, service_role;
grant select on table ai.source_pages to authenticated;
grant select, insert, update, delete on table ai.source_pages to service_role;

-- Whoever can read the source can read its pages: the subquery is answered under the policies of ai.sources.
create policy "readers of a source read its pages" on ai.source_pages
for select to authenticated
using (
  tenant_id = any (array(select private.caller_tenant_ids()))
  and exists (select from ai.sources where sources.id = source_pages.source_id)
);

create trigger refuse_tenant_change before update on ai.source_pages for each row execute function private.refuse_tenant_change();
