import { AppError, describeError, type PlainLog } from './errors.ts'
import type { Ledger } from './ledger.ts'

/** What an executor does about sweeps. */
export type SweepSettings = {
  /** Names of those that it leaves to others. */
  leaves: readonly string[]
  /** Chunks of one model from which on they get a graph, and below which they lose it. Absent: as the database has it. */
  graphBuildFrom?: number
  graphRetireBelow?: number
}

/** What is said of a sweep that counts what it did, if that was anything. */
const EVENTS: Record<string, string> = {
  queue_maintenance: 'maintenance_queued',
  sweep_run_log: 'run_logs_swept',
  expire_approvals: 'approvals_expired',
  close_expired_searches: 'expired_searches_closed',
  remove_stale_uploads: 'stale_uploads_removed',
  remove_expired_answers: 'expired_answers_removed',
}

/**
 * Does the sweep of this id: queues again what waits although no job is about it, folds and removes logs of runs, and so on.
 * One that fails is logged and noted; it is due again with the others.
 * @returns the name of a sweep that failed, else null. @throws when not even that could be noted.
 */
export async function runSweep(
  { ledger, log }: { ledger: Pick<Ledger, 'runSweep' | 'noteFailedSweep'>; log: PlainLog },
  { id, jobId }: { id: string; jobId: string },
  settings: SweepSettings,
): Promise<string | null> {
  try {
    const done = await ledger.runSweep(id, settings)
    for (const work of done?.requeued ?? []) log.info('work_requeued', { kind: work.kind, id: work.id })
    const event = EVENTS[done?.name ?? '']
    if (done && event !== undefined && Object.values(done.counts).some((count) => count > 0))
      log.info(event, done.counts)
    return null
  } catch (error) {
    const step = await ledger.noteFailedSweep(id, error instanceof AppError ? error.code : 'internal')
    log.error('sweep_failed', { job_id: jobId, step: step ?? id, error: describeError(error) })
    return step
  }
}
