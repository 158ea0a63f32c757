import type { RunDeps } from '../../supabase/functions/_shared/execution/prepare.ts'
import type { IngestionContext } from '../../supabase/functions/_shared/ingestion/context.ts'
import type { WorkerSettings } from '../config.ts'

export type { Delivery } from '../../supabase/functions/_shared/ingestion/context.ts'

/** What every job of the worker gets from outside. */
export type JobContext = IngestionContext & {
  settings: WorkerSettings
  /** What runs of agents are carried out with; null: this worker carries out none. */
  runs: RunDeps | null
}
