create table ai.chunks (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null,
  indexed_source_id uuid not null,
  knowledge_base_id uuid not null,
  source_id uuid not null,
  owner_id uuid,
  visibility text not null,
  allowed_principals uuid[] not null default '{}',
  text text not null,
  chunk_index int not null,
  start_char int not null,
  end_char int not null,
  tokens int not null,
  score real not null default 1,
  meta jsonb not null default '{}',
  embedding_model text not null,
  created_at timestamptz not null default now(),
  constraint chunks_indexed_source_fkey foreign key (tenant_id, indexed_source_id) references ai.indexed_sources (tenant_id, id) on delete cascade,
  constraint chunks_source_fkey foreign key (tenant_id, source_id) references ai.sources (tenant_id, id) on delete cascade,
  constraint chunks_knowledge_base_fkey foreign key (tenant_id, knowledge_base_id) references ai.knowledge_bases (tenant_id, id) on delete cascade,
  constraint chunks_tenant_id_id_key unique (tenant_id, id),
  constraint chunks_indexed_source_id_chunk_index_key unique (indexed_source_id, chunk_index),
  constraint chunks_span_is_valid check (start_char >= 0 and end_char > start_char),
  constraint chunks_score_is_a_share check (score between 0 and 1),
  constraint chunks_text_has_a_length check (char_length(text) between 1 and 40000)
);

comment on table ai.chunks is 'A passage of a source in a knowledge base. Written by the indexer only, all chunks of a source at once.';
comment on column ai.chunks.owner_id is 'With visibility and allowed_principals: copies from the source, kept by triggers, so that the policy is answered from the row.';
comment on column ai.chunks.start_char is 'Offset of the first character in the source''s pages joined by two line feeds; UTF-16 code units, as JavaScript counts.';
comment on column ai.chunks.score is 'How much running text the chunk holds, 0..1. Independent of any question; ai.search ranks by the question.';
comment on column ai.chunks.meta is '{"pages": [from 1], "heading_path": [outermost first]}.';

create index chunks_tenant_id_knowledge_base_id_idx on ai.chunks (tenant_id, knowledge_base_id);
create index chunks_tenant_id_source_id_idx on ai.chunks (tenant_id, source_id);
create index chunks_tenant_id_indexed_source_id_idx on ai.chunks (tenant_id, indexed_source_id);

alter table ai.chunks enable row level security;
alter table ai.chunks force row level security;
revoke all on table ai.chunks from anon, authenticated, service_role;
grant select (
  id, tenant_id, indexed_source_id, knowledge_base_id, source_id, owner_id, visibility, text, chunk_index, start_char, end_char,
  tokens, score, meta, embedding_model, created_at
) on table ai.chunks to authenticated;
grant select, insert, update, delete on table ai.chunks to service_role;

create policy "chunks stay inside their tenant" on ai.chunks as restrictive
for select to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids())));

create policy auth_read_chunks on ai.chunks
for select to authenticated
using (
  visibility = 'tenant'
  or owner_id = (select auth.uid())
  or (visibility = 'granted' and allowed_principals && (select private.caller_principal_ids())::uuid[])
  or tenant_id = any (array(select private.caller_backend_tenant_ids()))
);

create trigger refuse_tenant_change before update on ai.chunks for each row execute function private.refuse_tenant_change();

create function private.copy_visibility_to_chunks()
returns trigger
language plpgsql
security definer -- chunks are writable by nobody
set search_path = ''
as $$
begin
  update ai.chunks
  set visibility = new.visibility, owner_id = new.owner_id, allowed_principals = new.allowed_principals
  where chunks.tenant_id = new.tenant_id and chunks.source_id = new.id;
  return null;
end;
$$;

comment on function private.copy_visibility_to_chunks() is 'Trigger: a change of who may see a source reaches its chunks in the same transaction.';

revoke execute on function private.copy_visibility_to_chunks() from public;

create trigger copy_visibility_to_chunks after update on ai.sources for each row
when ((old.visibility, old.owner_id, old.allowed_principals) is distinct from (new.visibility, new.owner_id, new.allowed_principals))
execute function private.copy_visibility_to_chunks();
