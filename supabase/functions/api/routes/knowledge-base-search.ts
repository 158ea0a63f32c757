import { Hono } from 'hono'
import { z } from 'zod'
import { resolveCaller } from '../../_shared/context.ts'
import { AppError } from '../../_shared/errors.ts'
import { jsonObject, parseLenientBody, uuid, warningsField } from '../../_shared/http.ts'
import { isUuid } from '../../_shared/ids.ts'
import { SEARCH_METHODS, searchChunks } from '../../_shared/search.ts'
import type { ApiEnv } from '../env.ts'
import { lookUpKnowledgeBase, retrievalOf } from '../knowledge-base.ts'

/** Body of `POST /api/knowledge-bases/{id}/search`. */
export const searchRequest = z.object({
  query: z
    .string('query is required')
    .trim()
    .min(1, 'query is required')
    .max(4000, 'query may have at most 4000 characters'),
  top_k: z.number().int().min(1).max(100).nullish(),
  retrieval_method: z
    .enum([...SEARCH_METHODS, 'auto'], `retrieval_method must be one of ${SEARCH_METHODS.join(', ')}`)
    .nullish(),
  similarity_threshold: z.number().min(0).max(1).nullish(),
  filter_metadata: jsonObject.nullish(),
  source_ids: z.array(uuid).max(200).nullish(),
  vector_weight: z.number().min(0).max(1).nullish(),
})

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
  const { db, deps } = c.var
  const knowledgeBase = await lookUpKnowledgeBase(db, id)
  if (knowledgeBase === null) throw unknown()
  const { method, topK, vectorWeight } = retrievalOf(knowledgeBase)
  const asked = body.retrieval_method ?? 'auto'
  const hits = await searchChunks(db, deps.embedder, {
    query: body.query,
    knowledgeBaseIds: [knowledgeBase.id],
    matchCount: body.top_k ?? topK,
    method: asked === 'auto' ? method : asked,
    vectorWeight: body.vector_weight ?? vectorWeight,
    similarityThreshold: body.similarity_threshold ?? undefined,
    filterMetadata: body.filter_metadata ?? undefined,
    sourceIds: body.source_ids ?? undefined,
  })
  return c.json({
    results: hits.map((hit) => ({
      chunk_id: hit.chunk_id,
      text: hit.text,
      score: hit.score,
      source_id: hit.source_id,
      source_name: hit.source_name,
      meta: { ...hit.meta, start_char: hit.start_char, end_char: hit.end_char },
    })),
    query: body.query,
    retrieval_method: asked,
    total_results: hits.length,
    ...warningsField(warnings),
  })
})
