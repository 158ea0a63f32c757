import { describeError } from '../../errors.ts'
import type { Failure } from '../../ledger.ts'
import { classify, LeaseLostError } from '../failures.ts'
import type { Log, LogFields } from '../context.ts'
import type { Delivery } from '../context.ts'

type AnyFailure = Failure<'failed' | 'attention_required' | 'pending'>

/** Events that both kinds of ingestion log. */
export type SettleOptions = {
  delivery: Delivery
  /** Gives the lease back with a reason. */
  giveBack: (failure: AnyFailure) => Promise<boolean>
  log: Log
  fields: LogFields
}

/**
 * Records why work failed. Returns when the matter is settled: a final verdict, or a lease that somebody else holds now.
 * @throws the error itself when the queue shall deliver the job again.
 */
export async function settleFailure(error: unknown, { delivery, giveBack, log, fields }: SettleOptions): Promise<void> {
  if (error instanceof LeaseLostError || delivery.signal.reason instanceof LeaseLostError) {
    log.info('lease_lost', fields)
    return
  }
  const verdict = classify(delivery.signal.aborted ? delivery.signal.reason : error)
  const nextRetryAt = verdict.status === 'pending' ? delivery.retryAt() : null
  log.error('work_failed', {
    ...fields,
    status: verdict.status,
    error_code: verdict.errorCode,
    reason_code: verdict.reasonCode,
    next_retry_at: nextRetryAt?.toISOString(),
    ...(verdict.errorCode === 'permanent' || verdict.errorCode === 'no_content' ? {} : { error: describeError(error) }),
  })
  const recorded = await giveBack({ ...verdict, ...(nextRetryAt ? { nextRetryAt } : {}) })
  if (recorded && verdict.status === 'pending') throw error
}
