-- Vectors and lexemes live apart from ai.chunks, in a schema the Data API does not expose: an embedding can be inverted
-- into its text, so no client may select one; ai.search reads them under the caller's rights.
create table private.chunk_index (
  chunk_id uuid primary key,
  tenant_id uuid not null,
  knowledge_base_id uuid not null,
  embedding_model text not null,
  embedding extensions.vector not null,
  lexemes tsvector not null,
  lexeme_count int not null,
  constraint chunk_index_chunk_fkey foreign key (tenant_id, chunk_id) references ai.chunks (tenant_id, id) on delete cascade
);

comment on table private.chunk_index is 'What a chunk is found by: its vector and its lexemes.';
comment on column private.chunk_index.embedding_model is 'Search compares vectors of one model only.';
comment on column private.chunk_index.lexeme_count is 'Number of lexeme positions: the document length of BM25.';

create index chunk_index_tenant_id_knowledge_base_id_idx on private.chunk_index (tenant_id, knowledge_base_id);
create index chunk_index_tenant_id_chunk_id_idx on private.chunk_index (tenant_id, chunk_id);

alter table private.chunk_index enable row level security;
alter table private.chunk_index force row level security;
revoke all on table private.chunk_index from anon, authenticated, service_role;
grant select on table private.chunk_index to authenticated;
grant select, insert, update, delete on table private.chunk_index to service_role;

-- Whoever can read the chunk can read what it is found by: the subquery is answered under the policies of ai.chunks.
create policy "readers of a chunk read its index row" on private.chunk_index
for select to authenticated
using (
  tenant_id = any (array(select private.caller_tenant_ids()))
  and exists (select from ai.chunks where chunks.id = chunk_index.chunk_id)
);

create table private.staged_chunks (
  indexed_source_id uuid not null,
  tenant_id uuid not null,
  chunk_index int not null,
  content_hash text not null,
  text text not null,
  start_char int not null,
  end_char int not null,
  tokens int not null,
  score real not null,
  meta jsonb not null,
  embedding_model text not null,
  embedding extensions.vector not null,
  created_at timestamptz not null default now(),
  constraint staged_chunks_pkey primary key (indexed_source_id, chunk_index),
  constraint staged_chunks_indexed_source_fkey foreign key (tenant_id, indexed_source_id) references ai.indexed_sources (tenant_id, id) on delete cascade
);

comment on table private.staged_chunks is
  'Chunks embedded but not yet searchable. They outlive a crash, so that a retry embeds only what is missing; finish_indexing() swaps them in at once.';

create index staged_chunks_tenant_id_indexed_source_id_idx on private.staged_chunks (tenant_id, indexed_source_id);

alter table private.staged_chunks enable row level security;
alter table private.staged_chunks force row level security;
revoke all on table private.staged_chunks from anon, authenticated, service_role;
grant select, insert, update, delete on table private.staged_chunks to service_role;
