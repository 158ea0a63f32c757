import { describeError } from '../_shared/errors.ts'
import { takeUp } from '../_shared/execution/drive.ts'
import { executeRun } from '../_shared/execution/execution.ts'
import type { RunDeps } from '../_shared/execution/prepare.ts'
import { fireDueSchedules } from '../_shared/schedules.ts'
import type { WorkerDeps } from './env.ts'
import { enrichmentQueues, workOnJobs } from './jobs.ts'

/** What a call has done. */
export type DrainReport = {
  /** Schedules whose run began. */
  schedules: number
  /** Runs taken up; some may have been handed over when the time was up. */
  runs: number
  /** Jobs of the ingestion worked on; some may have been put back when the time was up. */
  jobs: number
  /** Chores that failed, by name. They are done by the next call. */
  failed: string[]
  /** Whether it ended because there was nothing more to do. */
  is_empty: boolean
}

/**
 * Does what is to be done without a long-lived worker: begins the runs of due schedules, carries out runs that are due, reads and
 * indexes documents, and tidies up. Ends when nothing is left, or when its time is up. Several calls may overlap: leases keep two from one run.
 */
export async function drain(deps: WorkerDeps): Promise<DrainReport> {
  const { ledger, log } = deps
  const until = Date.now() + deps.drain.allowanceMs
  const report: DrainReport = { schedules: 0, runs: 0, jobs: 0, failed: [], is_empty: true }
  const attempt = async (chore: string, work: () => Promise<unknown>) => {
    try {
      await work()
    } catch (error) {
      report.failed.push(chore)
      log.error('chore_failed', { chore, error: describeError(error) })
    }
  }
  await attempt('expire_approvals', () => ledger.expireApprovals())
  await attempt('fire_schedules', async () => void (report.schedules = await fireDueSchedules(deps)))
  await attempt('requeue_work', () => requeueWork(deps))
  const { runs, ingestion } = deps
  await Promise.all([
    runs && attempt('carry_out_runs', () => carryOutRuns(runs, deps.drain.places, until, report)),
    ingestion &&
      attempt('ingest', async () => {
        const { jobs, isEmpty } = await workOnJobs(ingestion, until, runs === null ? [] : enrichmentQueues(runs))
        report.jobs = jobs
        report.is_empty &&= isEmpty
      }),
  ])
  await attempt('tidy_run_jobs', () => ledger.tidyRunJobs())
  await attempt('sweep_run_log', () => ledger.sweepRunLog())
  await attempt('close_expired_searches', () => ledger.closeExpiredSearches())
  await attempt('remove_stale_uploads', () => ledger.removeStaleUploads())
  log.info('drained', { ...report, failed: report.failed.join(' ') })
  return report
}

/** Carries out due runs, so many at once, until none is left or the time is up. */
async function carryOutRuns(deps: RunDeps, places: number, until: number, report: DrainReport): Promise<void> {
  const running = new Map<string, Promise<void>>()
  const isTimeToHandOver = () => Date.now() >= until
  for (;;) {
    if (isTimeToHandOver()) {
      report.is_empty = false
      break
    }
    const free = places - running.size
    let taken = 0
    const due = free > 0 ? await deps.ledger.dueRuns(free) : []
    for (const { id } of due) {
      if (running.has(id)) continue
      const execution = await takeUp(deps, id)
      if (execution === null) continue
      taken += 1
      report.runs += 1
      const done = executeRun(deps, execution, { deliver: () => {}, isTimeToHandOver })
        .then(
          () => {},
          (error: unknown) => deps.log.error('run_crashed', { run_id: id, error: describeError(error) }),
        )
        .finally(() => running.delete(id))
      running.set(id, done)
    }
    if (running.size === 0 && taken === 0) break
    // A place has to become free before more is taken up; one run may wake another of its session.
    if (running.size > 0) await Promise.race(running.values())
  }
  await Promise.all(running.values())
}

/** The queue of work that waits although no job is about it. */
const QUEUE_OF = {
  extraction: 'extract_source',
  indexing: 'index_source',
  reembedding: 'reembed_knowledge_base',
  memory: 'embed_memory',
} as const

async function requeueWork({ ledger }: WorkerDeps): Promise<void> {
  for (const { kind, id } of await ledger.dueIngestion()) await ledger.enqueue(QUEUE_OF[kind], { id }, id)
  for (const id of await ledger.dueEnrichments()) await ledger.enqueue('enrich_knowledge_base', { id }, id)
}
