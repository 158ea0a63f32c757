import { pause } from '../_shared/agent/abort.ts'
import { describeError } from '../_shared/errors.ts'
import { takeUp } from '../_shared/execution/drive.ts'
import { executeRun } from '../_shared/execution/execution.ts'
import type { RunDeps } from '../_shared/execution/prepare.ts'
import { noteDeadLetter } from '../_shared/ingestion/jobs/dead-letters.ts'
import { fireSchedule } from '../_shared/schedules.ts'
import { runSweep } from '../_shared/sweeps.ts'
import type { WorkerDeps } from './env.ts'
import { enrichmentQueues, workOnJobs, workOnQueues, type Chores, type Queue } from './jobs.ts'

/** What a call has done. */
export type DrainReport = {
  /** Schedules whose run began. */
  schedules: number
  /** Runs taken up; some may have been handed over when the time was up. */
  runs: number
  /** Jobs of the ingestion worked on; some may have been put back when the time was up. */
  jobs: number
  /** Chores and sweeps that failed, by name. They are done by the next call. */
  failed: string[]
  /** Whether it ended because there was nothing more to do. */
  is_empty: boolean
}

/** What a call does not do, and so leaves to workers: page images, and upkeep of the search index. */
const LEAVES = ['requeue_page_renderings', 'queue_maintenance']

/** Share of a call in which chores go alone, so that the rest of it does what they find. */
const HEAD_START = 0.1

/**
 * Does what is to be done without a long-lived worker: begins the runs of due schedules, sweeps, carries out runs that are due,
 * reads and indexes documents, and tidies up. Ends when nothing is left, or when its time is up. Several calls may overlap: leases keep two from one run.
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
  // Every call sweeps, however soon after another.
  await attempt('queue_sweeps', () => ledger.queueDueSweeps(0, LEAVES))
  const chores = attempt('chores', async () => void (report.is_empty &&= await doChores(deps, until, report)))
  const headStart = new AbortController()
  await Promise.race([chores, pause(deps.drain.allowanceMs * HEAD_START, headStart.signal).catch(() => {})])
  headStart.abort()
  const { runs, ingestion } = deps
  await Promise.all([
    chores,
    runs && attempt('carry_out_runs', () => carryOutRuns(runs, deps.drain.places, until, report)),
    ingestion &&
      attempt('ingest', async () => {
        const { jobs, isEmpty } = await workOnJobs(ingestion, until, runs === null ? [] : enrichmentQueues(runs))
        report.jobs = jobs
        report.is_empty &&= isEmpty
      }),
  ])
  await attempt('tidy_run_jobs', () => ledger.tidyRunJobs())
  log.info('drained', { ...report, failed: report.failed.join(' ') })
  return report
}

/** Fires schedules and sweeps, until nothing of both is left; a sweep may have found a schedule. Returns whether none is left. */
async function doChores({ ledger, log }: WorkerDeps, until: number, report: DrainReport): Promise<boolean> {
  const queues: Queue<Chores>[] = [
    {
      queue: 'fire_schedule',
      handle: async (chores, { id }) => {
        if (await fireSchedule(chores, id)) report.schedules += 1
      },
      atOnce: 4,
    },
    {
      queue: 'sweep',
      handle: async (chores, delivery) => {
        const failed = await runSweep(chores, delivery, { leaves: LEAVES })
        if (failed !== null) report.failed.push(failed)
      },
      atOnce: 4,
    },
    { queue: 'fire_schedule_dead', handle: noteDeadLetter('schedule'), atOnce: 4 },
    { queue: 'sweep_dead', handle: noteDeadLetter('sweep'), atOnce: 4 },
  ]
  return (await workOnQueues({ ledger, log }, queues, until)).isEmpty
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
