import type { LeaseKind } from '../../supabase/functions/_shared/ledger.ts'
import type { Delivery, JobContext } from './context.ts'

/** Marks as failed what the queue has given up on. What the last attempt said is kept as the reason. */
export const markDeadLetter =
  (kind: LeaseKind) =>
  async ({ ledger, log }: JobContext, { id, jobId }: Delivery): Promise<void> => {
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
 * The job of a run has failed again and again, e.g. because no database answered. The run itself waits on: executors look for
 * runs that are due without a job, too, and `claim_run` ends one that was taken up ten times in vain.
 */
export async function noteDeadRun({ log }: Pick<JobContext, 'log'>, { id, jobId }: Delivery): Promise<void> {
  log.error('dead_letter', { job_id: jobId, kind: 'run', id })
}

/** An object that could not be removed for days: the job goes back to its queue, so that nothing stays behind for good. */
export async function retryRemoval({ ledger, log }: JobContext, { id, jobId }: Delivery): Promise<void> {
  await ledger.enqueue('remove_object', { id }, id)
  log.error('dead_letter', { job_id: jobId, kind: 'removal', id })
}
