import type { AppEnv, Deps } from '../_shared/context.ts'
import { optional, type Env } from '../_shared/env.ts'
import type { RunDeps } from '../_shared/execution/prepare.ts'
import type { IngestionContext } from '../_shared/ingestion/context.ts'
import { createInProcessWorkshop, type InProcessLimits } from '../_shared/ingestion/in-process.ts'
import { wantsPageImages } from '../_shared/ingestion/wants-page-images.ts'
import { objectStoreFromEnv } from '../_shared/object-store.ts'
import type { Providers } from '../_shared/providers/index.ts'
import type { Ingestion } from './jobs.ts'

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
  /** What documents are read and indexed with; null without a store of objects. */
  ingestion: Ingestion | null
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

/** As in leases: of which of these executors one was. */
const HOLDER = 'function:'

/** What fits into a process of 256 MB beside the libraries, and between two cold starts. */
const LIMITS: InProcessLimits = {
  maxBytes: 20 * 1024 * 1024,
  maxPages: 2_000,
  maxCharacters: 3_000_000,
  maxCells: 300_000,
  maxDecompressedBytes: 60 * 1024 * 1024,
  timeoutMs: 60_000,
}

/**
 * What the ingestion needs. `WORKER_FUNCTION_MAX_BYTES`: larger documents are left to a worker.
 * @returns null where no store of objects is named. @throws Error naming a malformed variable.
 */
export function ingestionFromEnv(
  env: Env,
  { ledger, log }: Deps,
  { chat, embedder, embedderFor }: Pick<Providers, 'chat' | 'embedder' | 'embedderFor'>,
): Ingestion | null {
  if (optional(env, 'S3_ENDPOINT') === undefined) return null
  const store = objectStoreFromEnv(env)
  const maxBytes = Math.floor(number(env, 'WORKER_FUNCTION_MAX_BYTES', LIMITS.maxBytes, 1024 ** 3))
  const context: IngestionContext = {
    ledger,
    log: {
      info: (event, fields = {}) => log.info(event, fields),
      error: (event, fields = {}) => log.error(event, fields),
    },
    store,
    embedder,
    embedderFor,
    chat,
    settings: {
      name: `${HOLDER}${crypto.randomUUID()}`,
      leaseSeconds: 30,
      maxAttempts: 10,
      embedBatchSize: 64,
      embedTimeoutMs: 60_000,
      // Nothing is drawn here; whoever wants images has a worker that does it.
      rendersPages: wantsPageImages(env),
    },
    workshop: createInProcessWorkshop(store, { ...LIMITS, maxBytes }, (holder) => holder.startsWith(HOLDER)),
  }
  return { context, maxBytes }
}
