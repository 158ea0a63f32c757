import { AppError } from '../../errors.ts'
import type { IndexingClaim, StoredPage } from '../../ledger.ts'
import { chunkOptionsFrom } from '../chunk/chunk.ts'
import { ExtractionFailure } from '../extract/failure.ts'
import { LeaseLostError, PermanentError, SupersededError } from '../failures.ts'
import { held, withLease } from '../lease.ts'
import type { Delivery, IngestionContext } from '../context.ts'
import { batches, embedBatch, embedderOf, refusedVectors } from './embed-chunks.ts'
import { settleFailure } from './settle.ts'

const PAGES_PER_READ = 100

/**
 * Makes one source searchable in one knowledge base: chunks its pages, embeds them in batches that are kept aside, and
 * swaps them in when all are there. What an earlier attempt embedded with the same model is used again.
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
    const counts = await withLease(ledger, lease, delivery.signal, (signal) => buildIndex(context, claim, signal))
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

async function buildIndex(context: IngestionContext, claim: IndexingClaim, signal: AbortSignal) {
  const { ledger, settings, workshop } = context
  const embedder = embedderOf(context, claim.embedding_model)
  const { indexed_source_id: id, lease_token: token } = claim
  const pages = await readAllPages()
  const chunks = await workshop.chunk(pages, chunkOptionsFrom(claim.indexing_config), signal)
  if (chunks.length === 0) throw new ExtractionFailure('empty_document', 'This document contains no text.')

  const staged = new Map(
    (await ledger.readStagedChunks(id, token))
      .filter((chunk) => chunk.embedding_model === embedder.model)
      .map((chunk) => [chunk.chunk_index, chunk.content_hash]),
  )
  const missing = chunks.filter((chunk) => staged.get(chunk.chunk_index) !== chunk.content_hash)
  for (const batch of batches(missing, settings.embedBatchSize)) {
    signal.throwIfAborted()
    const timeout = AbortSignal.timeout(settings.embedTimeoutMs)
    const embedded = await embedBatch(embedder, batch, AbortSignal.any([signal, timeout]))
    held(await ledger.stageChunks(id, token, embedded, embedder.model))
  }

  signal.throwIfAborted()
  const stats = {
    chunk_count: chunks.length,
    token_count: chunks.reduce((sum, chunk) => sum + chunk.tokens, 0),
    reused_count: chunks.length - missing.length,
  }
  const isFinished = ledger.finishIndexing(id, token, chunks.length, embedder.model, stats).catch((error: unknown) => {
    if (!(error instanceof AppError) || error.code !== 'conflict') throw refusedVectors(error, embedder)
    throw new SupersededError('The knowledge base has changed its embedding model. We try again by ourselves.', {
      cause: error,
    })
  })
  held(await isFinished)
  return stats

  async function readAllPages(): Promise<StoredPage[]> {
    const all: StoredPage[] = []
    while (all.length < claim.page_count) {
      signal.throwIfAborted()
      const next = await ledger.readPages(id, token, (all.at(-1)?.page_number ?? 0) + 1, PAGES_PER_READ)
      // Pages are given to the holder of the lease only.
      if (next.length === 0) throw new LeaseLostError('The lease was taken over.')
      all.push(...next)
    }
    return all
  }
}
