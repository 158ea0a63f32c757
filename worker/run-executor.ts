import { setTimeout as wait } from 'node:timers/promises'
import { describeError } from '../supabase/functions/_shared/errors.ts'
import { takeUp } from '../supabase/functions/_shared/execution/drive.ts'
import { executeRun } from '../supabase/functions/_shared/execution/execution.ts'
import type { RunDeps } from '../supabase/functions/_shared/execution/prepare.ts'
import type { Log } from './log.ts'

export type RunExecutorOptions = {
  deps: RunDeps
  /** Runs carried out at once. */
  places: number
  /** One place more, which only a tenant gets that has no run here. */
  hasSpare?: boolean
  /** Milliseconds between two looks for runs, besides the queue's word. */
  lookMs: number
  log: Log
}

/** Carries out runs of agents that nobody is at: new ones, handed over ones, and those whose executor died. */
export type RunExecutor = {
  /** Looks for runs now. */
  wake(): void
  /** Takes no more runs up and hands those in progress over between two steps; after the grace period at once. */
  stop(graceMs: number): Promise<void>
}

/**
 * Starts the executor. Which runs are due, in which order and how many of a tenant at once, the database says: a job of the
 * queue is only word that there may be one, so that ten thousand jobs of one tenant keep nobody waiting.
 */
export function startRunExecutor({ deps, places, hasSpare = false, lookMs, log }: RunExecutorOptions): RunExecutor {
  const running = new Map<string, Promise<void>>()
  /** Tenants of the runs in progress. */
  const tenants = new Map<string, string>()
  const letGo = new AbortController()
  let isStopping = false
  let isLooking = false
  let lookAgain = false

  async function carryOut(id: string): Promise<boolean> {
    const execution = await takeUp(deps, id)
    if (execution === null) return false
    const work = executeRun(deps, execution, {
      deliver: () => {},
      isTimeToHandOver: () => isStopping,
      signal: letGo.signal,
    })
    const done = work.then(
      () => {},
      (error: unknown) => log.error('run_crashed', { run_id: execution.run.run_id, error: describeError(error) }),
    )
    tenants.set(id, execution.run.tenant_id)
    running.set(
      id,
      done.finally(() => {
        running.delete(id)
        tenants.delete(id)
        wake()
      }),
    )
    return true
  }

  /** Takes up what there is room for. */
  async function fill(): Promise<void> {
    for (;;) {
      const free = places + (hasSpare ? 1 : 0) - running.size
      if (isStopping || free <= 0) return
      // A tenant with ten thousand leaves the spare place to the others.
      const isSpare = hasSpare && free === 1
      const found = await deps.ledger.dueRuns(places, isSpare ? [...new Set(tenants.values())] : [])
      const due = found.filter((id) => !running.has(id)).slice(0, hasSpare && !isSpare ? free - 1 : free)
      let taken = 0
      for (const id of due) {
        if (isStopping) return
        if (await carryOut(id)) taken++
      }
      if (taken === 0) return
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
        // Runs that nobody has decided about in time go on.
        await deps.ledger.expireApprovals()
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

  const timer = setInterval(wake, lookMs)
  wake()
  return {
    wake,
    async stop(graceMs) {
      isStopping = true
      clearInterval(timer)
      const ended = new AbortController()
      const all = async () => {
        while (isLooking) await wait(10)
        await Promise.all(running.values())
      }
      await Promise.race([all(), wait(graceMs, undefined, { signal: ended.signal }).catch(() => undefined)])
      ended.abort()
      letGo.abort()
      await all()
    },
  }
}
