import type { StagedChunk } from '../../supabase/functions/_shared/ledger.ts'
import type { Embedder } from '../../supabase/functions/_shared/providers/index.ts'
import type { HashedChunk } from '../chunk/hash.ts'
import { PermanentError } from '../failures.ts'

/** Providers limit the tokens of one request too (300,000 with OpenAI); ours are estimates. */
const TOKENS_PER_REQUEST = 100_000

/** Groups chunks for one request each: at most `size` of them, and not too much text. */
export function batches(chunks: HashedChunk[], size: number): HashedChunk[][] {
  const groups: HashedChunk[][] = []
  let group: HashedChunk[] = []
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
 * Embeds one batch.
 * @throws PermanentError `embedding_invalid` when the provider answers with anything but one finite vector for each text.
 */
export async function embedBatch(
  embedder: Embedder,
  batch: HashedChunk[],
  signal: AbortSignal,
): Promise<StagedChunk[]> {
  const vectors = await embedder.embed(
    batch.map((chunk) => chunk.embedded),
    signal,
  )
  const dimensions = embedder.dimensions || vectors[0]?.length
  const valid =
    vectors.length === batch.length &&
    vectors.every((vector) => vector.length === dimensions && vector.every((value) => Number.isFinite(value)))
  if (!valid) {
    throw new PermanentError(
      'embedding_invalid',
      `The embedding model ${embedder.model} gave no usable answer. Whoever runs this installation has to look at its settings.`,
    )
  }
  return batch.map(({ embedded: _, ...chunk }, index) => ({ ...chunk, embedding: vectors[index] as number[] }))
}
