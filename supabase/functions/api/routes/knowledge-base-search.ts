import { Hono } from 'hono'
import { z } from 'zod'
import { resolveCaller } from '../../_shared/context.ts'
import type { Db } from '../../_shared/context.ts'
import { AppError, unwrap } from '../../_shared/errors.ts'
import { parseLenientBody, warningsField } from '../../_shared/http.ts'
import { isUuid } from '../../_shared/ids.ts'
import { search } from '../../_shared/search.ts'
import { RETRIEVAL_METHODS } from '../../_shared/search/hits.ts'
import type { SearchHit } from '../../_shared/search/hits.ts'
import {
  CONTRADICTION,
  contextField,
  isConsistent,
  searchOptions,
  searchQuery,
  withOptions,
} from '../../_shared/search/options.ts'
import { retrievalOf } from '../../_shared/search/settings.ts'
import type { ApiEnv } from '../env.ts'
import { lookUpKnowledgeBase } from '../knowledge-base.ts'

/** Body of `POST /api/knowledge-bases/{id}/search`: the fields of the agent API, and those of the function `search`. */
export const searchRequest = z.object({
  query: searchQuery,
  retrieval_method: z
    .enum([...RETRIEVAL_METHODS, 'auto'], `retrieval_method must be one of ${RETRIEVAL_METHODS.join(', ')}`)
    .nullish(),
  ...searchOptions,
})

const present = (hit: SearchHit) => ({
  chunk_id: hit.chunk_id,
  text: hit.text,
  score: hit.score,
  vector_score: hit.vector_score,
  text_score: hit.text_score,
  source_id: hit.source_id,
  source_name: hit.source_name,
  meta: { ...hit.meta, start_char: hit.start_char, end_char: hit.end_char },
  ...(hit.explanation === null ? {} : { explanation: hit.explanation }),
})

/** Whether there is anything to find, as far as the caller may see. */
async function hasIndexed(db: Db, id: string): Promise<boolean> {
  const table = db.schema('ai').from('indexed_sources')
  const rows = unwrap<unknown[]>(
    await table.select('id').eq('knowledge_base_id', id).not('indexed_at', 'is', null).limit(1),
  )
  return rows.length > 0
}

/** Searching one knowledge base, as the caller may see it. */
export const knowledgeBaseSearch = new Hono<ApiEnv>().post('/:id/search', async (c) => {
  // Clients of the agent API expect 400 here for a knowledge base that does not exist.
  const unknown = () => new AppError('invalid_request', 'Knowledge base not found')
  const id = c.req.param('id')
  if (!isUuid(id)) throw unknown()
  try {
    await resolveCaller(c, 'knowledge_base', id)
  } catch (error) {
    throw error instanceof AppError && error.code === 'not_found' ? unknown() : error
  }
  const { body, warnings } = await parseLenientBody(c, searchRequest)
  if (!isConsistent(body)) throw new AppError('invalid_request', CONTRADICTION)
  const knowledgeBase = await lookUpKnowledgeBase(c.var.db, id)
  if (knowledgeBase === null) throw unknown()
  const asked = body.retrieval_method ?? 'auto'
  const request = withOptions(
    { query: body.query, knowledgeBaseIds: [knowledgeBase.id], method: asked === 'auto' ? undefined : asked },
    body,
    retrievalOf(knowledgeBase),
  )
  const { db, caller } = c.var
  const spender = { tenantId: knowledgeBase.tenant_id, userId: caller.userId }
  const found = await search({ db, caller, spender }, c.var.deps.search, request)
  if (found.hits.length === 0 && !(await hasIndexed(c.var.db, knowledgeBase.id))) {
    throw new AppError('invalid_request', 'Nothing is indexed in this knowledge base.', {
      hint: 'Add extracted sources to it, and wait until their index_status is indexed.',
    })
  }
  return c.json({
    results: found.hits.map(present),
    query: body.query,
    // As it was asked for, unless it was another in the end.
    retrieval_method: found.method === request.method ? asked : found.method,
    ...(found.queries ?? {}),
    total_results: found.hits.length,
    ...contextField(found.context),
    ...warningsField([...warnings, ...found.warnings]),
  })
})
