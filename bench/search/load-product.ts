import type pg from 'pg'
import type { Corpus } from './corpus.ts'
import { at, type Source } from './layout.ts'
import { chunkId } from './load-baselines.ts'

export const MODEL = 'bench/384'
const BATCH_ROWS = 200

/** Tenants with one member each, their knowledge bases, all sources (those that arrive later, too) with no chunk yet. */
export async function loadTenants(client: pg.Client, corpus: Corpus, sources: Source[]): Promise<void> {
  const { tenants } = corpus
  const emails = tenants.map((tenant) => `member-${tenant.index}@bench.example`)
  await client.query('insert into auth.users (id, email) select * from unnest($1::uuid[], $2::text[])', [
    tenants.map((tenant) => tenant.userId),
    emails,
  ])
  await client.query(`insert into public.tenants (id, name) select id, 'Tenant ' || id from unnest($1::uuid[]) as id`, [
    tenants.map((tenant) => tenant.id),
  ])
  await client.query(
    `insert into public.memberships (tenant_id, user_id, role) select tenant_id, user_id, 'member' from unnest($1::uuid[], $2::uuid[]) as given (tenant_id, user_id)`,
    [tenants.map((tenant) => tenant.id), tenants.map((tenant) => tenant.userId)],
  )
  const bases = tenants.flatMap((tenant) => tenant.knowledgeBaseIds.map((id) => ({ id, tenantId: tenant.id })))
  await client.query(
    `insert into ai.knowledge_bases (id, tenant_id, name, embedding_model)
     select id, tenant_id, 'Knowledge base ' || id, $3 from unnest($1::uuid[], $2::uuid[]) as given (id, tenant_id)`,
    [bases.map(({ id }) => id), bases.map(({ tenantId }) => tenantId), MODEL],
  )
  const tenantIds = sources.map((source) => at(tenants, source.tenant).id)
  const knowledgeBaseIds = sources.map((source) =>
    at(at(tenants, source.tenant).knowledgeBaseIds, source.knowledgeBase),
  )
  const ids = sources.map((source) => source.id)
  await client.query(
    `insert into ai.sources (
       id, tenant_id, name, file_type, mime_type, size_bytes, content_hash, storage_path, extraction_status, extracted_at
     )
     select id, tenant_id, 'source-' || id || '.txt', 'txt', 'text/plain', 1, encode(sha256(id::text::bytea), 'hex'),
       tenant_id || '/' || id || '/source.txt', 'extracted', now()
     from unnest($1::uuid[], $2::uuid[]) as given (id, tenant_id)`,
    [ids, tenantIds],
  )
  await client.query(
    `insert into ai.indexed_sources (id, tenant_id, knowledge_base_id, source_id, index_status, indexed_at, embedding_model)
     select id, tenant_id, knowledge_base_id, id, 'indexed', now(), $4
     from unnest($1::uuid[], $2::uuid[], $3::uuid[]) as given (id, tenant_id, knowledge_base_id)`,
    [ids, tenantIds, knowledgeBaseIds, MODEL],
  )
}

/** Rows of ai.chunks by column, with their vectors as text, in the order in which a source's chunks stand. */
export type ChunkRows = {
  ids: string[]
  tenantIds: string[]
  knowledgeBaseIds: string[]
  sourceIds: string[]
  chunkIndexes: number[]
  texts: string[]
  vectors: string[]
}

/**
 * Inserts chunks as ai.finish_indexing does: the rows of ai.chunks, whose triggers write the index of words, then the
 * vectors. One transaction of the caller's.
 */
export async function insertChunks(client: pg.Client, rows: ChunkRows): Promise<void> {
  await client.query({
    name: 'insert chunks',
    text: `insert into ai.chunks (
        id, tenant_id, indexed_source_id, knowledge_base_id, source_id, visibility, text, chunk_index, start_char, end_char, tokens,
        embedding_model
      )
      select id, tenant_id, source_id, knowledge_base_id, source_id, 'tenant', text, chunk_index, chunk_index * 2000,
        chunk_index * 2000 + length(text), length(text) / 4, $7
      from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::int[], $6::text[])
        as given (id, tenant_id, knowledge_base_id, source_id, chunk_index, text)`,
    values: [rows.ids, rows.tenantIds, rows.knowledgeBaseIds, rows.sourceIds, rows.chunkIndexes, rows.texts, MODEL],
  })
  await client.query({
    name: 'store vectors',
    text: `select private.store_vectors($1, $2::uuid[], array(select v::extensions.vector from unnest($3::text[]) with ordinality as given (v, n) order by n))`,
    values: [MODEL, rows.ids, rows.vectors],
  })
}

/** Fills the product's tables from bench.documents, a few whole sources per transaction. */
export async function loadChunks(client: pg.Client, corpus: Corpus, report: (rows: number) => void): Promise<void> {
  let batch: Source[] = []
  let rows = 0
  for (const source of corpus.sources) {
    batch.push(source)
    rows += source.size
    if (rows < BATCH_ROWS && source !== corpus.sources.at(-1)) continue
    await copyChunks(client, batch)
    report(rows)
    batch = []
    rows = 0
  }
}

async function copyChunks(client: pg.Client, sources: Source[]): Promise<void> {
  const rows = sources.flatMap((source) =>
    Array.from({ length: source.size }, (_, n) => ({ row: source.firstRow + n, n })),
  )
  const ids = rows.map(({ row }) => chunkId(row))
  await client.query('begin')
  await client.query({
    name: 'copy chunks',
    text: `insert into ai.chunks (
        id, tenant_id, indexed_source_id, knowledge_base_id, source_id, visibility, text, chunk_index, start_char, end_char, tokens,
        embedding_model
      )
      select given.id, tenant_id, source_id, kb_id, source_id, 'tenant', content, chunk_index, chunk_index * 2000,
        chunk_index * 2000 + length(content), length(content) / 4, $4
      from unnest($1::bigint[], $2::uuid[], $3::int[]) as given (row_id, id, chunk_index)
      join bench.documents on documents.id = given.row_id`,
    values: [rows.map(({ row }) => row), ids, rows.map(({ n }) => n), MODEL],
  })
  await client.query({
    name: 'copy vectors',
    text: `select private.store_vectors($1, array_agg(given.id order by row_id), array_agg(embedding order by row_id))
      from unnest($2::bigint[], $3::uuid[]) as given (row_id, id) join bench.documents on documents.id = given.row_id`,
    values: [MODEL, rows.map(({ row }) => row), ids],
  })
  await client.query('commit')
}

/** Builds every graph that is due, as the worker does. @returns how many were built */
export async function buildGraphs(client: pg.Client): Promise<number> {
  let built = 0
  for (;;) {
    const { rows } = await client.query<{ id: number }>(
      `select vector_set_id as id from private.due_vector_graphs() where action = 'build'`,
    )
    if (rows.length === 0) return built
    for (const { id } of rows) {
      await buildGraph(client, id)
      built++
    }
  }
}

/** The three steps of a graph, each a transaction of its own. @throws when the set takes no graph */
export async function buildGraph(client: pg.Client, vectorSetId: number): Promise<void> {
  for (const step of ['begin_vector_graph', 'fill_vector_graph', 'finish_vector_graph']) {
    const { rows } = await client.query<{ done: boolean }>(`select private.${step}($1) as done`, [vectorSetId])
    if (!rows[0]?.done) throw new Error(`private.${step}(${vectorSetId}) did nothing.`)
  }
}
