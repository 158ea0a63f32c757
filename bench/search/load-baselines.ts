import type pg from 'pg'
import type { Corpus } from './corpus.ts'
import { at, type Source } from './layout.ts'
import { uuidOf } from './random.ts'
import { DIMENSIONS, vectorText } from './vectors.ts'

const BATCH_ROWS = 400
const TENANT_POLICY = `using (tenant_id = (select (auth.jwt() -> 'app_metadata' ->> 'tenant_id')::uuid))`

/**
 * What both baselines are compared on. `documents` and `hybrid_search` are those of the Supabase documentation
 * (supabase.com/docs/guides/ai/hybrid-search), `memories` is the table of the guide's query; each with row-level security
 * by the tenant claim in its wrapped, fast form. `rows` says which chunk a row is.
 */
const CREATE_TABLES = `
  create schema bench;
  grant usage on schema bench to authenticated;
  create table bench.documents (
    id bigint primary key, tenant_id uuid not null, kb_id uuid not null, source_id uuid not null, content text not null,
    embedding extensions.vector(${DIMENSIONS}) not null,
    fts tsvector generated always as (to_tsvector('english', content)) stored
  );
  create table bench.memories (
    id bigint primary key, tenant_id uuid not null, kb_id uuid not null, source_id uuid not null, body text not null,
    embedding extensions.vector(${DIMENSIONS}) not null
  );
  alter table bench.documents enable row level security;
  alter table bench.memories enable row level security;
  grant select on bench.documents, bench.memories to authenticated;
  create policy tenant on bench.documents for select to authenticated ${TENANT_POLICY};
  create policy tenant on bench.memories for select to authenticated ${TENANT_POLICY};
  set search_path = bench, public, extensions;
  create function bench.hybrid_search(
    query_text text, query_embedding vector(${DIMENSIONS}), match_count int,
    full_text_weight float = 1, semantic_weight float = 1, rrf_k int = 50
  )
  returns setof bench.documents language sql as $$
  with full_text as (
    select id, row_number() over (order by ts_rank_cd(fts, websearch_to_tsquery(query_text)) desc) as rank_ix
    from documents where fts @@ websearch_to_tsquery(query_text) order by rank_ix limit least(match_count, 30) * 2
  ), semantic as (
    select id, row_number() over (order by embedding <#> query_embedding) as rank_ix
    from documents order by rank_ix limit least(match_count, 30) * 2
  )
  select documents.* from full_text full outer join semantic on full_text.id = semantic.id
    join documents on coalesce(full_text.id, semantic.id) = documents.id
  order by coalesce(1.0 / (rrf_k + full_text.rank_ix), 0.0) * full_text_weight
         + coalesce(1.0 / (rrf_k + semantic.rank_ix), 0.0) * semantic_weight desc
  limit least(match_count, 30) $$;
  reset search_path;
`
// After the rows: a graph built at once is built faster, and the same.
const CREATE_INDEXES = `
  set maintenance_work_mem = '1GB';
  create index on bench.documents using gin (fts);
  create index on bench.documents using hnsw (embedding extensions.vector_ip_ops);
  create index on bench.documents (tenant_id);
  create index on bench.memories (tenant_id);
  reset maintenance_work_mem;
`

/** Creates and fills the tables of both baselines, on a superuser's connection. */
export async function loadBaselines(client: pg.Client, corpus: Corpus, report: (rows: number) => void): Promise<void> {
  await client.query(CREATE_TABLES)
  let batch: DocumentRows = noRows()
  for (const source of corpus.sources) {
    addSource(batch, corpus, source)
    if (batch.ids.length < BATCH_ROWS && source !== corpus.sources.at(-1)) continue
    await insertDocuments(client, batch)
    report(batch.ids.length)
    batch = noRows()
  }
  await client.query(
    'insert into bench.memories select id, tenant_id, kb_id, source_id, content, embedding from bench.documents',
  )
  await client.query(CREATE_INDEXES)
}

/** Rows of bench.documents by column, as the insert takes them. */
export type DocumentRows = {
  ids: number[]
  tenantIds: string[]
  knowledgeBaseIds: string[]
  sourceIds: string[]
  texts: string[]
  vectors: string[]
}

export const noRows = (): DocumentRows => ({
  ids: [],
  tenantIds: [],
  knowledgeBaseIds: [],
  sourceIds: [],
  texts: [],
  vectors: [],
})

/** Adds the rows of a source, of the corpus or arriving later. */
export function addSource(rows: DocumentRows, corpus: Corpus, source: Source): void {
  const tenant = at(corpus.tenants, source.tenant)
  const vectors = corpus.vectors.ofSource(source)
  for (let n = 0; n < source.size; n++) {
    const row = source.firstRow + n
    rows.ids.push(row)
    rows.tenantIds.push(tenant.id)
    rows.knowledgeBaseIds.push(at(tenant.knowledgeBaseIds, source.knowledgeBase))
    rows.sourceIds.push(source.id)
    rows.texts.push(corpus.texts.chunkOf(source, row).text)
    rows.vectors.push(vectorText(vectors, n * DIMENSIONS))
  }
}

export async function insertDocuments(client: pg.Client, rows: DocumentRows): Promise<void> {
  await client.query({
    name: 'insert documents',
    text: `insert into bench.documents (id, tenant_id, kb_id, source_id, content, embedding)
      select id, tenant_id, kb_id, source_id, content, embedding::extensions.vector
      from unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[])
        as given (id, tenant_id, kb_id, source_id, content, embedding)`,
    values: [rows.ids, rows.tenantIds, rows.knowledgeBaseIds, rows.sourceIds, rows.texts, rows.vectors],
  })
}

/** The chunk id of a row of the corpus in the product's tables. */
export const chunkId = (row: number): string => uuidOf('chunk', row)
