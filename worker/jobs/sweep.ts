import { describeError } from '../../supabase/functions/_shared/errors.ts'
import type { Delivery } from '../../supabase/functions/_shared/ingestion/context.ts'
import { runSweep, type SweepSettings } from '../../supabase/functions/_shared/sweeps.ts'
import type { JobContext } from './context.ts'

type Context = Pick<JobContext, 'ledger' | 'log' | 'settings'>

/** Nobody queues pages to be drawn where nobody draws any. */
const sweepSettings = ({ rendersPages, graphBuildFrom, graphRetireBelow }: JobContext['settings']): SweepSettings => ({
  leaves: rendersPages ? [] : ['requeue_page_renderings'],
  graphBuildFrom,
  graphRetireBelow,
})

/** Has the database queue the sweeps that are due. A failure is logged: they are due the next time. */
export async function queueSweeps({ ledger, log, settings }: Context): Promise<void> {
  try {
    await ledger.queueDueSweeps(settings.sweepSeconds, sweepSettings(settings).leaves)
  } catch (error) {
    log.error('sweeps_not_queued', { error: describeError(error) })
  }
}

/** Does the sweep that a job is about. */
export async function sweep(
  { ledger, log, settings }: Context,
  delivery: Pick<Delivery, 'id' | 'jobId'>,
): Promise<void> {
  await runSweep({ ledger, log }, delivery, sweepSettings(settings))
}
