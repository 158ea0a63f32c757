import { Hono } from 'hono'
import { z } from 'zod'
import { actsOn } from '../../_shared/context.ts'
import type { Db } from '../../_shared/context.ts'
import { AppError, unwrap } from '../../_shared/errors.ts'
import { uuid, uuidParam, warningsField } from '../../_shared/http.ts'
import type { ApiEnv } from '../env.ts'
import { findKnowledgeBase } from '../knowledge-base.ts'
import { parseOptionalBody } from '../optional-body.ts'

/** Sources that one request indexes anew; each is a job of its own. */
export const MAX_REINDEXED = 500
/** Requests to the database at the same time. */
const CONCURRENCY = 4

/** Body of `POST /api/knowledge-bases/{id}/reindex`; empty: everything. */
export const reindexRequest = z.object({
  indexed_source_ids: z.array(uuid).max(MAX_REINDEXED).nullish(),
  failed_only: z.boolean().nullish(),
})

export type Candidate = { id: string; source_id: string; sources: { name: string; extraction_status: string } }

/** Ids per request: more would make the URL too long for some proxies. */
const IDS_PER_REQUEST = 100

/** The indexed sources a request means, as far as the caller can see them; one more than can be done shows that there are more. */
async function candidatesOf(
  db: Db,
  knowledgeBaseId: string,
  { indexed_source_ids: ids, failed_only: failedOnly }: z.output<typeof reindexRequest>,
): Promise<Candidate[]> {
  const read = async (batch: string[] | null): Promise<Candidate[]> => {
    let query = db
      .schema('ai')
      .from('indexed_sources')
      .select('id,source_id,sources!inner(name,extraction_status)')
      .eq('knowledge_base_id', knowledgeBaseId)
    if (failedOnly) query = query.in('index_status', ['failed', 'cancelled'])
    if (batch !== null) query = query.in('id', batch)
    return unwrap<Candidate[]>(
      await query
        .order('created_at')
        .limit(MAX_REINDEXED + 1)
        .returns<Candidate[]>(),
    )
  }
  if (!ids) return read(null)
  const rows: Candidate[] = []
  for (let from = 0; from < ids.length; from += IDS_PER_REQUEST) {
    rows.push(...(await read(ids.slice(from, from + IDS_PER_REQUEST))))
  }
  return rows
}

/** Queues the indexing of these sources, a few at a time. @throws AppError what the database refuses first. */
export async function dispatch(
  db: Db,
  knowledgeBaseId: string,
  candidates: readonly Candidate[],
): Promise<(string | null)[]> {
  const taskIds: (string | null)[] = []
  for (let from = 0; from < candidates.length; from += CONCURRENCY) {
    const batch = candidates.slice(from, from + CONCURRENCY)
    taskIds.push(
      ...(await Promise.all(
        batch.map(async ({ source_id }) => {
          const added = unwrap<{ celery_task_id: string | null }>(
            await db
              .schema('ai')
              .rpc('add_source_to_knowledge_base', { knowledge_base_id: knowledgeBaseId, source_id }),
          )
          return added.celery_task_id
        }),
      )),
    )
  }
  return taskIds
}

/** Indexing anew. What is searchable stays so until the new chunks are complete. */
export const knowledgeBaseIndexing = new Hono<ApiEnv>()
  .post('/:id/reindex', actsOn('knowledge_base'), async (c) => {
    const { db } = c.var
    const knowledgeBase = await findKnowledgeBase(db, uuidParam(c, 'id', 'knowledge_base'))
    const { body, warnings } = await parseOptionalBody(c, reindexRequest)
    const found = await candidatesOf(db, knowledgeBase.id, body)
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
    const taskIds = await dispatch(db, knowledgeBase.id, chosen)
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
    if (knowledgeBase.retrieval_config['method'] === 'vector_search') {
      throw new AppError('invalid_request', 'This knowledge base searches by vectors only (retrieval_config.method).')
    }
    // The text index is part of every write: there is nothing to build, and no task.
    return c.json({ task_id: null, knowledge_base_id: knowledgeBase.id }, 202)
  })
