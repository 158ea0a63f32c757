import type { AppEnv, Deps } from '../_shared/context.ts'
import { optional, type Env } from '../_shared/env.ts'
import type { RunDeps } from '../_shared/execution/prepare.ts'

/** How much a call does. */
export type DrainSettings = {
  /** Milliseconds after which a call takes nothing more up; runs in progress are handed over at their next step. */
  allowanceMs: number
  /** Runs carried out at once. */
  places: number
}

/** Dependencies of the function `worker`. */
export type WorkerDeps = Deps & {
  drain: DrainSettings
  /** What runs are carried out with; null without a signing key: nobody can be acted for. */
  runs: RunDeps | null
}
export type WorkerEnv = AppEnv<WorkerDeps>

function number(env: Env, name: string, fallback: number, most: number): number {
  const value = Number(optional(env, name) ?? fallback)
  if (!(value >= 1 && value <= most))
    throw new Error(`The environment variable ${name} must be a number from 1 to ${most}.`)
  return value
}

/** WORKER_FUNCTION_SECONDS and WORKER_FUNCTION_PLACES. @throws Error naming the first that is malformed. */
export function drainSettings(env: Env): DrainSettings {
  return {
    // The wall clock of the smallest plan ends at 150 s; a step of a run may take half a minute.
    allowanceMs: number(env, 'WORKER_FUNCTION_SECONDS', 100, 3600) * 1000,
    places: Math.floor(number(env, 'WORKER_FUNCTION_PLACES', 4, 100)),
  }
}
