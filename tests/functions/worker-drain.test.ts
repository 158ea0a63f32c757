import { afterEach, describe, expect, it, vi } from 'vitest'
import type { TakenJob } from '../../supabase/functions/_shared/queue-ledger.ts'
import { drain } from '../../supabase/functions/worker/drain.ts'
import { workOnQueues, type Chores, type Queue } from '../../supabase/functions/worker/jobs.ts'

const SUBJECT = '11111111-1111-4111-8111-111111111111'
const ALLOWANCE_MS = 10_000

/** A ledger with nothing to do but what `takeJobs` gives, and what was asked of it. */
function fakeDeps(takeJobs: (queue: string) => Omit<TakenJob, 'id' | 'queue'>[], fire: () => Promise<unknown>) {
  let jobs = 0
  const asked: string[] = []
  const ledger = {
    queueDueSweeps: async () => 0,
    takeJobs: async (queue: string) => takeJobs(queue).map((job) => ({ ...job, id: String(++jobs), queue })),
    beatJobs: async () => 0,
    finishJob: async () => true,
    dueSchedule: async () => ({
      id: SUBJECT,
      tenant_id: SUBJECT,
      cron: '* * * * *',
      timezone: 'UTC',
      next_run_at: '2026-01-01T00:00:00Z',
    }),
    fireDueSchedule: async () => {
      asked.push('fire')
      await fire()
      return { outcome: 'fired', id: SUBJECT, run_id: 'run' }
    },
    dueRuns: async () => {
      asked.push('runs')
      return []
    },
    tidyRunJobs: async () => 0,
  }
  const log = { info: () => {}, error: () => {} }
  const deps = { ledger, log, runs: { ledger, log }, ingestion: null, drain: { allowanceMs: ALLOWANCE_MS, places: 4 } }
  return { deps: deps as unknown as Parameters<typeof drain>[0], asked }
}
const schedules = (queue: string) =>
  queue === 'fire_schedule' ? [{ subject: SUBJECT, attempt: 0, retry_seconds: 1 }] : []

afterEach(() => void vi.useRealTimers())

describe('a call of the function worker', () => {
  it('carries out runs beside schedules that never end, and says that more is left', async () => {
    vi.useFakeTimers()
    const { deps, asked } = fakeDeps(schedules, () => new Promise((resolve) => setTimeout(resolve, 100)))
    const draining = drain(deps)
    await vi.advanceTimersByTimeAsync(ALLOWANCE_MS)
    const report = await draining
    expect(asked.indexOf('runs')).toBeGreaterThan(0)
    expect(asked.indexOf('runs')).toBeLessThan(asked.lastIndexOf('fire'))
    expect(report).toMatchObject({ is_empty: false, failed: [] })
  })

  it('carries out runs beside a schedule or sweep that hangs', async () => {
    vi.useFakeTimers()
    let left = 1
    const hanging = Promise.withResolvers<void>()
    const { deps, asked } = fakeDeps(
      (queue) => (left-- > 0 ? schedules(queue) : []),
      () => hanging.promise,
    )
    const draining = drain(deps)
    await vi.advanceTimersByTimeAsync(ALLOWANCE_MS / 2)
    expect(asked).toEqual(['fire', 'runs'])
    hanging.resolve()
    expect(await draining).toMatchObject({ schedules: 1 })
  })

  it('begins with what chores find where they end soon', async () => {
    let left = 3
    const { deps, asked } = fakeDeps(
      (queue) => (queue === 'fire_schedule' && left-- > 0 ? schedules(queue) : []),
      async () => {},
    )
    expect(await drain(deps)).toMatchObject({ schedules: 3, is_empty: true })
    expect(asked).toEqual(['fire', 'fire', 'fire', 'runs'])
  })
})

describe('jobs that may take as long as a call', () => {
  const job = { subject: SUBJECT, attempt: 0, retry_seconds: 1 }

  /** What becomes of one long job beside three short ones that come one after the other. */
  async function work(handleLong: Queue<Chores>['handle'], finish = async () => true) {
    vi.useFakeTimers()
    const left: Record<string, number> = { short: 3, long: 1 }
    const { deps } = fakeDeps(
      (queue) => (left[queue]!-- > 0 ? [job] : []),
      async () => {},
    )
    const ended: string[] = []
    const ledger = {
      ...deps.ledger,
      finishJob: finish,
      enqueue: async (queue: string) => void ended.push(`${queue} again`),
    }
    const queues: Queue<Chores>[] = [
      { queue: 'short', handle: async () => void ended.push('short'), atOnce: 1 },
      { queue: 'long', handle: handleLong, atOnce: 1, isLong: true },
    ]
    const working = workOnQueues({ ledger, log: deps.log } as unknown as Chores, queues, Date.now() + ALLOWANCE_MS)
    const outcome = working.then(
      (report) => ({ ...report, ended }),
      (error: Error) => error.message,
    )
    await vi.advanceTimersByTimeAsync(ALLOWANCE_MS)
    return outcome
  }
  const untilStopped: Queue<Chores>['handle'] = (_chores, { signal }) =>
    new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))

  it('hold up no others, and are put back when the time is up', async () => {
    expect(await work(untilStopped)).toEqual({
      jobs: 4,
      isEmpty: false,
      ended: ['short', 'short', 'short', 'long again'],
    })
  })

  it('are waited for', async () => {
    const handle = () => new Promise<void>((resolve) => setTimeout(resolve, ALLOWANCE_MS / 2))
    expect(await work(handle)).toEqual({ jobs: 4, isEmpty: true, ended: ['short', 'short', 'short'] })
  })

  it('say it when they cannot be settled', async () => {
    let calls = 0
    // The first that ends is a short one.
    const finish = async () => {
      if (++calls === 2) throw new Error('The ledger is gone.')
      return true
    }
    expect(await work(async () => {}, finish)).toBe('The ledger is gone.')
  })
})
