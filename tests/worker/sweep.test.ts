import { describe, expect, test } from 'vitest'
import { AppError } from '../../supabase/functions/_shared/errors.ts'
import type { Ledger } from '../../supabase/functions/_shared/ledger.ts'
import type { SweepOutcome } from '../../supabase/functions/_shared/queue-ledger.ts'
import type { WorkerSettings } from '../../worker/config.ts'
import { queueSweeps, sweep } from '../../worker/jobs/sweep.ts'

/** A worker whose database answers a sweep with `outcome`, and calls in `broken` not at all; tells what was asked and logged. */
async function sweepWith(
  outcome: SweepOutcome | null | Error,
  { broken = [], rendersPages = true }: { broken?: string[]; rendersPages?: boolean } = {},
) {
  const calls: unknown[] = []
  const lines: Record<string, unknown>[] = []
  const answer = <T>(name: string, value: T) =>
    broken.includes(name) ? Promise.reject(new Error(`${name} is broken`)) : Promise.resolve(value)
  const ledger = {
    queueDueSweeps: (...args: unknown[]) => answer('queueDueSweeps', calls.push(['queue', ...args])),
    runSweep: (id: string, settings: unknown) => {
      calls.push(['run', id, settings])
      return outcome instanceof Error ? Promise.reject(outcome) : Promise.resolve(outcome)
    },
    noteFailedSweep: (id: string, code: string) => {
      calls.push(['failed', id, code])
      return answer('noteFailedSweep', 'sweep_run_log')
    },
  } as unknown as Ledger
  const write =
    (level: string) =>
    (event: string, fields: object = {}) =>
      void lines.push({ level, event, ...fields })
  const settings = { sweepSeconds: 7, graphBuildFrom: 40, graphRetireBelow: 25, rendersPages } as WorkerSettings
  const context = { ledger, settings, log: { info: write('info'), error: write('error') } }
  await queueSweeps(context)
  const ended = await sweep(context, { id: 'a', jobId: 'job' }).then(
    () => 'done',
    (error: Error) => error.message,
  )
  return { calls, lines, ended }
}

const NOTHING: SweepOutcome = { name: 'requeue_work', requeued: [], counts: {} }

describe('a sweep', () => {
  test('is queued when it is due, and done with what this worker is set to', async () => {
    const { calls, lines, ended } = await sweepWith(NOTHING)
    expect(calls).toEqual([
      ['queue', 7, []],
      ['run', 'a', { leaves: [], graphBuildFrom: 40, graphRetireBelow: 25 }],
    ])
    expect([lines, ended]).toEqual([[], 'done'])
  })

  test('of pages to be drawn is left to who draws', async () => {
    const { calls } = await sweepWith(NOTHING, { rendersPages: false })
    expect(calls).toEqual([
      ['queue', 7, ['requeue_page_renderings']],
      ['run', 'a', { leaves: ['requeue_page_renderings'], graphBuildFrom: 40, graphRetireBelow: 25 }],
    ])
  })

  test('says what it has queued again', async () => {
    const requeued = [
      { kind: 'extraction', id: 'a' },
      { kind: 'memory', id: 'd' },
      { kind: 'schedule', id: 's' },
    ] as const
    const { lines } = await sweepWith({ ...NOTHING, requeued: [...requeued] })
    expect(lines).toEqual(requeued.map((work) => ({ level: 'info', event: 'work_requeued', ...work })))
  })

  test.each([
    ['queue_maintenance', 'maintenance_queued', { count: 1 }],
    ['sweep_run_log', 'run_logs_swept', { folded: 2, removed: 0, rolled_back: 0 }],
    ['expire_approvals', 'approvals_expired', { count: 4 }],
    ['close_expired_searches', 'expired_searches_closed', { count: 5 }],
    ['remove_stale_uploads', 'stale_uploads_removed', { count: 3 }],
    ['remove_expired_answers', 'expired_answers_removed', { count: 2 }],
  ])('%s says what it has done, if that is anything', async (name, event, counts) => {
    expect((await sweepWith({ name, requeued: [], counts })).lines).toEqual([{ level: 'info', event, ...counts }])
    const none = Object.fromEntries(Object.keys(counts).map((key) => [key, 0]))
    expect((await sweepWith({ name, requeued: [], counts: none })).lines).toEqual([])
  })

  test('of no such id is nothing', async () => {
    expect(await sweepWith(null)).toMatchObject({ lines: [], ended: 'done' })
  })

  test.each([
    [new Error('it is broken'), 'internal'],
    [new AppError('unavailable', 'it is broken'), 'unavailable'],
  ])('that fails is logged and noted, and is done for now', async (error, code) => {
    const { calls, lines, ended } = await sweepWith(error)
    expect(calls.at(-1)).toEqual(['failed', 'a', code])
    expect(lines).toEqual([
      expect.objectContaining({
        ...{ level: 'error', event: 'sweep_failed', step: 'sweep_run_log' },
        error: expect.stringContaining('it is broken'),
      }),
    ])
    expect(ended).toBe('done')
  })

  test('of which not even that can be noted comes again', async () => {
    expect(await sweepWith(new Error('x'), { broken: ['noteFailedSweep'] })).toMatchObject({
      ended: 'noteFailedSweep is broken',
    })
  })

  test('that cannot be queued is tried the next time', async () => {
    const { lines } = await sweepWith(NOTHING, { broken: ['queueDueSweeps'] })
    expect(lines).toEqual([expect.objectContaining({ level: 'error', event: 'sweeps_not_queued' })])
  })
})
