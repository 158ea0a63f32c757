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

  /** Removes jobs about runs that need nobody any more; returns how many. */
  tidyRunJobs: () => call<number>('tidy_run_jobs', {}),

  /** At most `limit` schedules that are due or not planned; tenants take turns. */
  dueSchedules: (limit: number) => call<DueSchedule[]>('due_schedules', { max_count: limit }),
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
