import type { Delivery } from '../../supabase/functions/_shared/ingestion/context.ts'
import { fireSchedule as fire } from '../../supabase/functions/_shared/schedules.ts'
import type { JobContext } from './context.ts'

/** Begins the run of a schedule that is due, or plans one. */
export async function fireSchedule(
  { ledger, log }: Pick<JobContext, 'ledger' | 'log'>,
  { id }: Delivery,
): Promise<void> {
  await fire({ ledger, log }, id)
}
