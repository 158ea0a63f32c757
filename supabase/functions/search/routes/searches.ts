import { Hono } from 'hono'
import { z } from 'zod'
import { resolveCaller } from '../../_shared/context.ts'
import { parseBody, uuid, warningsField } from '../../_shared/http.ts'
import { search } from '../../_shared/search.ts'
import { RETRIEVAL_METHODS, pagesOf } from '../../_shared/search/hits.ts'
import type { SearchHit } from '../../_shared/search/hits.ts'
import {
  CONTRADICTION,
  MAX_IDS,
  contextField,
  isConsistent,
  searchOptions,
  searchQuery,
  withOptions,
} from '../../_shared/search/options.ts'
import { RETRIEVAL_DEFAULTS, settingsFor } from '../../_shared/search/settings.ts'
import type { SearchEnv } from '../env.ts'

/** Body of `POST /search`. A text is sent and never a vector: whoever chooses the vector could feel their way through a space. */
export const searchRequest = z
  .strictObject({
    query: searchQuery,
    /** Absent: all of the tenant's that the caller can see. */
    knowledge_base_ids: z.array(uuid).min(1).max(MAX_IDS).nullish(),
    method: z.enum(RETRIEVAL_METHODS).nullish(),
    ...searchOptions,
  })
  .refine(isConsistent, CONTRADICTION)

const present = (hit: SearchHit) => ({
  chunk_id: hit.chunk_id,
  text: hit.text,
  score: hit.score,
  vector_score: hit.vector_score,
  text_score: hit.text_score,
  source_id: hit.source_id,
  source_name: hit.source_name,
  knowledge_base_id: hit.knowledge_base_id,
  chunk_index: hit.chunk_index,
  start_char: hit.start_char,
  end_char: hit.end_char,
  pages: pagesOf(hit),
  meta: hit.meta,
  ...(hit.explanation === null ? {} : { explanation: hit.explanation }),
})

/** Searches by text. */
export const searches = new Hono<SearchEnv>().post('/', async (c) => {
  const body = await parseBody(c, searchRequest)
  const ids = body.knowledge_base_ids ? [...new Set(body.knowledge_base_ids)] : undefined
  await resolveCaller(c, ids ? 'knowledge_base' : undefined, ids?.[0])
  const { settings, tenantId } = await settingsFor(c.var.db, ids)
  const request = withOptions({ query: body.query, knowledgeBaseIds: ids, method: body.method ?? undefined }, body, {
    topK: RETRIEVAL_DEFAULTS.top_k,
    ...settings,
  })
  const { db, caller } = c.var
  const searcher = { db, caller, spender: { tenantId, userId: caller.userId } }
  const found = await search(searcher, c.var.deps.search, request)
  return c.json({
    results: found.hits.map(present),
    ...contextField(found.context),
    query: body.query,
    method: found.method,
    ...(found.queries ?? {}),
    models: found.models,
    reranker: found.reranker,
    ...warningsField(found.warnings),
    request_id: c.var.requestId,
  })
})
