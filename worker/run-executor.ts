import { setTimeout as wait } from 'node:timers/promises'
import { describeError } from '../supabase/functions/_shared/errors.ts'
import { claimRun, prepareClaimed } from '../supabase/functions/_shared/execution/drive.ts'
import { executeRun } from '../supabase/functions/_shared/execution/execution.ts'
import type { RunDeps } from '../supabase/functions/_shared/execution/prepare.ts'
import type { ClaimedRun, DueRun } from '../supabase/functions/_shared/run-ledger.ts'
import type { AdaptivePlaces } from './adaptive-places.ts'
import type { Log } from './log.ts'

export type RunExecutorOptions = {
  deps: RunDeps
  /** Runs carried out at once. */
  places: number
  /** One place more, which only a tenant gets that has no run here. */
  hasSpare?: boolean
  /**
   * How many of the places tenants may take that have a run here already; a tenant without one takes any. Absent, and where one
   * tenant alone has had runs here lately: all.
   */
  adaptive?: AdaptivePlaces | null
  /** Milliseconds between two looks for runs, besides the queue's word. */
  lookMs: number
  log: Log
  /** Milliseconds of a clock that never goes back. */
  now?: () => number
}

/** Milliseconds for which somebody who has had a run here may come back any moment, and is to find it as quick. */
const COMPANY_MS = 3_600_000

/** Carries out runs of agents that nobody is at: new ones, handed over ones, and those whose executor died. */
export type RunExecutor = {
  /** Looks for runs now. */
  wake(): void
  /**
   * Word that a run may be due. One of a tenant that has no run here takes a free place at once: it would be the first of those looked
   * for, and looking takes as long as claiming. Otherwise runs are looked for.
   */
  offer(run: DueRun): void
  /** Takes no more runs up and hands those in progress over between two steps; after the grace period at once. */
  stop(graceMs: number): Promise<void>
}

type Seen = { tenantId: string; at: number }

/** Calls that every run makes, and that wait for nobody but the machines they go through. */
const TIMED = ['delegateRun', 'runConfiguration', 'appendRunEvents', 'beatRun', 'finishRun'] as const

/** The same, telling how long it takes to be answered. */
function timed(deps: RunDeps, { observe }: AdaptivePlaces): RunDeps {
  const { ledger } = deps
  const calls = TIMED.map((name) => {
    const call = ledger[name] as (...args: unknown[]) => Promise<unknown>
    const timedCall = async (...args: unknown[]) => {
      const startedAt = performance.now()
      const answer = await call(...args)
      observe(name, performance.now() - startedAt)
      return answer
    }
    return [name, timedCall]
  })
  return { ...deps, ledger: { ...ledger, ...(Object.fromEntries(calls) as Partial<typeof ledger>) } }
}

/**
 * Starts the executor. Which runs are due, in which order and how many of a tenant at once, the database says: a job of the
 * queue is only word that there may be one, so that ten thousand jobs of one tenant keep nobody waiting.
 */
export function startRunExecutor(options: RunExecutorOptions): RunExecutor {
  const { places, hasSpare = false, adaptive = null, lookMs, log, now = () => performance.now() } = options
  const deps = adaptive ? timed(options.deps, adaptive) : options.deps
  /** Runs that have a place here, from the moment they are chosen. */
  const running = new Map<string, { done: Promise<void>; tenantId: string }>()
  /** Those whose lease is being asked for. */
  const claiming = new Set<string>()
  /** Those that could not be taken up just now: somebody else has, or they are held. Not tried again before the next look of the timer. */
  const refused = new Set<string>()
  const letGo = new AbortController()
  let isStopping = false
  let isLooking = false
  let lookAgain = false

  async function claim(id: string): Promise<ClaimedRun | null> {
    claiming.add(id)
    try {
      return await claimRun(deps, id)
    } finally {
      claiming.delete(id)
    }
  }

  async function carryOut(id: string, isOffered: boolean): Promise<void> {
    try {
      const claimed = await claim(id)
      if (claimed === null) {
        // What was offered need not have been due yet, and may be so in a moment.
        if (!isOffered) refused.add(id)
        return
      }
      const execution = await prepareClaimed(deps, claimed)
      if (execution === null) return
      const isTimeToHandOver = () => isStopping
      await executeRun(deps, execution, { deliver: () => {}, isTimeToHandOver, signal: letGo.signal })
    } catch (error) {
      refused.add(id)
      log.error('run_crashed', { run_id: id, error: describeError(error) })
    }
  }

  /** The tenant that had a place last, and the last other one. */
  let latest: Seen | null = null
  let company = null as Seen | null
  function note(tenantId: string): void {
    if (latest !== null && latest.tenantId !== tenantId) company = latest
    latest = { tenantId, at: now() }
  }

  /** Gives a run a place. Nobody waits for its lease or its end: who looks for runs looks for those of others, too. */
  function take({ id, tenant_id: tenantId }: DueRun, isOffered = false): void {
    note(tenantId)
    const done = carryOut(id, isOffered).finally(() => {
      running.delete(id)
      wake()
    })
    running.set(id, { done, tenantId })
  }

  const most = places + (hasSpare ? 1 : 0)
  /** Runs here from which on a tenant that has one gets no further place. */
  const allowed = () => {
    const isAlone = company === null || now() - company.at > COMPANY_MS
    return isAlone || adaptive === null ? places : Math.min(adaptive.allowed(), places)
  }
  const present = () => new Set([...running.values()].map(({ tenantId }) => tenantId))

  /** Takes up what there is room for. */
  async function fill(): Promise<void> {
    if (running.size >= most) return
    // What is asked for or was refused is on the list still.
    const limit = most - running.size + claiming.size + refused.size
    for (const due of await deps.ledger.dueRuns(limit, hasSpare ? [...present()] : null)) {
      if (isStopping || running.size >= most) return
      if (running.has(due.id) || refused.has(due.id)) continue
      // A tenant with ten thousand leaves the rest to the others.
      if (running.size >= allowed() && present().has(due.tenant_id)) continue
      take(due)
    }
  }

  async function look(): Promise<void> {
    if (isLooking) {
      lookAgain = true
      return
    }
    isLooking = true
    try {
      do {
        lookAgain = false
        await fill()
      } while (lookAgain && !isStopping)
    } catch (error) {
      // Looked for again in a moment.
      log.error('due_runs_failed', { error: describeError(error) })
    } finally {
      isLooking = false
    }
  }

  function wake(): void {
    if (!isStopping) void look()
  }

  function offer(run: DueRun): void {
    if (isStopping || running.has(run.id)) return
    const isPresent = present().has(run.tenant_id)
    // Ten thousand words of one tenant are no reason to look ten thousand times: the end of any of its runs is.
    if (isPresent && running.size >= allowed()) return
    if (running.size < most && !isPresent) take(run, true)
    else wake()
  }

  /** Runs that nobody has decided about in time go on. Apart from looking for runs: who has just been queued does not wait for it. */
  async function expireApprovals(): Promise<void> {
    try {
      if ((await deps.ledger.expireApprovals()) > 0) wake()
    } catch (error) {
      log.error('approvals_not_expired', { error: describeError(error) })
    }
  }

  const timer = setInterval(() => {
    refused.clear()
    wake()
    void expireApprovals()
  }, lookMs)
  wake()
  return {
    wake,
    offer,
    async stop(graceMs) {
      isStopping = true
      clearInterval(timer)
      const ended = new AbortController()
      const all = async () => {
        while (isLooking) await wait(10)
        await Promise.all([...running.values()].map(({ done }) => done))
      }
      await Promise.race([all(), wait(graceMs, undefined, { signal: ended.signal }).catch(() => undefined)])
      ended.abort()
      letGo.abort()
      await all()
    },
  }
}
