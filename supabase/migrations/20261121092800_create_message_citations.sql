create table ai.message_citations (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null,
  run_id uuid not null,
  user_id uuid,
  citation_key int not null,
  item_id uuid,
  source_id uuid,
  text_excerpt text not null,
  meta jsonb not null default '{}',
  created_at timestamptz not null default now(),
  constraint message_citations_run_fkey foreign key (tenant_id, run_id) references ai.agent_runs (tenant_id, id) on delete cascade,
  constraint message_citations_source_fkey foreign key (tenant_id, source_id) references ai.sources (tenant_id, id) on delete set null (source_id),
  constraint message_citations_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade,
  constraint message_citations_run_id_citation_key_key unique (run_id, citation_key),
  constraint message_citations_citation_key_is_positive check (citation_key >= 1),
  constraint message_citations_text_excerpt_has_a_length check (char_length(text_excerpt) <= 300)
);

comment on table ai.message_citations is 'What the mark [n] in an answer stands for.';
comment on column ai.message_citations.item_id is 'The chunk; it may be gone since, the span in meta stays.';
comment on column ai.message_citations.meta is 'chunk_id, source_name, pages, start_char, end_char, score.';

create index message_citations_tenant_id_run_id_idx on ai.message_citations (tenant_id, run_id);
create index message_citations_tenant_id_source_id_idx on ai.message_citations (tenant_id, source_id);
create index message_citations_user_id_idx on ai.message_citations (user_id);

alter table ai.message_citations enable row level security;
alter table ai.message_citations force row level security;
revoke all on table ai.message_citations from anon, authenticated, service_role;
grant select on table ai.message_citations to authenticated;
grant select, insert, update, delete on table ai.message_citations to service_role;

create policy "people read the citations of their own runs" on ai.message_citations
for select to authenticated
using (
  (user_id = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids())))
  or tenant_id = any (array(select private.caller_backend_tenant_ids()))
);

create trigger refuse_tenant_change before update on ai.message_citations for each row execute function private.refuse_tenant_change();
