import { createHash } from 'node:crypto'
import type { Database, DbCaller } from '../../local/database/database.ts'
import type { Collection, Text } from './collections.ts'
import type { VectorLeg } from './vector-legs.ts'

/** A collection in the product's tables: the person who may search it, and which document each chunk is. */
export type LoadedCollection = {
  reader: DbCaller
  knowledgeBaseId: string
  documentOf: ReadonlyMap<string, string>
}

/** What of ai.search is varied; `vector` is of the model `model`. */
export type SearchOptions = {
  method: 'full_text' | 'vector_search' | 'hybrid'
  fusion: 'rrf' | 'weighted'
  vector?: { model: string; embedding: ArrayLike<number> }
}

const BATCH = 500
const MATCH_COUNT = 100

/** Always the same for the same text: ties in a score are broken by ids, so a run must not draw them. */
function idFor(name: string): string {
  const hex = createHash('sha256').update(name).digest('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  )
}

const vectorText = (vector: ArrayLike<number>): string => `[${Array.from(vector).join(',')}]`

async function inBatches<T>(items: T[], store: (batch: T[]) => Promise<unknown>): Promise<void> {
  for (let start = 0; start < items.length; start += BATCH) await store(items.slice(start, start + BATCH))
}

/** A tenant with one member, and a knowledge base of the collection's language. */
async function createPlace(database: Database, { name, language }: Collection) {
  const tenantId = idFor(`tenant ${name}`)
  const userId = idFor(`user ${name}`)
  const knowledgeBaseId = idFor(`knowledge base ${name}`)
  await database.query(
    `insert into auth.users (id, instance_id, aud, role, email) values ($1, $2, 'authenticated', 'authenticated', $3)`,
    [userId, '00000000-0000-0000-0000-000000000000', `reader@${name}.example`],
  )
  await database.query('insert into public.tenants (id, name) values ($1, $2)', [tenantId, name])
  await database.query(`insert into public.memberships (tenant_id, user_id, role) values ($1, $2, 'member')`, [
    tenantId,
    userId,
  ])
  await database.query('insert into ai.knowledge_bases (id, tenant_id, name, language) values ($1, $2, $3, $4)', [
    knowledgeBaseId,
    tenantId,
    name,
    language,
  ])
  return { tenantId, userId, knowledgeBaseId }
}

/** Each document as a source with one chunk: nothing is cut, so that a chunk is relevant when its document is. */
async function storeDocuments(
  database: Database,
  tenantId: string,
  knowledgeBaseId: string,
  model: string,
  documents: (Text & { chunkId: string; sourceId: string; indexedSourceId: string })[],
): Promise<void> {
  await inBatches(documents, async (batch) => {
    const rows = JSON.stringify(
      batch.map(({ id, text, ...ids }) => ({
        ...ids,
        name: `${id}.txt`,
        text,
        bytes: Buffer.byteLength(text),
        length: [...text].length,
        hash: createHash('sha256').update(`${id}\n${text}`).digest('hex'),
      })),
    )
    const given = `jsonb_to_recordset($1::jsonb) as given (
      "chunkId" uuid, "sourceId" uuid, "indexedSourceId" uuid, name text, text text, bytes bigint, length int, hash text)`
    await database.query(
      `insert into ai.sources (id, tenant_id, name, file_type, mime_type, size_bytes, content_hash, storage_path, extraction_status, extracted_at)
       select given."sourceId", $2::uuid, given.name, 'txt', 'text/plain', given.bytes, given.hash, format('%s/%s/%s', $2::uuid, given."sourceId", given.name), 'extracted', now()
       from ${given}`,
      [rows, tenantId],
    )
    await database.query(
      `insert into ai.indexed_sources (id, tenant_id, knowledge_base_id, source_id, index_status, indexed_at, embedding_model)
       select given."indexedSourceId", $2, $3, given."sourceId", 'indexed', now(), $4 from ${given}`,
      [rows, tenantId, knowledgeBaseId, model],
    )
    await database.query(
      `insert into ai.chunks (id, tenant_id, indexed_source_id, knowledge_base_id, source_id, visibility, text, chunk_index, start_char, end_char, tokens, embedding_model)
       select given."chunkId", $2, given."indexedSourceId", $3, given."sourceId", 'tenant', given.text, 0, 0, given.length, given.length / 4, $4 from ${given}`,
      [rows, tenantId, knowledgeBaseId, model],
    )
  })
}

/**
 * Puts a collection and its vectors where the product keeps them, in a tenant of its own.
 * @throws Error when a document has no vector, or a vector found no chunk
 */
export async function loadCollection(
  database: Database,
  collection: Collection,
  legs: VectorLeg[],
): Promise<LoadedCollection> {
  const { tenantId, userId, knowledgeBaseId } = await createPlace(database, collection)
  const documents = collection.documents.map(({ id, text }) => {
    const name = `${collection.name} ${id}`
    return {
      id,
      text,
      chunkId: idFor(`chunk ${name}`),
      sourceId: idFor(`source ${name}`),
      indexedSourceId: idFor(`indexed source ${name}`),
    }
  })
  await storeDocuments(database, tenantId, knowledgeBaseId, legs[0]?.model ?? 'none', documents)
  for (const { label, model, documents: vectors } of legs) {
    await inBatches(documents, async (batch) => {
      const given = batch.map(({ id, chunkId }) => {
        const vector = vectors.get(id)
        if (!vector) throw new Error(`${label} has no vector of document ${id}.`)
        return { id: chunkId, embedding: vectorText(vector) }
      })
      const [row] = await database.query<{ stored: number }>(
        `select private.store_vectors($1, array_agg(given.id), array_agg(given.embedding::extensions.vector)) as stored
         from jsonb_to_recordset($2::jsonb) as given (id uuid, embedding text)`,
        [model, JSON.stringify(given)],
      )
      if (row?.stored !== batch.length) throw new Error(`Stored ${row?.stored} of ${batch.length} vectors.`)
    })
  }
  await database.exec(
    'analyze ai.sources, ai.chunks, private.search_lexemes, private.search_vectors, private.term_statistics',
  )
  return {
    reader: { role: 'authenticated', claims: { sub: userId, role: 'authenticated', aud: 'authenticated' } },
    knowledgeBaseId,
    documentOf: new Map(documents.map(({ id, chunkId }) => [chunkId, id])),
  }
}

/**
 * One search as a signed-in member makes it: a transaction with their role and claims, and the call that the Data API
 * makes of a request.
 * @returns ids of at most 100 documents, best first
 */
export async function searchAs(
  database: Database,
  { reader, knowledgeBaseId, documentOf }: LoadedCollection,
  question: string,
  { method, fusion, vector }: SearchOptions,
): Promise<string[]> {
  const found = await database.asCaller(reader, (tx) =>
    tx.query<{ chunk_id: string }>(
      `select chunk_id from ai.search(query => $1, query_embedding => $2::extensions.vector, embedding_model => $3,
         knowledge_base_ids => array[$4::uuid], match_count => ${MATCH_COUNT}, method => $5, fusion => $6)`,
      [question, vector ? vectorText(vector.embedding) : null, vector?.model ?? null, knowledgeBaseId, method, fusion],
    ),
  )
  return found.map(({ chunk_id }) => {
    const document = documentOf.get(chunk_id)
    if (document === undefined) throw new Error(`Search returned ${chunk_id}, a chunk of somebody else.`)
    return document
  })
}
