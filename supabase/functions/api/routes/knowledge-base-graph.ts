import { Hono } from 'hono'
import type { Context } from 'hono'
import { actsOn } from '../../_shared/context.ts'
import type { Db } from '../../_shared/context.ts'
import { needsModel } from '../../_shared/enrichment/fields.ts'
import { AppError, unwrap } from '../../_shared/errors.ts'
import { pageOf, uuidParam, warningsField } from '../../_shared/http.ts'
import { hasLanguageModel } from '../../_shared/providers/offline-answerer.ts'
import { unwrapPage } from '../lists.ts'
import type { ApiEnv } from '../env.ts'
import { findKnowledgeBase, strategyOfRow } from '../knowledge-base.ts'
import { MAX_REINDEXED, REINDEXABLE_COLUMNS, queueIndexing } from '../reindexing.ts'
import type { ReindexableSource } from '../reindexing.ts'

/** A knowledge base with a graph. @throws AppError `not_found`, or `invalid_request` for one of another strategy. */
async function findGraph(c: Context<ApiEnv>) {
  const knowledgeBase = await findKnowledgeBase(c.var.db, uuidParam(c, 'id', 'knowledge_base'))
  const strategy = strategyOfRow(knowledgeBase)
  if (strategy !== 'graph_index') {
    throw new AppError(
      'invalid_request',
      `Only knowledge bases of the strategy graph_index have a graph; this one is ${strategy}.`,
    )
  }
  return knowledgeBase
}

/** Sources whose graph has gaps, as far as the caller can see them: indexing failed, or passages have no entities. */
async function sourcesWithGaps(db: Db, knowledgeBaseId: string): Promise<ReindexableSource[]> {
  const read = (columns: string) =>
    db
      .schema('ai')
      .from('indexed_sources')
      .select(columns)
      .eq('knowledge_base_id', knowledgeBaseId)
      .eq('sources.extraction_status', 'extracted')
      .order('created_at')
      .limit(MAX_REINDEXED + 1)
  const [failed, incomplete] = await Promise.all([
    read(REINDEXABLE_COLUMNS).eq('index_status', 'failed').returns<ReindexableSource[]>(),
    read(`${REINDEXABLE_COLUMNS},chunks!inner(id)`)
      .eq('index_status', 'indexed')
      .is('chunks.meta->entities', null)
      .limit(1, { referencedTable: 'chunks' })
      .returns<ReindexableSource[]>(),
  ])
  return [...unwrap<ReindexableSource[]>(failed), ...unwrap<ReindexableSource[]>(incomplete)]
}

type FailedChunk = {
  id: string
  chunk_index: number
  source_id: string
  indexed_source_id: string
  sources: { name: string } | null
  meta: { graph_error: { code: string; message: string } }
}

/** The graph of a knowledge base: entities that a model has named at indexing, by which passages are neighbours. */
export const knowledgeBaseGraph = new Hono<ApiEnv>()
  .post('/:id/graph-enrichment/run', actsOn('knowledge_base'), async (c) => {
    const { id } = await findGraph(c)
    if (!hasLanguageModel(c.var.deps.chat)) throw needsModel()
    const found = await sourcesWithGaps(c.var.db, id)
    const chosen = found.slice(0, MAX_REINDEXED)
    const taskIds = await queueIndexing(c.var.db, id, chosen)
    const isMore = found.length > chosen.length
    return c.json({
      status: taskIds.length > 0 ? 'started' : 'noop',
      message: taskIds.length > 0 ? 'Graph enrichment started' : 'The graph is complete',
      task_ids: taskIds,
      task_id: taskIds[0] ?? null,
      knowledge_base_id: id,
      count: taskIds.length,
      ...warningsField(isMore ? [`Only ${MAX_REINDEXED} sources were started; run it again for the others.`] : []),
    })
  })
  .get('/:id/graph-enrichment/errors', actsOn('knowledge_base'), async (c) => {
    const { id } = await findGraph(c)
    const page = pageOf(c, 50, 200)
    const answer = await c.var.db
      .schema('ai')
      .from('chunks')
      .select('id,chunk_index,source_id,indexed_source_id,meta,sources(name)', { count: 'exact' })
      .eq('knowledge_base_id', id)
      .not('meta->graph_error', 'is', null)
      .order('source_id')
      .order('chunk_index')
      .order('id')
      .range(page.offset, page.offset + page.limit - 1)
      .returns<FailedChunk[]>()
    const { rows, total } = unwrapPage<FailedChunk>(answer)
    const errors = rows.map(({ id: chunk_id, meta, sources, ...row }) => ({
      chunk_id,
      ...row,
      source_name: sources?.name ?? null,
      code: meta.graph_error.code,
      message: meta.graph_error.message,
    }))
    return c.json({ errors, total, ...page })
  })
