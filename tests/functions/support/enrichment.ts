import { randomUUID } from 'node:crypto'
import { enrichSources, EnrichmentLostError } from '../../../supabase/functions/_shared/enrichment/carry-out.ts'
import { toAppError } from '../../../supabase/functions/_shared/errors.ts'
import type { ModelInput, Player } from '../../support/scripted-model/index.ts'
import { textOf } from '../../support/scripted-model/server.ts'
import type { TestStack } from '../../support/stack.ts'
import type { ApiApp } from './api-app.ts'
import { HARBOR } from './http.ts'

/** A source in a knowledge base, as its ids. */
export type EnrichedSource = { source: string; item: string; chunk: string }

/** Puts a source with one page and one chunk into a knowledge base, of Harbor unless told otherwise, indexed; without a visibility for everybody there. */
export async function addSource(
  stack: TestStack,
  knowledgeBaseId: string,
  {
    name,
    text,
    owner,
    visibility = 'tenant',
    tenantId = HARBOR,
  }: { name: string; text: string; owner: string; visibility?: string; tenantId?: string },
): Promise<EnrichedSource> {
  const [source, item, chunk] = [randomUUID(), randomUUID(), randomUUID()]
  await stack.db.query(
    `insert into ai.sources (
       id, tenant_id, owner_id, name, file_type, mime_type, size_bytes, content_hash, storage_path, visibility, extraction_status,
       uploaded_at, extracted_at, page_count
     ) values (
       $1::uuid, $2::uuid, (select id from auth.users where email = $3), $4, '.txt', 'text/plain', 10, md5($1::text) || md5($1::text),
       $2::text || '/' || $1::text || '/x', $5, 'extracted', now(), now(), 1
     )`,
    [source, tenantId, owner, name, visibility],
  )
  await stack.db.query('insert into ai.source_pages (tenant_id, source_id, page_number, text) values ($1, $2, 1, $3)', [
    tenantId,
    source,
    text,
  ])
  await stack.db.query(
    `insert into ai.indexed_sources (id, tenant_id, knowledge_base_id, source_id, index_status, indexed_at)
     values ($1, $2, $3, $4, 'indexed', now())`,
    [item, tenantId, knowledgeBaseId, source],
  )
  await stack.db.query(
    `insert into ai.chunks (id, tenant_id, indexed_source_id, knowledge_base_id, source_id, owner_id, visibility, text, context, chunk_index, start_char, end_char, tokens, embedding_model)
     select $1, $2, $3, $4, sources.id, sources.owner_id, sources.visibility, 'x', '', 0, 0, 1, 1, 'none' from ai.sources where sources.id = $5`,
    [chunk, tenantId, item, knowledgeBaseId, source],
  )
  return { source, item, chunk }
}

/** What the model is given: instructions and documents, and what it is asked. */
export const promptOf = ({ messages }: Pick<ModelInput, 'messages'>): string =>
  messages.map(({ content }) => textOf(content)).join('\n')

/** Answers with what stands under the first of these words that the prompt contains. */
export const answering =
  (answers: Record<string, unknown>): Player =>
  (input) => {
    const prompt = promptOf(input)
    const [, answer] = Object.entries(answers).find(([word]) => prompt.includes(word)) ?? []
    return { text: typeof answer === 'string' ? answer : JSON.stringify(answer ?? {}) }
  }

/**
 * Does what the worker's job does with the enrichment of a knowledge base, once and in this process.
 * @returns the code of the error that ended it, or how many sources were asked about.
 */
export async function workOff(stack: TestStack, { deps }: ApiApp, knowledgeBaseId: string): Promise<number | string> {
  const [row] = await stack.db.query<{ id: string }>('select id from ai.enrichments where knowledge_base_id = $1', [
    knowledgeBaseId,
  ])
  const claim = await deps.ledger.claimEnrichment(row?.id ?? '', 'test', 60)
  if (claim === null) return 'nothing_to_do'
  try {
    const { asked, isDone } = await enrichSources(deps, claim, { atOnce: 2, most: 100 }, new AbortController().signal)
    if (isDone) await deps.ledger.finishEnrichment(claim)
    return asked
  } catch (error) {
    if (error instanceof EnrichmentLostError) return 'lost'
    const { code, message } = toAppError(error)
    await deps.ledger.failEnrichment(claim, { status: 'failed', errorCode: 'permanent', reasonCode: code, message })
    return code
  }
}
