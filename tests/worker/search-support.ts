import { createHash, randomUUID } from 'node:crypto'
import pg from 'pg'
import type { Sql } from '../../local/database/database.ts'

/** Tenant and people of supabase/seed.sql. */
export const HARBOR = '11111111-1111-4111-8111-111111111111'
export const MERIDIAN = '22222222-2222-4222-8222-222222222222'
export const OWNER = 'a0000000-0000-4000-8000-000000000001'
export const MERIDIAN_MEMBER = 'b0000000-0000-4000-8000-000000000003'

/** A direction that depends on the text only; any two texts differ. */
export function directionOf(text: string, dimensions: number): number[] {
  const values: number[] = []
  for (let block = 0; values.length < dimensions; block++) {
    const hash = createHash('sha256').update(`${block} ${text}`).digest()
    for (let at = 0; at + 4 <= hash.length && values.length < dimensions; at += 4) {
      values.push(hash.readInt32BE(at) / 2 ** 31)
    }
  }
  return values
}

export type Base = { knowledgeBaseId: string; sourceId: string; indexedSourceId: string }

/** A knowledge base of Harbor with one source that everybody there sees, and no chunk yet. */
export async function makeBase(db: Sql, embeddingModel: string | null): Promise<Base> {
  const [knowledgeBaseId, sourceId, indexedSourceId] = [randomUUID(), randomUUID(), randomUUID()]
  await db.query(
    'insert into ai.knowledge_bases (id, tenant_id, name, created_by, embedding_model) values ($1, $2, $3, $4, $5)',
    [knowledgeBaseId, HARBOR, `Base ${knowledgeBaseId}`, OWNER, embeddingModel],
  )
  await db.query(
    `insert into ai.sources (
       id, tenant_id, owner_id, name, file_type, mime_type, size_bytes, content_hash, storage_path, visibility, extraction_status,
       uploaded_at, extracted_at, page_count
     ) values ($1::uuid, $2::uuid, $3::uuid, 'quays.txt', '.txt', 'text/plain', 10, md5($1::text) || md5($1::text), $2::text || '/' || $1::text || '/quays.txt', 'tenant', 'extracted', now(), now(), 1)`,
    [sourceId, HARBOR, OWNER],
  )
  await db.query(
    `insert into ai.indexed_sources (id, tenant_id, knowledge_base_id, source_id, index_status, indexed_at, embedding_model)
     values ($1, $2, $3, $4, 'indexed', now(), $5)`,
    [indexedSourceId, HARBOR, knowledgeBaseId, sourceId, embeddingModel],
  )
  return { knowledgeBaseId, sourceId, indexedSourceId }
}

/** Adds chunks `Quay <number>` with vectors of a model, in one transaction per 500. Returns their ids. */
export async function addChunks(
  db: Sql,
  base: Base,
  numbers: number[],
  { model, dimensions }: { model: string; dimensions: number },
): Promise<string[]> {
  const added: string[] = []
  for (let from = 0; from < numbers.length; from += 500) {
    const chunks = numbers.slice(from, from + 500).map((number) => ({
      id: randomUUID(),
      number,
      text: `Quay ${number}`,
      embedding: JSON.stringify(directionOf(`Quay ${number}`, dimensions)),
    }))
    await db.query(
      `insert into ai.chunks (
         id, tenant_id, indexed_source_id, knowledge_base_id, source_id, owner_id, visibility, text, context, chunk_index, start_char,
         end_char, tokens, embedding_model
       )
       select given.id, $2::uuid, $3::uuid, $4::uuid, $5::uuid, $6::uuid, 'tenant', given.text, '', given.number, 0, 10, 2, $7
       from jsonb_to_recordset($1::text::jsonb) as given (id uuid, number int, text text)`,
      [JSON.stringify(chunks), HARBOR, base.indexedSourceId, base.knowledgeBaseId, base.sourceId, OWNER, model],
    )
    await db.query(
      `select private.store_vectors($2, array_agg(given.id), array_agg(given.embedding::extensions.vector))
       from jsonb_to_recordset($1::text::jsonb) as given (id uuid, embedding text)`,
      [JSON.stringify(chunks), model],
    )
    added.push(...chunks.map(({ id }) => id))
  }
  return added
}

/** A session of its own on a native server. */
export async function openSession(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  return client
}

/** One transaction of one snapshot as a signed-in person. */
export async function inSnapshot<T>(client: pg.Client, person: string, work: () => Promise<T>): Promise<T> {
  await client.query('begin isolation level repeatable read')
  try {
    await client.query(`select set_config('request.jwt.claims', $1, true), set_config('role', 'authenticated', true)`, [
      JSON.stringify({ sub: person, role: 'authenticated' }),
    ])
    return await work()
  } finally {
    await client.query('rollback')
  }
}
