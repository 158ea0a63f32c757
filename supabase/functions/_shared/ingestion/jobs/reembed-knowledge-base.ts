import type { ReembeddingClaim } from '../../ledger.ts'
import { LeaseLostError, PermanentError } from '../failures.ts'
import { held, withLease } from '../lease.ts'
import type { Delivery, IngestionContext } from '../context.ts'
import { batches, embedderOf, embedTexts, refusedVectors } from './embed-chunks.ts'
import { settleFailure } from './settle.ts'

const ITEMS_PER_READ = 500
/** More came between reading and finishing; so often in a row it is no coincidence. */
const MAX_FRUITLESS_ROUNDS = 20
/** Fewer characters than nearly any tokenizer needs for one, so that requests stay below the limits of providers. */
const CHARACTERS_PER_TOKEN = 2

/**
 * Gives what lacks one a vector of another model, beside those that searches compare, and changes over when nothing lacks it.
 * What an earlier attempt stored stays stored; chunks that come meanwhile are found before the end. The tries of the queue are for
 * attempts that bring nothing: after one that stored something, the sweep queues what is left.
 */
export async function reembedKnowledgeBase(context: IngestionContext, delivery: Delivery): Promise<void> {
  const { ledger, log, settings } = context
  const startedAt = performance.now()
  const claim = await ledger.claimReembedding(delivery.id, settings.name, settings.leaseSeconds)
  const fields = {
    job_id: delivery.jobId,
    reembedding_id: delivery.id,
    knowledge_base_id: claim?.knowledge_base_id,
    tenant_id: claim?.tenant_id,
    attempt: claim?.attempts,
  }
  if (!claim) {
    log.info('reembedding_skipped', fields)
    return
  }
  log.info('reembedding_started', fields)
  const progress = { embedded: 0 }
  try {
    const lease = {
      kind: 'reembedding' as const,
      id: delivery.id,
      token: claim.lease_token,
      seconds: settings.leaseSeconds,
    }
    const done = await withLease(ledger, lease, delivery.signal, (signal) => embedAll(context, claim, progress, signal))
    log.info('reembedding_finished', { ...fields, ...done, duration_ms: Math.round(performance.now() - startedAt) })
  } catch (error) {
    const settled = settleFailure(error, {
      delivery,
      giveBack: ({ status, ...failure }) =>
        ledger.failReembedding(delivery.id, claim.lease_token, {
          ...failure,
          status: status === 'pending' ? 'pending' : 'failed',
        }),
      log,
      fields,
    })
    await settled.catch((again: unknown) => {
      if (progress.embedded === 0 || delivery.signal.aborted) throw again
    })
  }
}

async function embedAll(
  context: IngestionContext,
  claim: ReembeddingClaim,
  progress: { embedded: number },
  signal: AbortSignal,
) {
  const { ledger, settings } = context
  const { reembedding_id: id, lease_token: token } = claim
  if (claim.attempts > settings.maxAttempts) {
    throw new PermanentError('dead_letter', 'Embedding was begun many times and never finished.')
  }
  const embedder = embedderOf(context, claim.embedding_model)
  for (let fruitless = 0; fruitless < MAX_FRUITLESS_ROUNDS; ) {
    signal.throwIfAborted()
    const items = await ledger.readUnembedded(id, token, ITEMS_PER_READ)
    if (items === null) throw new LeaseLostError('The lease was taken over.')
    if (items.length === 0) {
      const outcome = await ledger.finishReembedding(id, token)
      if (outcome === 'lost') throw new LeaseLostError('The lease was taken over.')
      if (outcome !== 'incomplete') return { embedded_count: progress.embedded, outcome }
      fruitless++
      continue
    }
    fruitless = 0
    const sized = items.map((item) => ({ ...item, tokens: Math.ceil(item.text.length / CHARACTERS_PER_TOKEN) }))
    for (const batch of batches(sized, settings.embedBatchSize)) {
      signal.throwIfAborted()
      const timeout = AbortSignal.timeout(settings.embedTimeoutMs)
      const texts = batch.map((item) => item.text)
      const vectors = await embedTexts(embedder, texts, AbortSignal.any([signal, timeout]))
      const stored = ledger
        .storeReembedded(
          id,
          token,
          batch.map((item, index) => ({
            id: item.id,
            text_hash: item.text_hash,
            embedding: vectors[index] as number[],
          })),
        )
        .catch((error: unknown) => {
          throw refusedVectors(error, embedder)
        })
      held(await stored)
      progress.embedded += batch.length
    }
  }
  throw new Error('Something lacks a vector but cannot be read.')
}
