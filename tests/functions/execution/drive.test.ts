import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { Db } from '../../../supabase/functions/_shared/context.ts'
import { driveRun } from '../../../supabase/functions/_shared/execution/drive.ts'
import type { DriveEnd } from '../../../supabase/functions/_shared/execution/drive.ts'
import type { RunDeps } from '../../../supabase/functions/_shared/execution/prepare.ts'
import type { OpenedRun } from '../../../supabase/functions/_shared/runs.ts'

const HOUR = 3_600_000
const LIMIT_MS = 2000

/** A database in which a run stands as it does, and tells nothing. */
function logOf(status: string): Db {
  const answer = Promise.resolve({ data: [{ status, run_events: [] }], error: null })
  const query: object = new Proxy(
    {},
    { get: (_target, name) => (name === 'then' ? answer.then.bind(answer) : () => query) },
  )
  return query as Db
}

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

it.each([
  ['forward', HOUR],
  ['back', -HOUR],
])(
  'somebody waits for a run as long as was said, and asks for it as often, when the clock is set %s by an hour',
  async (_name, ms) => {
    let claims = 0
    const claimRun = () => {
      claims++
      return Promise.resolve(null)
    }
    const deps = {
      ledger: { claimRun },
      log: { info: () => {}, error: () => {} },
      runs: { executor: 'test', leaseSeconds: 6, streamLimitMs: LIMIT_MS },
    } as unknown as RunDeps
    const run = { id: 'r', run_id: 'run_0123456789ab', session_id: 's' } as OpenedRun
    let end: DriveEnd | null = null
    const viewer = { db: logOf('pending'), caller: { userId: 'u', token: '', tenantId: null }, send: () => {} }
    void driveRun(deps, { run, execution: null }, { ...viewer, until: performance.now() + LIMIT_MS }).then(
      (how) => (end = how),
    )
    await vi.advanceTimersByTimeAsync(100)
    vi.setSystemTime(Date.now() + ms)
    await vi.advanceTimersByTimeAsync(LIMIT_MS - 200)
    expect([end, claims]).toEqual([null, 3])
    await vi.advanceTimersByTimeAsync(500)
    expect(end).toBe('time_limit')
  },
)
