import { randomUUID } from 'node:crypto'
import type { TestStack } from '../../support/stack.ts'
import { HARBOR } from './http.ts'

/** A passage of a document; what is absent is nothing. */
export type Part = { text: string; path?: string[]; page?: number; summary?: string }

/** Puts a document into a knowledge base, indexed, a chunk for each part. @returns its ids. */
export async function addDocument(
  stack: TestStack,
  knowledgeBaseId: string,
  document: {
    name: string
    owner: string
    parts: Part[]
    visibility?: string
    tenant?: string
    metadata?: object
  },
): Promise<{ source: string; item: string; chunks: string[] }> {
  const { name, owner, parts, visibility = 'tenant', tenant = HARBOR, metadata = {} } = document
  const [source, item] = [randomUUID(), randomUUID()]
  await stack.db.query(
    `insert into ai.sources (
       id, tenant_id, owner_id, name, file_type, mime_type, size_bytes, content_hash, storage_path, visibility, extraction_status,
       uploaded_at, extracted_at, page_count, metadata
     ) values (
       $1::uuid, $2::uuid, (select id from auth.users where email = $3), $4, '.md', 'text/markdown', 10, md5($1::text) || md5($1::text),
       $2::text || '/' || $1::text || '/x', $5, 'extracted', now(), now(), 1, $6::jsonb
     )`,
    [source, tenant, owner, name, visibility, JSON.stringify(metadata)],
  )
  await stack.db.query(
    `insert into ai.indexed_sources (id, tenant_id, knowledge_base_id, source_id, index_status, indexed_at)
     values ($1, $2, $3, $4, 'indexed', now())`,
    [item, tenant, knowledgeBaseId, source],
  )
  let start = 0
  const rows = parts.map(({ text, path = [], page = 1, summary }) => {
    const row = {
      id: randomUUID(),
      text,
      start_char: start,
      end_char: start + text.length,
      meta: { pages: [page], heading_path: path, ...(summary === undefined ? {} : { section_summary: summary }) },
    }
    start += text.length + 2
    return row
  })
  await stack.db.query(
    `insert into ai.chunks (id, tenant_id, indexed_source_id, knowledge_base_id, source_id, owner_id, visibility, text, context, chunk_index, start_char, end_char, tokens, meta, embedding_model)
     select (part ->> 'id')::uuid, $1, $2, $3, sources.id, sources.owner_id, sources.visibility, part ->> 'text', '', place - 1,
       (part ->> 'start_char')::int, (part ->> 'end_char')::int, greatest(1, length(part ->> 'text') / 4), part -> 'meta', 'none'
     from ai.sources, jsonb_array_elements($5::jsonb) with ordinality as parts (part, place) where sources.id = $4`,
    [tenant, item, knowledgeBaseId, source, JSON.stringify(rows)],
  )
  return { source, item, chunks: rows.map(({ id }) => id) }
}

/** A source in a knowledge base, as its ids. */
export type AddedSource = { source: string; item: string; chunk: string }

/** Puts a source with one page and one chunk into a knowledge base, of Harbor unless told otherwise, indexed; without a visibility for everybody there. */
export async function addSource(
  stack: TestStack,
  knowledgeBaseId: string,
  {
    text,
    tenantId = HARBOR,
    ...document
  }: { name: string; text: string; owner: string; visibility?: string; tenantId?: string },
): Promise<AddedSource> {
  const added = await addDocument(stack, knowledgeBaseId, { ...document, tenant: tenantId, parts: [{ text: 'x' }] })
  const { source, item, chunks } = added
  await stack.db.query('insert into ai.source_pages (tenant_id, source_id, page_number, text) values ($1, $2, 1, $3)', [
    tenantId,
    source,
    text,
  ])
  return { source, item, chunk: chunks[0] as string }
}
