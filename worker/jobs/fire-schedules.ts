import { describeError } from '../../supabase/functions/_shared/errors.ts'
import { fireDueSchedules } from '../../supabase/functions/_shared/schedules.ts'
import type { JobContext } from './context.ts'

/** Begins the runs of schedules that are due. A failure is logged; what was due stays due. */
export async function fireSchedules({ ledger, log }: Pick<JobContext, 'ledger' | 'log'>): Promise<void> {
  try {
    await fireDueSchedules({ ledger, log })
  } catch (error) {
    log.error('schedules_failed', { error: describeError(error) })
  }
}
