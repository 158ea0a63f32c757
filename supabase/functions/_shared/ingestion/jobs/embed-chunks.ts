import { AppError } from '../../errors.ts'
import type { StagedChunk } from '../../ledger.ts'
import type { Embedder } from '../../providers/index.ts'
import type { HashedChunk } from '../chunk/hash.ts'
import { PermanentError } from '../failures.ts'
import type { IngestionContext } from '../context.ts'

/** Providers limit the tokens of one request too (300,000 with OpenAI); ours are estimates. */
const TOKENS_PER_REQUEST = 100_000

/** Groups texts for one request each: at most `size` of them, and not too much text. */
export function batches<T extends { tokens: number }>(chunks: T[], size: number): T[][] {
  const groups: T[][] = []
  let group: T[] = []
  let tokens = 0
  for (const chunk of chunks) {
    if (group.length > 0 && (group.length >= size || tokens + chunk.tokens > TOKENS_PER_REQUEST)) {
      groups.push(group)
      group = []
      tokens = 0
    }
    group.push(chunk)
    tokens += chunk.tokens
  }
  if (group.length > 0) groups.push(group)
  return groups
}

/**
 * The embedder for a model that vectors are there of, or for null the configured one.
 * @throws PermanentError `model_unavailable` when nobody here can embed with it.
 */
export function embedderOf(
  { embedder, embedderFor }: Pick<IngestionContext, 'embedder' | 'embedderFor'>,
  model: string | null,
): Embedder {
  if (model === null || model === embedder.model) return embedder
  const other = embedderFor(model)
  if (other) return other
  throw new PermanentError(
    'model_unavailable',
    `Nobody here can embed with ${model}. Whoever runs this installation has to provide it, or another model has to be chosen.`,
  )
}

/**
 * One vector per text, in the order given.
 * @throws PermanentError `embedding_invalid` when the provider answers with anything but one finite vector for each text.
 */
export async function embedTexts(embedder: Embedder, texts: string[], signal: AbortSignal): Promise<number[][]> {
  const vectors = await embedder.embed(texts, signal)
  const dimensions = embedder.dimensions || vectors[0]?.length
  const valid =
    vectors.length === texts.length &&
    vectors.every((vector) => vector.length === dimensions && vector.every((value) => Number.isFinite(value)))
  if (!valid) throw unusable(embedder)
  return vectors
}

/** Embeds one batch of new chunks. */
export async function embedBatch(
  embedder: Embedder,
  batch: HashedChunk[],
  signal: AbortSignal,
): Promise<StagedChunk[]> {
  const vectors = await embedTexts(
    embedder,
    batch.map((chunk) => chunk.embedded),
    signal,
  )
  return batch.map(({ embedded, ...chunk }, index) => ({
    ...chunk,
    context: embedded.slice(0, -chunk.text.length).trimEnd(),
    embedding: vectors[index] as number[],
  }))
}

/** The refusal of the database to store vectors of another length than the model's others, as what it is: final. */
export function refusedVectors(error: unknown, embedder: Embedder): unknown {
  const { code } = Object(error instanceof AppError ? error.cause : null) as { code?: unknown }
  return code === '22023' ? unusable(embedder, error) : error
}

function unusable(embedder: Embedder, cause?: unknown): PermanentError {
  return new PermanentError(
    'embedding_invalid',
    `The embedding model ${embedder.model} gave no usable answer. Whoever runs this installation has to look at its settings.`,
    { cause },
  )
}
