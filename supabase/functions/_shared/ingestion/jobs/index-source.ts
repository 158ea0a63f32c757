import { PermanentError } from '../failures.ts'
import { withLease } from '../lease.ts'
import type { Delivery, IngestionContext } from '../context.ts'
import { buildIndex } from './build-index.ts'
import { settleFailure } from './settle.ts'

/**
 * Makes one source searchable in one knowledge base: chunks its pages, embeds them in batches that are kept aside, and
 * swaps them in when all are there. What an earlier attempt embedded with the same model, and what it was told by a language
 * model, is used again.
 */
export async function indexSource(context: IngestionContext, delivery: Delivery): Promise<void> {
  const { ledger, log, settings } = context
  const startedAt = performance.now()
  const claim = await ledger.claimIndexing(delivery.id, settings.name, settings.leaseSeconds)
  const fields = {
    job_id: delivery.jobId,
    indexed_source_id: delivery.id,
    source_id: claim?.source_id,
    tenant_id: claim?.tenant_id,
    attempt: claim?.attempts,
  }
  if (!claim) {
    log.info('indexing_skipped', fields)
    return
  }
  log.info('indexing_started', fields)
  try {
    if (claim.attempts > settings.maxAttempts) {
      throw new PermanentError('dead_letter', 'Indexing this document was begun many times and never finished.')
    }
    const lease = {
      kind: 'indexing' as const,
      id: delivery.id,
      token: claim.lease_token,
      seconds: settings.leaseSeconds,
    }
    const isLastTry = delivery.retryAt() === null
    const counts = await withLease(ledger, lease, delivery.signal, (signal) =>
      buildIndex(context, { claim, isLastTry, signal }),
    )
    log.info('indexing_finished', { ...fields, ...counts, duration_ms: Math.round(performance.now() - startedAt) })
  } catch (error) {
    await settleFailure(error, {
      delivery,
      giveBack: ({ status, ...failure }) =>
        ledger.failIndexing(delivery.id, claim.lease_token, {
          ...failure,
          status: status === 'pending' ? 'pending' : 'failed',
        }),
      log,
      fields,
    })
  }
}
