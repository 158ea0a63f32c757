import type pg from 'pg'
import type { BenchDatabase } from './database.ts'
import type { Corpus } from './corpus.ts'
import { at } from './layout.ts'
import { buildGraph, MODEL } from './load-product.ts'
import { measureFirstCall } from './measure-first-call.ts'
import { summary } from './measure-latency.ts'
import type { Query } from './queries.ts'
import { uuidOf } from './random.ts'
import type { Promoted } from './results.ts'
import { CallerSession } from './sessions.ts'
import { askOurs } from './variants.ts'

const ROWS_PER_TENANT = 30
const SEARCHES = 60

/**
 * Whether searching gets slower with the number of tenants that have a graph of their own: one tenant's search and a new
 * connection's first one, before and after so many other tenants got theirs. Those have few rows; their number matters.
 */
export async function measurePromoted(
  database: BenchDatabase,
  client: pg.Client,
  corpus: Corpus,
  queries: Query[],
  tenants: number,
): Promise<Promoted> {
  const before = await measureOnce(database, corpus, queries)
  for (let n = 0; n < tenants; n++) await addTenantWithGraph(client, corpus.tenants.length + n)
  await client.query('vacuum analyze')
  return { tenants, before, after: await measureOnce(database, corpus, queries) }
}

async function measureOnce(database: BenchDatabase, corpus: Corpus, queries: Query[]): Promise<Promoted['before']> {
  const session = await CallerSession.open(database.connect)
  try {
    const times: number[] = []
    for (let n = -10; n < SEARCHES; n++) {
      const { cpu, wall } = await askOurs(session, corpus, at(queries, Math.abs(n) % queries.length))
      if (n >= 0) times.push(cpu ?? wall)
    }
    return { search: summary(times), firstCall: await measureFirstCall(database, corpus, queries) }
  } finally {
    await session.close()
  }
}

/** Chunks that are copies of others, which graphs and indexes of other tenants do not mind. */
async function addTenantWithGraph(client: pg.Client, number: number): Promise<void> {
  const tenantId = uuidOf('tenant', number)
  const sourceId = uuidOf('promoted source', number)
  await client.query('begin')
  await client.query(`insert into public.tenants (id, name) values ($1, 'Promoted')`, [tenantId])
  await client.query(
    `insert into ai.sources (
       id, tenant_id, name, file_type, mime_type, size_bytes, content_hash, storage_path, extraction_status, extracted_at
     ) values ($1::uuid, $2::uuid, 'source.txt', 'txt', 'text/plain', 1, repeat('0', 64), $2::uuid || '/' || $1::uuid || '/source.txt', 'extracted', now())`,
    [sourceId, tenantId],
  )
  await client.query(
    `insert into ai.indexed_sources (id, tenant_id, knowledge_base_id, source_id, index_status, indexed_at, embedding_model)
     select $1::uuid, $2::uuid, knowledge_bases.id, $1::uuid, 'indexed', now(), $3::text
     from ai.knowledge_bases where knowledge_bases.tenant_id = $2::uuid and knowledge_bases.is_default`,
    [sourceId, tenantId, MODEL],
  )
  await client.query(
    `insert into ai.chunks (
       tenant_id, indexed_source_id, knowledge_base_id, source_id, visibility, text, chunk_index, start_char, end_char, tokens, embedding_model
     )
     select $1::uuid, $2::uuid, indexed_sources.knowledge_base_id, $2::uuid, 'tenant', content, documents.id, 0, length(content), 1, $3::text
     from bench.documents, ai.indexed_sources
     where documents.id < $4 and indexed_sources.id = $2::uuid`,
    [tenantId, sourceId, MODEL, ROWS_PER_TENANT],
  )
  await client.query(
    `select private.store_vectors($1, array_agg(chunks.id), array_agg(documents.embedding))
     from ai.chunks join bench.documents on documents.id = chunks.chunk_index where chunks.indexed_source_id = $2`,
    [MODEL, sourceId],
  )
  await client.query('commit')
  const { rows } = await client.query<{ id: number }>('select id from private.vector_sets where tenant_id = $1', [
    tenantId,
  ])
  await buildGraph(client, at(rows, 0).id)
}
