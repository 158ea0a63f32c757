import { Hono } from 'hono'
import { z } from 'zod'
import { readByIds } from '../../_shared/batches.ts'
import { actsOn } from '../../_shared/context.ts'
import type { Db } from '../../_shared/context.ts'
import { AppError, unwrap } from '../../_shared/errors.ts'
import { uuid, uuidParam, warningsField } from '../../_shared/http.ts'
import { retrievalOf } from '../../_shared/search/settings.ts'
import type { ApiEnv } from '../env.ts'
import { findKnowledgeBase } from '../knowledge-base.ts'
import { parseOptionalBody } from '../optional-body.ts'
import { MAX_REINDEXED, REINDEXABLE_COLUMNS, queueIndexing } from '../reindexing.ts'
import type { ReindexableSource } from '../reindexing.ts'

/** Body of `POST /api/knowledge-bases/{id}/reindex`; empty: everything. */
export const reindexRequest = z.object({
  indexed_source_ids: z.array(uuid).max(MAX_REINDEXED).nullish(),
  failed_only: z.boolean().nullish(),
})

/** The indexed sources a request means, as far as the caller can see them; one more than can be done shows that there are more. */
function reindexableOf(
  db: Db,
  knowledgeBaseId: string,
  { indexed_source_ids: ids, failed_only: failedOnly }: z.output<typeof reindexRequest>,
): Promise<ReindexableSource[]> {
  const read = async (batch: string[] | null): Promise<ReindexableSource[]> => {
    let query = db
      .schema('ai')
      .from('indexed_sources')
      .select(REINDEXABLE_COLUMNS)
      .eq('knowledge_base_id', knowledgeBaseId)
    if (failedOnly) query = query.in('index_status', ['failed', 'cancelled'])
    if (batch !== null) query = query.in('id', batch)
    return unwrap<ReindexableSource[]>(
      await query
        .order('created_at')
        .limit(MAX_REINDEXED + 1)
        .returns<ReindexableSource[]>(),
    )
  }
  return ids ? readByIds(ids, read) : read(null)
}

/** Methods that search the text index. */
const TEXT_METHODS: readonly string[] = ['hybrid', 'full_text']

/** Indexing anew. What is searchable stays so until the new chunks are complete. */
export const knowledgeBaseIndexing = new Hono<ApiEnv>()
  .post('/:id/reindex', actsOn('knowledge_base'), async (c) => {
    const { db } = c.var
    const knowledgeBase = await findKnowledgeBase(db, uuidParam(c, 'id', 'knowledge_base'))
    const { body, warnings } = await parseOptionalBody(c, reindexRequest)
    const found = await reindexableOf(db, knowledgeBase.id, body)
    const extracted = found.filter(({ sources }) => sources.extraction_status === 'extracted')
    const chosen = extracted.slice(0, MAX_REINDEXED)
    if (extracted.length > chosen.length) {
      warnings.push(`Only the oldest ${MAX_REINDEXED} sources were started; name the others in indexed_source_ids.`)
    }
    if (found.length > extracted.length) {
      warnings.push(`${found.length - extracted.length} sources were left out: their text is not there yet.`)
    }
    const unknown = body.indexed_source_ids ? new Set(body.indexed_source_ids).size - found.length : 0
    if (unknown > 0) warnings.push(`${unknown} of indexed_source_ids name nothing that can be indexed here.`)
    const taskIds = await queueIndexing(db, knowledgeBase.id, chosen)
    return c.json({
      status: taskIds.length > 0 ? 'started' : 'noop',
      task_ids: taskIds,
      task_id: taskIds[0] ?? null,
      knowledge_base_id: knowledgeBase.id,
      count: taskIds.length,
      scope: body.indexed_source_ids ? 'selected' : body.failed_only ? 'failed' : 'all',
      ...warningsField(warnings),
    })
  })
  .post('/:id/build-bm25', actsOn('knowledge_base'), async (c) => {
    const knowledgeBase = await findKnowledgeBase(c.var.db, uuidParam(c, 'id', 'knowledge_base'))
    const { method } = retrievalOf(knowledgeBase)
    if (!TEXT_METHODS.includes(method)) {
      throw new AppError('invalid_request', `This knowledge base searches by ${method} (retrieval_config.method).`)
    }
    // The text index is part of every write, so there is nothing to begin: the job that writes it, or did so last, is named.
    const [latest] = unwrap<{ celery_task_id: string }[]>(
      await c.var.db
        .schema('ai')
        .from('indexed_sources')
        .select('celery_task_id')
        .eq('knowledge_base_id', knowledgeBase.id)
        .not('celery_task_id', 'is', null)
        .order('last_dispatched_at', { ascending: false, nullsFirst: false })
        .limit(1)
        .returns<{ celery_task_id: string }[]>(),
    )
    return c.json({ task_id: latest?.celery_task_id ?? null, knowledge_base_id: knowledgeBase.id }, 202)
  })
