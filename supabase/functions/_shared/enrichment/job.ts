import type { EnrichmentClaim } from '../enrichment-ledger.ts'
import { AppError } from '../errors.ts'
import type { Delivery, IngestionContext } from '../ingestion/context.ts'
import { LeaseLostError, PermanentError } from '../ingestion/failures.ts'
import { settleFailure } from '../ingestion/jobs/settle.ts'
import { held, whileRenewed } from '../ingestion/lease.ts'
import { EnrichmentLostError, enrichSources } from './carry-out.ts'
import type { EnrichmentDeps, EnrichmentShare } from './carry-out.ts'

/** What every job gets from outside, as far as this one needs it. */
type JobContext = Pick<IngestionContext, 'ledger' | 'log' | 'settings'>

/** What one delivery does. After that the rest goes to the end of the queue, so that other tenants get their turn. */
const SHARE: EnrichmentShare = { atOnce: 4, most: 40 }

/** Milliseconds after which a run that gets on is taken up again by a job of its own, once the sweep comes by. */
const PAUSE_MS = 5_000

/** What ends a run for good, with a reason that a person can read. */
const FINAL = ['enrichment_needs_model', 'membership_lost', 'budget_exceeded']

function asFailure(error: unknown): unknown {
  if (error instanceof EnrichmentLostError) return new LeaseLostError(error.message)
  if (error instanceof AppError && FINAL.includes(error.code)) {
    return new PermanentError(error.code, error.message, { cause: error })
  }
  return error
}

/**
 * Has a model fill in the fields of a knowledge base for its sources, one by one, in the name of whoever asked for it. What is
 * stored is not asked again when the job is delivered anew. The queue gives up a run that gets nowhere: a delivery that has stored
 * something ends its job, and the next one has all deliveries before it.
 */
export const enrichKnowledgeBase =
  (deps: EnrichmentDeps, share: EnrichmentShare = SHARE) =>
  async (context: JobContext, delivery: Delivery): Promise<void> => {
    const { ledger, log, settings } = context
    const startedAt = performance.now()
    const claim = await ledger.claimEnrichment(delivery.id, settings.name, settings.leaseSeconds)
    const fields = {
      job_id: delivery.jobId,
      enrichment_id: delivery.id,
      knowledge_base_id: claim?.knowledge_base_id,
      tenant_id: claim?.tenant_id,
      attempt: claim?.attempts,
    }
    if (!claim) {
      log.info('enrichment_skipped', fields)
      return
    }
    log.info('enrichment_started', fields)
    let isGettingOn = false
    const onStored = () => (isGettingOn = true)
    try {
      const done = await work(deps, context, claim, share, delivery.signal, onStored)
      log.info('enrichment_finished', { ...fields, ...done, duration_ms: Math.round(performance.now() - startedAt) })
    } catch (error) {
      const reason = asFailure(error)
      const isPaused = isGettingOn && !delivery.signal.aborted
      const settled = settleFailure(reason, {
        delivery: isPaused ? { ...delivery, retryAt: () => new Date(Date.now() + PAUSE_MS) } : delivery,
        giveBack: ({ status, ...failure }) =>
          ledger.failEnrichment(claim, { ...failure, status: status === 'pending' ? 'pending' : 'failed' }),
        log,
        fields,
      })
      await settled.catch((thrown: unknown) => {
        if (!isPaused || thrown !== reason) throw thrown
      })
    }
  }

async function work(
  deps: EnrichmentDeps,
  { settings }: JobContext,
  claim: EnrichmentClaim,
  share: EnrichmentShare,
  parent: AbortSignal,
  onStored: () => void,
) {
  if (claim.attempts > settings.maxAttempts) {
    throw new PermanentError('dead_letter', 'Enrichment was begun many times and got nowhere.')
  }
  const { ledger } = deps
  const renew = () => ledger.renewEnrichmentLease(claim, settings.leaseSeconds)
  return await whileRenewed(renew, settings.leaseSeconds, parent, async (signal) => {
    const { asked, isDone } = await enrichSources(deps, claim, share, signal, onStored)
    held(isDone ? await ledger.finishEnrichment(claim) : await ledger.yieldEnrichment(claim))
    return { asked_count: asked, is_done: isDone }
  })
}

/** Marks as failed what the queue has given up on. What the last attempt said is kept as the reason. */
export async function noteDeadEnrichment({ ledger, log }: JobContext, { id, jobId }: Delivery): Promise<void> {
  const marked = await ledger.markDeadEnrichment(id, 'Enrichment failed repeatedly. Run it again later.')
  log.error('dead_letter', { job_id: jobId, kind: 'enrichment', id, marked })
}
