import { describeError } from '../../supabase/functions/_shared/errors.ts'
import type { JobContext } from './context.ts'

/**
 * Queues again what waits although no job is about it, ends runs whose executor died, and forgets uploads never sent. These
 * have nothing to do with each other: one that fails is logged and does not keep the others from being done.
 */
export async function sweep({ ledger, log }: Pick<JobContext, 'ledger' | 'log'>): Promise<void> {
  const attempt = async (step: string, run: () => Promise<void>) => {
    try {
      await run()
    } catch (error) {
      log.error('sweep_failed', { step, error: describeError(error) })
    }
  }
  await attempt('requeue_work', async () => {
    for (const { kind, id } of await ledger.dueIngestion()) {
      await ledger.enqueue(kind === 'extraction' ? 'extract_source' : 'index_source', { id }, id)
      log.info('work_requeued', { kind, id })
    }
  })
  await attempt('fail_abandoned_runs', async () => {
    const failed = await ledger.failAbandonedRuns()
    if (failed > 0) log.info('abandoned_runs_failed', { count: failed })
  })
  await attempt('remove_stale_uploads', async () => {
    const removed = await ledger.removeStaleUploads()
    if (removed > 0) log.info('stale_uploads_removed', { count: removed })
  })
}
