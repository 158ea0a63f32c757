import { describeError } from '../../errors.ts'
import { classify, WorkerStoppedError } from '../failures.ts'
import type { Delivery, IngestionContext } from '../context.ts'
import { embedderOf, embedTexts, refusedVectors } from './embed-chunks.ts'

/** A text that changes again and again while it is being embedded is left to the job of its last change. */
const MAX_ROUNDS = 3

/**
 * Embeds a new or changed memory. A vector of a text, or of a model, that is no longer the one in use counts for nothing and
 * is made again. What cannot be embedded is logged; the sweep comes back to it.
 * @throws the error when the queue shall deliver the job again.
 */
export async function embedMemory(context: IngestionContext, { id, jobId, signal }: Delivery): Promise<void> {
  const { ledger, log, settings } = context
  const fields = { job_id: jobId, memory_id: id }
  try {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const claim = await ledger.claimMemory(id)
      if (!claim) return
      const embedder = embedderOf(context, claim.embedding_model)
      const timeout = AbortSignal.timeout(settings.embedTimeoutMs)
      const [embedding] = await embedTexts(embedder, [claim.body], AbortSignal.any([signal, timeout]))
      const stored = await ledger
        .storeMemoryVector(id, claim.body_hash, embedder.model, embedding as number[])
        .catch((error: unknown) => {
          throw refusedVectors(error, embedder)
        })
      if (stored) {
        log.info('memory_embedded', { ...fields, tenant_id: claim.tenant_id })
        return
      }
    }
  } catch (error) {
    const verdict = classify(signal.aborted ? signal.reason : error)
    if (!(signal.reason instanceof WorkerStoppedError)) {
      log.error('work_failed', {
        ...fields,
        status: verdict.status,
        error_code: verdict.errorCode,
        reason_code: verdict.reasonCode,
        error: describeError(error),
      })
    }
    if (verdict.status === 'pending') throw error
  }
}
