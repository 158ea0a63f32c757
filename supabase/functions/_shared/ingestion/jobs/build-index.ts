import { AppError } from '../../errors.ts'
import type { IndexingClaim, StoredPage } from '../../ledger.ts'
import { chunkOptionsFrom } from '../chunk/chunk.ts'
import { rehash } from '../chunk/hash.ts'
import type { HashedChunk } from '../chunk/hash.ts'
import type { IngestionContext } from '../context.ts'
import { ExtractionFailure } from '../extract/failure.ts'
import { LeaseLostError, SupersededError } from '../failures.ts'
import { held } from '../lease.ts'
import { strategyOf } from '../strategies/index.ts'
import { keptAnswers } from '../strategies/kept-answers.ts'
import { canAsk, indexingModel } from '../strategies/model.ts'
import type { Outcome } from '../strategies/model.ts'
import type { IndexingModel } from '../strategies/strategy.ts'
import { batches, embedBatch, embedderOf, refusedVectors } from './embed-chunks.ts'

const PAGES_PER_READ = 100
/** Chunks that a model is asked about before they are staged: what a restart asks again at most. */
const CHUNKS_PER_ANNOTATION = 16
/** Chunks that a strategy adds to those of a document. */
const MAX_ADDED_CHUNKS = 1

/** One attempt to index a document. */
export type IndexingAttempt = { claim: IndexingClaim; isLastTry: boolean; signal: AbortSignal }

/**
 * Divides a document, has the strategy of its knowledge base add to it, embeds what no earlier attempt has staged, and swaps
 * everything in.
 * @returns its numbers, as `stats` of the indexed source has them.
 * @throws ExtractionFailure `empty_document` and the like, LeaseLostError, SupersededError, PermanentError, AppError what a
 * provider or the database refuses; the reason of a stop.
 */
export async function buildIndex(context: IngestionContext, attempt: IndexingAttempt) {
  const { ledger, settings, workshop } = context
  const { claim, signal } = attempt
  const { indexed_source_id: id, lease_token: token, indexing_config: config } = claim
  const embedder = embedderOf(context, claim.embedding_model)
  const outcome: Outcome = { counts: {}, notes: new Set() }
  const asked = strategyOf(config)
  const strategy = asked === null || canAsk(context.chat, asked, outcome) ? asked : null
  const model = strategy && indexingModel({ ...context, ...attempt, outcome })

  const pages = await readAllPages(context, claim, signal)
  const chunks = await divide()
  if (chunks.length === 0) throw new ExtractionFailure('empty_document', 'This document contains no text.')

  const staged = new Map(
    (await ledger.readStagedChunks(id, token))
      .filter((chunk) => chunk.embedding_model === embedder.model)
      .map((chunk) => [chunk.chunk_index, chunk.content_hash]),
  )
  const missing = chunks.filter((chunk) => staged.get(chunk.chunk_index) !== chunk.content_hash)
  const annotate = strategy?.annotate
  const size = annotate ? Math.min(settings.embedBatchSize, CHUNKS_PER_ANNOTATION) : settings.embedBatchSize
  for (const batch of batches(missing, size)) {
    signal.throwIfAborted()
    const annotated = annotate ? await annotate(batch, chunks, model as IndexingModel, signal) : batch
    const timeout = AbortSignal.timeout(settings.embedTimeoutMs)
    const embedded = await embedBatch(embedder, annotated, AbortSignal.any([signal, timeout]))
    held(await ledger.stageChunks(id, token, embedded, embedder.model))
  }

  signal.throwIfAborted()
  const counts: Record<string, number> = {
    chunk_count: chunks.length,
    token_count: chunks.reduce((sum, chunk) => sum + chunk.tokens, 0),
    reused_count: chunks.length - missing.length,
    ...outcome.counts,
  }
  const stats = outcome.notes.size === 0 ? counts : { ...counts, notes: [...outcome.notes] }
  const isFinished = ledger.finishIndexing(id, token, chunks.length, embedder.model, stats).catch((error: unknown) => {
    if (!(error instanceof AppError) || error.code !== 'conflict') throw refusedVectors(error, embedder)
    throw new SupersededError('The knowledge base has changed its embedding model. We try again by ourselves.', {
      cause: error,
    })
  })
  held(await isFinished)
  return counts

  async function divide(): Promise<HashedChunk[]> {
    if (strategy?.divide) {
      return strategy.divide(pages, model as IndexingModel, await keptAnswers(ledger, claim, 1), signal)
    }
    const divided = await workshop.chunk(pages, chunkOptionsFrom(config), signal)
    if (strategy?.extend) {
      const answers = await keptAnswers(ledger, claim, divided.length + MAX_ADDED_CHUNKS)
      return [...divided, ...(await strategy.extend(pages, divided, model as IndexingModel, answers, signal))]
    }
    return strategy ? divided.map((chunk) => rehash(chunk, strategy.settings)) : divided
  }
}

async function readAllPages(
  { ledger }: IngestionContext,
  { indexed_source_id: id, lease_token: token, page_count: count }: IndexingClaim,
  signal: AbortSignal,
): Promise<StoredPage[]> {
  const all: StoredPage[] = []
  while (all.length < count) {
    signal.throwIfAborted()
    const next = await ledger.readPages(id, token, (all.at(-1)?.page_number ?? 0) + 1, PAGES_PER_READ)
    // Pages are given to the holder of the lease only.
    if (next.length === 0) throw new LeaseLostError('The lease was taken over.')
    all.push(...next)
  }
  return all
}
