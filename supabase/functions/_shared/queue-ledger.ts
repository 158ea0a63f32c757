import type { WorkKind } from './ledger.ts'
import type { SweepSettings } from './sweeps.ts'

/** A schedule whose time has come, or has not been computed yet. */
export type DueSchedule = {
  id: string
  tenant_id: string
  cron: string
  timezone: string
  /** ISO 8601; null: to be computed. */
  next_run_at: string | null
}

/** What became of a schedule that was due. */
export type Firing =
  | { outcome: 'fired'; id: string; run_id: string }
  /** Its last run still goes on. */
  | { outcome: 'skipped' }
  /** The run could not begin, or the schedule has been switched off: for the reason that the row names. */
  | { outcome: 'refused' | 'disabled'; reason: string }

/** What a sweep has done. */
export type SweepOutcome = {
  name: string
  /** What waited although no job was about it. */
  requeued: { kind: WorkKind | 'enrichment' | 'page_rendering' | 'removal' | 'schedule'; id: string }[]
  /** How much of what else it looks for; empty for one that only queues. */
  counts: Record<string, number>
}

/** A job that has been taken. */
export type TakenJob = {
  id: string
  queue: string
  /** The id of what it is about; null: the job is malformed. */
  subject: string | null
  attempt: number
  /** The longest wait before the next attempt; null: this is the last. */
  retry_seconds: number | null
}

type Call = <T>(name: string, args: Record<string, unknown>) => Promise<T>

/** The calls of the ledger that are about queues and schedules. */
export const queueCalls = (call: Call) => ({
  /** Jobs of one tenant that may run at once, by queue; queues without a limit are left out. */
  queueLimits: () => call<Record<string, number>>('queue_limits', {}),

  /** Takes at most `limit` jobs of a queue, in turn; sources of more than `maxBytes` are left aside. */
  takeJobs: (queue: string, limit: number, maxBytes: number | null = null) =>
    call<TakenJob[]>('take_jobs', { queue, max_count: limit, max_bytes: maxBytes }),
  /** Says that jobs are still worked on; returns how many still are one's own. */
  beatJobs: (ids: readonly string[]) => call<number>('beat_jobs', { job_ids: ids }),
  /** Ends an attempt at a job. False when somebody else has got it meanwhile. */
  finishJob: ({ queue, id, attempt }: TakenJob, succeeded: boolean) =>
    call<boolean>('finish_job', { queue, job_id: id, attempt, succeeded }),

  /** Queues the sweeps that nobody has begun for so long, except those named; returns how many. */
  queueDueSweeps: (intervalSeconds: number, leaves: readonly string[]) =>
    call<number>('queue_due_sweeps', { interval_seconds: intervalSeconds, leaves }),
  /** Does a sweep. Null when there is none of this id, it is left to others, or somebody is at it. */
  runSweep: (id: string, { leaves, graphBuildFrom, graphRetireBelow }: SweepSettings) =>
    call<SweepOutcome | null>('run_sweep', {
      sweep_id: id,
      leaves,
      ...(graphBuildFrom === undefined ? {} : { graph_build_from: graphBuildFrom }),
      ...(graphRetireBelow === undefined ? {} : { graph_retire_below: graphRetireBelow }),
    }),
  /** Notes that a sweep has failed; returns its name, null when there is none of this id. */
  noteFailedSweep: (id: string, errorCode: string) =>
    call<string | null>('note_failed_sweep', { sweep_id: id, error: errorCode }),

  /** Removes jobs about runs that need nobody any more; returns how many. */
  tidyRunJobs: () => call<number>('tidy_run_jobs', {}),

  /** The schedule of this id, if it is due or not planned; else null. */
  dueSchedule: async (id: string): Promise<DueSchedule | null> =>
    (await call<DueSchedule[]>('due_schedule', { schedule_id: id }))[0] ?? null,
  /** The next time of an unplanned schedule; null: there is none. False when it has changed meanwhile. */
  planSchedule: ({ id, cron, timezone }: DueSchedule, nextRunAt: Date | null) =>
    call<boolean>('plan_schedule', {
      schedule_id: id,
      cron,
      timezone,
      next_run_at: nextRunAt?.toISOString() ?? null,
    }),
  /** Begins the run of a due schedule, once. Null when it is not due any more: somebody else was first. */
  fireDueSchedule: (id: string, expected: string, following: Date | null) =>
    call<Firing | null>('fire_due_schedule', {
      schedule_id: id,
      expected_next_run_at: expected,
      following_run_at: following?.toISOString() ?? null,
    }),
})
