import { expect, test } from 'vitest'
import type { RunDeps } from '../../supabase/functions/_shared/execution/prepare.ts'
import type { DueRun } from '../../supabase/functions/_shared/run-ledger.ts'
import { startRunExecutor } from '../../worker/run-executor.ts'
import { eventually } from '../support/eventually.ts'

const PLACES = 8
const [OURS, THEIRS, OTHERS] = ['ours', 'theirs', 'others']
const runsOf = (tenant: string, count: number): DueRun[] =>
  Array.from({ length: count }, (_, at) => ({ id: `${tenant} ${at}`, tenant_id: tenant }))

const HOUR_MS = 3_600_000

/** An executor whose runs go on until the end; `due` wait, and the database picks as `ai.due_runs()` does. */
function start(due: DueRun[], allowed?: () => number) {
  const claimed: string[] = []
  const clock = { now: 0 }
  const asked = { looks: 0 }
  const ends: (() => void)[] = []
  const ledger = {
    async claimRun(id: string) {
      claimed.push(id)
      const at = due.findIndex((run) => run.id === id)
      const [{ tenant_id } = { tenant_id: id.split(' ')[0] }] = at < 0 ? [] : due.splice(at, 1)
      return { id, tenant_id, agent_id: 'agent', principal_id: 'person', request: { message: 'x' }, streams: true }
    },
    /** The first thing that a run asks for. */
    delegateRun: () => new Promise((_, reject) => ends.push(() => reject(new Error('The end.')))),
    dueRuns: async (limit: number, present: readonly string[] | null) => {
      asked.looks++
      const first = due.findIndex(({ tenant_id }) => present !== null && !present.includes(tenant_id))
      return due.filter((_, at) => at < limit || at === first)
    },
    expireApprovals: async () => 0,
  }
  const log = { info: () => {}, error: () => {} }
  const executor = startRunExecutor({
    deps: { ledger, log, runs: { executor: 'test', leaseSeconds: 6 } } as unknown as RunDeps,
    places: PLACES,
    hasSpare: true,
    adaptive: allowed ? { allowed, observe: () => {} } : null,
    lookMs: 60_000,
    log,
    now: () => clock.now,
  })
  /** Ends the runs that go on, as soon as they are so many. */
  const end = async (count: number) => {
    await eventually(() => expect(ends).toHaveLength(count))
    for (const one of ends.splice(0)) one()
    await new Promise(setImmediate)
  }
  const stop = async () => {
    const stopped = executor.stop(0)
    for (const one of ends) one()
    await stopped
  }
  return { asked, claimed, clock, executor, end, stop }
}

/** Makes the worker one that has had runs of two tenants, none of which is going on. */
async function withCompany({ claimed, executor, end }: ReturnType<typeof start>): Promise<void> {
  for (const tenant of [THEIRS, OTHERS]) executor.offer({ id: `${tenant} earlier`, tenant_id: tenant })
  await end(2)
  claimed.length = 0
}

test('a tenant with many runs gets as many places as are worth it, and others one at once', async () => {
  let allowed = 2
  const due: DueRun[] = []
  const worker = start(due, () => allowed)
  const { claimed, executor } = worker
  await withCompany(worker)
  due.push(...runsOf(OURS, 20))
  executor.wake()
  await eventually(() => expect(claimed).toEqual(['ours 0', 'ours 1']))
  executor.offer({ id: 'ours 7', tenant_id: OURS })
  executor.offer({ id: 'others 0', tenant_id: OTHERS })
  expect(claimed).toEqual(['ours 0', 'ours 1', 'others 0'])
  // Found by looking, at the end of the list.
  due.push(...runsOf(THEIRS, 2))
  executor.wake()
  await eventually(() => expect(claimed).toEqual(['ours 0', 'ours 1', 'others 0', 'theirs 0']))
  allowed = 6
  executor.wake()
  await eventually(() => expect(claimed.slice(4)).toEqual(['ours 2', 'ours 3']))
  await worker.stop()
})

test('however few places are worth it, one look takes the first run of each of the others', async () => {
  const due: DueRun[] = []
  const worker = start(due, () => 2)
  await withCompany(worker)
  due.push(...runsOf(OURS, 2), ...['a', 'b', 'c', 'd', 'e'].flatMap((tenant) => runsOf(tenant, 1)))
  worker.executor.wake()
  await eventually(() => expect(worker.claimed).toHaveLength(7))
  expect(worker.claimed).toEqual(['ours 0', 'ours 1', 'a 0', 'b 0', 'c 0', 'd 0', 'e 0'])
  await worker.stop()
})

test('a tenant alone gets all but the one kept for others, however few are worth it', async () => {
  const due = runsOf(OURS, 40)
  const worker = start(due, () => 2)
  const { claimed, clock, executor } = worker
  await eventually(() => expect(claimed).toHaveLength(PLACES))
  // Another one comes: from then on it is held back, until that was an hour ago.
  executor.offer({ id: 'theirs 0', tenant_id: THEIRS })
  await worker.end(PLACES + 1)
  await eventually(() => expect(claimed).toHaveLength(PLACES + 1 + 2))
  clock.now = HOUR_MS
  await worker.end(2)
  await eventually(() => expect(claimed).toHaveLength(PLACES + 1 + 2 + 2))
  clock.now = HOUR_MS + 1
  await worker.end(2)
  await eventually(() => expect(claimed).toHaveLength(PLACES + 1 + 2 + 2 + PLACES))
  await worker.stop()
})

test('word of more runs of a tenant whose places are taken is no reason to look', async () => {
  const due: DueRun[] = []
  const worker = start(due, () => 2)
  await withCompany(worker)
  due.push(...runsOf(OURS, 20))
  worker.executor.wake()
  await eventually(() => expect(worker.claimed).toEqual(['ours 0', 'ours 1']))
  const { looks } = worker.asked
  for (const run of runsOf(OURS, 20)) worker.executor.offer(run)
  await new Promise(setImmediate)
  expect(worker.asked.looks).toBe(looks)
  await worker.end(2)
  await eventually(() => expect(worker.claimed).toEqual(['ours 0', 'ours 1', 'ours 2', 'ours 3']))
  await worker.stop()
})

test('without the limit it gets all but the one kept for others', async () => {
  const due = runsOf(OURS, 20)
  const { claimed, executor, stop } = start(due)
  await eventually(() => expect(claimed).toHaveLength(PLACES))
  due.push(...runsOf(THEIRS, 2))
  executor.wake()
  await eventually(() => expect(claimed.slice(PLACES)).toEqual(['theirs 0']))
  await stop()
})
