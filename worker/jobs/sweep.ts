import type { JobContext } from './context.ts'

/** Queues again what waits although no job is about it, ends runs whose executor died, and forgets uploads never sent. */
export async function sweep({ ledger, log }: Pick<JobContext, 'ledger' | 'log'>): Promise<void> {
  for (const { kind, id } of await ledger.dueIngestion()) {
    await ledger.enqueue(kind === 'extraction' ? 'extract_source' : 'index_source', { id }, id)
    log.info('work_requeued', { kind, id })
  }
  const failed = await ledger.failAbandonedRuns()
  if (failed > 0) log.info('abandoned_runs_failed', { count: failed })
  const removed = await ledger.removeStaleUploads()
  if (removed > 0) log.info('stale_uploads_removed', { count: removed })
}
