import type { PlainLog } from '../../errors.ts'
import type { LeaseKind } from '../../ledger.ts'
import type { Delivery, IngestionContext } from '../context.ts'

/** Marks as failed what the queue has given up on. What the last attempt said is kept as the reason. */
export const markDeadLetter =
  (kind: LeaseKind) =>
  async ({ ledger, log }: IngestionContext, { id, jobId }: Delivery): Promise<void> => {
    const marked = await ledger.markDeadLetter(
      kind,
      id,
      kind === 'reembedding'
        ? 'Embedding failed repeatedly. Ask for it again later.'
        : 'Processing failed repeatedly. Try again later or upload the document anew.',
    )
    log.error('dead_letter', { job_id: jobId, kind, id, marked })
  }

/**
 * A job has failed again and again, e.g. because no database answered. What it was about waits on: executors look for runs that
 * are due without a job, too, and `claim_run` ends one that was taken up ten times in vain; sweeps queue schedules again that are
 * due, and sweeps that are due are queued again themselves.
 */
export const noteDeadLetter =
  (kind: 'run' | 'schedule' | 'sweep') =>
  ({ log }: { log: PlainLog }, { id, jobId }: Pick<Delivery, 'id' | 'jobId'>): Promise<void> => {
    log.error('dead_letter', { job_id: jobId, kind, id })
    return Promise.resolve()
  }

/** An object that could not be removed for days: the job goes back to its queue, so that nothing stays behind for good. */
export async function retryRemoval({ ledger, log }: IngestionContext, { id, jobId }: Delivery): Promise<void> {
  await ledger.enqueue('remove_object', { id }, id)
  log.error('dead_letter', { job_id: jobId, kind: 'removal', id })
}
