import { describeError } from '../../supabase/functions/_shared/errors.ts'
import type { WorkKind } from '../../supabase/functions/_shared/ledger.ts'
import type { JobContext } from './context.ts'
import { MAINTENANCE } from './maintain-search.ts'

const QUEUE_OF: Record<WorkKind, string> = {
  extraction: 'extract_source',
  indexing: 'index_source',
  reembedding: 'reembed_knowledge_base',
  memory: 'embed_memory',
}

/**
 * Queues again what waits although no job is about it, queues the upkeep of the search index when some is due, folds and removes
 * logs of runs, lets approvals expire, settles calls of searches that nobody settled, and forgets uploads never sent. These have
 * nothing to do with each other: one that fails is logged and does not keep the others from being done.
 */
export async function sweep({ ledger, log, settings }: Pick<JobContext, 'ledger' | 'log' | 'settings'>): Promise<void> {
  const attempt = async (step: string, run: () => Promise<void>) => {
    try {
      await run()
    } catch (error) {
      log.error('sweep_failed', { step, error: describeError(error) })
    }
  }
  await attempt('requeue_work', async () => {
    for (const { kind, id } of await ledger.dueIngestion()) {
      await ledger.enqueue(QUEUE_OF[kind], { id }, id)
      log.info('work_requeued', { kind, id })
    }
  })
  await attempt('requeue_enrichments', async () => {
    for (const id of await ledger.dueEnrichments()) {
      await ledger.enqueue('enrich_knowledge_base', { id }, id)
      log.info('work_requeued', { kind: 'enrichment', id })
    }
  })
  await attempt('requeue_page_renderings', async () => {
    if (!settings.rendersPages) return
    for (const id of await ledger.duePageRenderings()) {
      await ledger.enqueue('render_pages', { id }, id)
      log.info('work_requeued', { kind: 'page_rendering', id })
    }
  })
  await attempt('queue_maintenance', async () => {
    if (!(await ledger.dueSearchMaintenance(settings.graphBuildFrom, settings.graphRetireBelow))) return
    const queued = await ledger.enqueue('maintain_search', { id: MAINTENANCE }, MAINTENANCE)
    if (queued !== null) log.info('maintenance_queued')
  })
  await attempt('sweep_run_log', async () => {
    const { folded, removed, rolled_back } = await ledger.sweepRunLog()
    if (folded + removed + rolled_back > 0) log.info('run_logs_swept', { folded, removed, rolled_back })
  })
  await attempt('expire_approvals', async () => {
    const woken = await ledger.expireApprovals()
    if (woken > 0) log.info('approvals_expired', { count: woken })
  })
  await attempt('close_expired_searches', async () => {
    const closed = await ledger.closeExpiredSearches()
    if (closed > 0) log.info('expired_searches_closed', { count: closed })
  })
  await attempt('remove_stale_uploads', async () => {
    const removed = await ledger.removeStaleUploads()
    if (removed > 0) log.info('stale_uploads_removed', { count: removed })
  })
}
