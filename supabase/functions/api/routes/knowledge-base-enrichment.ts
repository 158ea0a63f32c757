import { Hono } from 'hono'
import type { Context } from 'hono'
import { actsOn } from '../../_shared/context.ts'
import { AppError } from '../../_shared/errors.ts'
import { uuidParam } from '../../_shared/http.ts'
import type { ApiEnv } from '../env.ts'
import { findKnowledgeBase } from '../knowledge-base.ts'

const visible = (c: Context<ApiEnv>) => findKnowledgeBase(c.var.db, uuidParam(c, 'id', 'knowledge_base'))

/** Enrichment asks a model about every passage of a knowledge base. Nobody does that here, and nothing pretends to. */
const notOffered = () =>
  new AppError('invalid_request', 'This project does not enrich knowledge bases.', {
    hint: 'Put what you want to filter by into the metadata of sources.',
  })
const notAGraph = () =>
  new AppError(
    'invalid_request',
    'Only knowledge bases of the strategy graph_index have a graph; this one is chunk_embed.',
  )

/** The enrichment routes of the agent API: what there is to read is empty, what would start something is refused. */
export const knowledgeBaseEnrichment = new Hono<ApiEnv>()
  .get('/:id/enrichment', actsOn('knowledge_base'), async (c) => {
    await visible(c)
    return c.json({ config: null })
  })
  .put('/:id/enrichment', actsOn('knowledge_base'), async (c) => {
    await visible(c)
    throw notOffered()
  })
  .delete('/:id/enrichment', actsOn('knowledge_base'), async (c) => {
    await visible(c)
    throw new AppError('not_found', 'This knowledge base has no enrichment.')
  })
  .post('/:id/enrichment/run', actsOn('knowledge_base'), async (c) => {
    await visible(c)
    throw notOffered()
  })
  .get('/:id/enrichment/results', actsOn('knowledge_base'), async (c) => {
    await visible(c)
    return c.json({ results: {}, fields: [], item_errors: {} })
  })
  .post('/:id/graph-enrichment/run', actsOn('knowledge_base'), async (c) => {
    await visible(c)
    throw notAGraph()
  })
  .get('/:id/graph-enrichment/errors', actsOn('knowledge_base'), async (c) => {
    await visible(c)
    throw notAGraph()
  })
