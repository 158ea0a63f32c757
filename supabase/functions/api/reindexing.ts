import { batchesOf } from '../_shared/batches.ts'
import type { Db } from '../_shared/context.ts'
import { unwrap } from '../_shared/errors.ts'

/** Sources that one request indexes anew; each is a job of its own. */
export const MAX_REINDEXED = 500
/** Requests to the database at the same time. */
const CONCURRENCY = 4

/** A row of ai.indexed_sources, as far as it is needed to index it anew. */
export type ReindexableSource = { id: string; source_id: string; sources: { name: string; extraction_status: string } }
/** The columns of that. */
export const REINDEXABLE_COLUMNS = 'id,source_id,sources!inner(name,extraction_status)'

/**
 * Queues the indexing of these sources, a few at a time.
 * @returns the ids of the jobs; null for one that was queued already.
 * @throws AppError what the database refuses first.
 */
export async function queueIndexing(
  db: Db,
  knowledgeBaseId: string,
  sources: readonly ReindexableSource[],
): Promise<(string | null)[]> {
  const taskIds: (string | null)[] = []
  for (const batch of batchesOf(sources, CONCURRENCY)) {
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
