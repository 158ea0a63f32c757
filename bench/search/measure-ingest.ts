import type pg from 'pg'
import type { Corpus } from './corpus.ts'
import type { Source } from './layout.ts'
import { addSource, chunkId, type DocumentRows, insertDocuments, noRows } from './load-baselines.ts'
import { insertChunks } from './load-product.ts'
import type { Ingest } from './results.ts'
import { cpuOf, watchedPid } from './sessions.ts'

const BATCH_ROWS = 200

/** How many rows arrive after the load, to be inserted with all indexes in place. */
export const arrivingRows = (rows: number): number => (rows <= 20_000 ? 1_200 : 4_200)

/**
 * Inserts what arrives later, 200 rows per transaction, in turns into (b)'s table and into the product's tables. The first
 * batch of each is not counted.
 */
export async function measureIngest(client: pg.Client, corpus: Corpus, arrivals: Source[]): Promise<Ingest> {
  const pid = await watchedPid(client)
  const clock = () => cpuOf(pid) ?? performance.now()
  const spent = { ours: 0, b: 0 }
  let counted = 0
  const batches = batchesOf(corpus, arrivals)
  for (const [n, batch] of batches.entries()) {
    const chunks = { ...batch, ids: batch.ids.map(chunkId), chunkIndexes: batch.ids.map((row) => row - corpus.rows) }
    const turns = { ours: () => insertChunks(client, chunks), b: () => insertDocuments(client, batch) }
    for (const variant of n % 2 ? (['ours', 'b'] as const) : (['b', 'ours'] as const)) {
      const startedAt = clock()
      await client.query('begin')
      await turns[variant]()
      await client.query('commit')
      if (n > 0) spent[variant] += clock() - startedAt
    }
    if (n > 0) counted += batch.ids.length
  }
  return { rows: counted, oursPerSecond: (counted * 1000) / spent.ours, bPerSecond: (counted * 1000) / spent.b }
}

function batchesOf(corpus: Corpus, sources: Source[]): DocumentRows[] {
  const all = noRows()
  for (const source of sources) addSource(all, corpus, source)
  const slice = (from: number): DocumentRows => ({
    ids: all.ids.slice(from, from + BATCH_ROWS),
    tenantIds: all.tenantIds.slice(from, from + BATCH_ROWS),
    knowledgeBaseIds: all.knowledgeBaseIds.slice(from, from + BATCH_ROWS),
    sourceIds: all.sourceIds.slice(from, from + BATCH_ROWS),
    texts: all.texts.slice(from, from + BATCH_ROWS),
    vectors: all.vectors.slice(from, from + BATCH_ROWS),
  })
  return Array.from({ length: Math.floor(all.ids.length / BATCH_ROWS) }, (_, n) => slice(n * BATCH_ROWS))
}
