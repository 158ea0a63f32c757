import type { Ledger } from '../../supabase/functions/_shared/ledger.ts'
import type { ObjectStore } from '../../supabase/functions/_shared/object-store.ts'
import type { RunDeps } from '../../supabase/functions/_shared/execution/prepare.ts'
import type { Embedder } from '../../supabase/functions/_shared/providers/index.ts'
import type { WorkerSettings } from '../config.ts'
import type { Log } from '../log.ts'

/** What every job gets from outside. */
export type JobContext = {
  ledger: Ledger
  store: ObjectStore
  /** The configured one: for what has no vectors yet. */
  embedder: Embedder
  /** Whoever can embed with the model of this name, or null. */
  embedderFor: (model: string) => Embedder | null
  settings: WorkerSettings
  /** What runs of agents are carried out with; null: this worker carries out none. */
  runs: RunDeps | null
  log: Log
}

/** One delivery of a job by the queue. */
export type Delivery = {
  /** The only thing a job carries: the id of what it is about. */
  id: string
  jobId: string
  /** Aborts when the queue takes the job away or the worker stops. */
  signal: AbortSignal
  /** The latest moment of the next delivery, should this one fail; null when it is the last. */
  retryAt: () => Date | null
}
