import { hostname } from 'node:os'
import { optional, required, type Env } from '../supabase/functions/_shared/env.ts'
import { DEFAULT_LIMITS, type ExtractLimits } from '../supabase/functions/_shared/ingestion/extract/limits.ts'
import { wantsPageImages } from '../supabase/functions/_shared/ingestion/wants-page-images.ts'
import { DEFAULT_RENDER_LIMITS, type RenderLimits } from './extract/render-limits.ts'

/** Settings of the worker; each has an environment variable, and a default that suits a small machine. */
export type WorkerSettings = {
  databaseUrl: string
  /** Connections of the queue. One is enough, and all that an embedded database offers; with a few, upkeep of the queue keeps no job waiting. */
  poolSize: number
  /** Names this process in leases. */
  name: string
  /** Sources worked on at once, per queue. */
  concurrency: number
  /** How long a lease lasts without renewal: the longest a source waits after its worker died. */
  leaseSeconds: number
  /** How often sweeps that are due are queued. */
  sweepSeconds: number
  /** How often jobs of schedules whose time has come are looked for. */
  scheduleSeconds: number
  /** Runs of agents carried out at once. */
  runConcurrency: number
  /** Whether tenants that have a run here get fewer of those places while the ledger answers slowly. */
  runAdaptive: boolean
  /** How often runs that nobody is at are looked for, besides the queue's word. */
  runSeconds: number
  /** How often the queue looks for jobs whose worker died. */
  superviseSeconds: number
  /** How often the queue is asked, besides its notifications. */
  pollSeconds: number
  /** How long a stopping worker lets work in progress run before handing it back. */
  stopGraceMs: number
  /** Begun so often without an end, a source is given up: it kills its worker. */
  maxAttempts: number
  /** Texts per embedding request. */
  embedBatchSize: number
  embedTimeoutMs: number
  /** Chunks of one model that a whole tenant sees, from which on they get a graph of their own; below, every search compares all of them. */
  graphBuildFrom: number
  /** Below so many the graph is given up again. Less than `graphBuildFrom`, so that a set at the edge does not go back and forth. */
  graphRetireBelow: number
  limits: ExtractLimits
  /** Whether pages of PDFs are drawn, and what that may take. */
  rendersPages: boolean
  renderLimits: RenderLimits
}

function number(env: Env, name: string, fallback: number, least = 1, most = Infinity): number {
  const text = optional(env, name)
  if (text === undefined) return fallback
  const value = Number(text)
  if (!Number.isFinite(value) || value < least)
    throw new Error(`The environment variable ${name} must be a number of at least ${least}.`)
  if (value > most) throw new Error(`The environment variable ${name} must be a number of at most ${most}.`)
  return value
}

/** @returns the value of a variable that has only these; the first is the default. */
function choice(env: Env, name: string, values: readonly [string, ...string[]]): string {
  const value = optional(env, name) ?? values[0]
  if (!values.includes(value)) throw new Error(`The environment variable ${name} must be ${values.join(' or ')}.`)
  return value
}

/** Reads the settings. @throws Error naming the first variable that is missing or malformed. */
export function workerSettings(env: Env): WorkerSettings {
  return {
    databaseUrl: optional(env, 'DATABASE_URL') ?? optional(env, 'SUPABASE_DB_URL') ?? required(env, 'DATABASE_URL'),
    poolSize: number(env, 'WORKER_DB_POOL', 3),
    name: optional(env, 'WORKER_NAME') ?? `${hostname()}:${process.pid}`,
    concurrency: number(env, 'WORKER_CONCURRENCY', 2),
    leaseSeconds: number(env, 'WORKER_LEASE_SECONDS', 30),
    sweepSeconds: number(env, 'WORKER_SWEEP_SECONDS', 15),
    scheduleSeconds: number(env, 'WORKER_SCHEDULE_SECONDS', 5, 0.5),
    runConcurrency: number(env, 'WORKER_RUN_CONCURRENCY', 8),
    runAdaptive: choice(env, 'WORKER_RUN_ADAPTIVE', ['on', 'off']) === 'on',
    runSeconds: number(env, 'WORKER_RUN_SECONDS', 1.5, 0.1),
    superviseSeconds: number(env, 'WORKER_SUPERVISE_SECONDS', 5),
    pollSeconds: number(env, 'WORKER_POLL_SECONDS', 2, 0.5),
    stopGraceMs: number(env, 'WORKER_STOP_GRACE_MS', 2_000, 0),
    maxAttempts: number(env, 'WORKER_MAX_ATTEMPTS', 10),
    embedBatchSize: number(env, 'WORKER_EMBED_BATCH_SIZE', 64),
    embedTimeoutMs: number(env, 'WORKER_EMBED_TIMEOUT_MS', 60_000),
    graphBuildFrom: number(env, 'WORKER_GRAPH_BUILD_FROM', 4_000),
    graphRetireBelow: number(env, 'WORKER_GRAPH_RETIRE_BELOW', 2_500, 0),
    limits: {
      maxBytes: number(env, 'WORKER_MAX_BYTES', DEFAULT_LIMITS.maxBytes),
      maxPages: number(env, 'WORKER_MAX_PAGES', DEFAULT_LIMITS.maxPages),
      maxCharacters: number(env, 'WORKER_MAX_CHARACTERS', DEFAULT_LIMITS.maxCharacters),
      maxCells: DEFAULT_LIMITS.maxCells,
      maxDecompressedBytes: number(env, 'WORKER_MAX_DECOMPRESSED_BYTES', DEFAULT_LIMITS.maxDecompressedBytes),
      timeoutMs: number(env, 'WORKER_EXTRACT_TIMEOUT_MS', DEFAULT_LIMITS.timeoutMs),
      memoryMb: number(env, 'WORKER_EXTRACT_MEMORY_MB', DEFAULT_LIMITS.memoryMb, 64),
    },
    rendersPages: wantsPageImages(env),
    renderLimits: {
      ...DEFAULT_RENDER_LIMITS,
      dpi: number(env, 'PAGE_IMAGE_DPI', DEFAULT_RENDER_LIMITS.dpi, 36, 300),
      maxPages: Math.floor(number(env, 'PAGE_IMAGE_MAX_PAGES', DEFAULT_RENDER_LIMITS.maxPages, 1, 2_000)),
      maxBytes: number(env, 'WORKER_MAX_BYTES', DEFAULT_RENDER_LIMITS.maxBytes),
      timeoutMs: number(env, 'WORKER_EXTRACT_TIMEOUT_MS', DEFAULT_RENDER_LIMITS.timeoutMs),
      memoryMb: number(env, 'WORKER_EXTRACT_MEMORY_MB', DEFAULT_RENDER_LIMITS.memoryMb, 64),
    },
  }
}
