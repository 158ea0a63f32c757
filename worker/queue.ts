import { PgBoss, type JobResult, type JobWithMetadata } from 'pg-boss'
import { describeError } from '../supabase/functions/_shared/errors.ts'
import type { WorkerSettings } from './config.ts'
import type { Log } from './log.ts'
import type { Delivery } from './jobs/context.ts'

/** Dead letters and removals are in no hurry. */
const SLOW_POLL_SECONDS = 10
const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i

export type QueueHandler = (delivery: Delivery) => Promise<void>

/** A queue, how many of its jobs run at once, and what is done with each. */
export type Subscription = {
  queue: string
  concurrency: number
  isUrgent: boolean
  /** How often it is asked, besides its notifications. Default: as urgent as it is. */
  pollSeconds?: number
  /** Jobs fetched at once and handled one after the other, in a place. Default 1. */
  batch?: number
  /** Whether more is fetched at once after a full batch. */
  goesOn?: boolean
  /** Jobs of one tenant that may run at once, over all workers; jobs beyond are left to wait. Absent: as many as there are. */
  tenantLimit?: number | undefined
  handle: QueueHandler
}

export type Queue = {
  /** Fetches no more jobs; those in progress go on. */
  pause(): Promise<void>
  /** Disconnects, after what is in progress has been recorded. */
  stop(): Promise<void>
}

/** The latest moment at which pg-boss retries a job that fails now; null when it will not. */
export function retryTime(
  job: Pick<JobWithMetadata, 'retryCount' | 'retryLimit' | 'retryDelay' | 'retryBackoff' | 'retryDelayMax'>,
): Date | null {
  if (job.retryCount >= job.retryLimit) return null
  // pg-boss waits between half of this and all of it.
  const backoff = Math.max(job.retryDelay, 1) * 2 ** Math.min(16, job.retryCount + 1)
  const seconds = job.retryBackoff ? Math.min(backoff, job.retryDelayMax ?? Infinity) : job.retryDelay
  return new Date(Date.now() + seconds * 1000)
}

/**
 * Connects to the queues and works on their jobs, one after the other in each of `concurrency` places. The schema belongs to
 * the migrations: nothing is created or altered here.
 */
export async function startQueue(
  settings: Pick<WorkerSettings, 'databaseUrl' | 'poolSize' | 'pollSeconds' | 'superviseSeconds'>,
  subscriptions: Subscription[],
  stopping: AbortSignal,
  log: Log,
): Promise<Queue> {
  const boss = new PgBoss({
    connectionString: settings.databaseUrl,
    max: settings.poolSize,
    // All places share these connections, and an embedded database is shared with what it is busy with: to wait is no failure.
    connectionTimeoutMillis: 60_000,
    application_name: 'bulkhead-worker',
    schema: 'pgboss',
    migrate: false,
    createSchema: false,
    schedule: false,
    superviseIntervalSeconds: settings.superviseSeconds,
    monitorIntervalSeconds: settings.superviseSeconds,
    useListenNotify: true,
  })
  boss.on('error', (error) => log.error('queue_error', { error: describeError(error) }))
  await boss.start()

  for (const subscription of subscriptions) {
    const { queue, concurrency, batch = 1, goesOn = false, tenantLimit, handle } = subscription
    const pollSeconds = subscription.pollSeconds ?? (subscription.isUrgent ? settings.pollSeconds : SLOW_POLL_SECONDS)
    const options = {
      batchSize: batch,
      burstWhenBatchFull: goesOn,
      localConcurrency: concurrency,
      includeMetadata: true as const,
      perJobResults: true as const,
      pollingIntervalSeconds: pollSeconds,
      // Retries send no notification, so the poll is what finds them.
      notifyPollingIntervalSeconds: pollSeconds,
      // Whose job it is, and whose turn, the database has written into it.
      ...(tenantLimit === undefined ? {} : { groupConcurrency: tenantLimit }),
    }
    await boss.work<{ id?: unknown }, void, typeof options>(queue, options, async (jobs) => {
      const results: JobResult[] = []
      for (const job of jobs) {
        const { id } = job.data ?? {}
        if (typeof id !== 'string' || !UUID.test(id)) {
          log.error('malformed_job', { job_id: job.id, queue })
          results.push({ id: job.id, status: 'completed' })
          continue
        }
        try {
          await handle({
            id,
            jobId: job.id,
            tenantId: job.groupId ?? undefined,
            signal: AbortSignal.any([job.signal, stopping]),
            retryAt: () => retryTime(job),
          })
          results.push({ id: job.id, status: 'completed' })
        } catch (error) {
          results.push({ id: job.id, status: 'failed', output: error })
        }
      }
      return results
    })
  }
  return {
    pause: async () => {
      await Promise.all(subscriptions.map(({ queue }) => boss.offWork(queue, { wait: false })))
    },
    stop: () => boss.stop({ graceful: true, timeout: 5_000 }),
  }
}
