import type { Env } from '../env.ts'
import { optional } from '../env.ts'

/** How a process carries out runs. */
export type RunSettings = {
  /** Names this process in leases. */
  executor: string
  /** How long a lease lasts without renewal: about as long a run stands still when its executor dies. */
  leaseSeconds: number
  /** Milliseconds after which a stream ends itself, before the wall-clock limit of the platform does it. */
  streamLimitMs: number
}

/** Deps of what carries out runs. */
export type WithRuns = { runs: RunSettings }

function seconds(env: Env, name: string, fallback: number): number {
  const value = Number(optional(env, name) ?? fallback)
  if (!(value >= 1 && value <= 3600)) {
    throw new Error(`The environment variable ${name} must be a number of seconds from 1 to 3600.`)
  }
  return value
}

/**
 * The settings of this deployment: RUN_LEASE_SECONDS and STREAM_LIMIT_SECONDS.
 * @throws Error naming the first variable that is malformed.
 */
export function runSettings(env: Env, executor: string): RunSettings {
  return {
    executor,
    leaseSeconds: seconds(env, 'RUN_LEASE_SECONDS', 6),
    streamLimitMs: seconds(env, 'STREAM_LIMIT_SECONDS', 140) * 1000,
  }
}
