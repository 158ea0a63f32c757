import { randomUUID } from 'node:crypto'
import type { ModelInput, Player } from '../../support/scripted-model/index.ts'
import { textOf } from '../../support/scripted-model/server.ts'
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

/** An entry of a list as the model gets it. */
export type ListEntry = Record<string, unknown> & { n: number }
/** What a model is asked to pick from. */
export type Choice = { what: 'documents' | 'sections'; entries: ListEntry[]; prompt: string }

export const promptOf = ({ messages }: Pick<ModelInput, 'messages'>): string =>
  messages.map(({ content }) => textOf(content)).join('\n')

/** What a request asks to pick, or null when it asks for something else. */
export function choiceOf(input: Pick<ModelInput, 'messages'>): Choice | null {
  const prompt = promptOf(input)
  const [, what] = /Pick the (documents|sections) in which/.exec(prompt) ?? []
  if (what === undefined) return null
  const entries = prompt
    .split('\n')
    .filter((line) => line.startsWith('{"n":'))
    .map((line) => JSON.parse(line) as ListEntry)
  return { what: what as Choice['what'], entries, prompt }
}

/** A model that picks the entries in which one of these words stands, in the order of the words, and does `otherwise` with all else. */
export const picking =
  (wanted: Record<Choice['what'], string[]>, otherwise: Player = () => ({ text: 'Yes.' })): Player =>
  (input) => {
    const choice = choiceOf(input)
    if (choice === null) return otherwise(input)
    const found = wanted[choice.what].flatMap((word) =>
      choice.entries.filter((entry) => JSON.stringify(entry).includes(word)),
    )
    return { text: JSON.stringify({ numbers: found.map(({ n }) => n) }) }
  }
