import type OpenAI from 'openai'
import type { Env } from '../env.ts'
import { optional } from '../env.ts'
import { AppError } from '../errors.ts'
import type { Embedder, OnUsage } from './index.ts'
import type { OpenAiTimeouts } from './openai-client.ts'
import { createSdk, providerError } from './openai-client.ts'
import { isCount } from './usage.ts'

const DEFAULT_EMBEDDING_MODEL = 'text-embedding-3-small'
const EMBEDDING_BATCH = 64

/** Dimensions that the database can keep. */
const MAX_DIMENSIONS = 16_000

/** A vector as a server sent it, which may be anything, with unit length. */
function unitVector(vector: readonly number[]): number[] {
  let sum = 0
  for (const component of vector) sum += typeof component === 'number' ? component * component : NaN
  const norm = Math.sqrt(sum)
  if (!Number.isFinite(norm) || norm === 0 || vector.length > MAX_DIMENSIONS) {
    throw new AppError('upstream_failed', 'The embedding provider sent a vector that cannot be used.')
  }
  return vector.map((component) => component / norm)
}

/** Vectors in the order of the texts. Servers that number none of them, or all alike, send them in it. */
function inOrder(entries: readonly OpenAI.Embedding[]): number[][] {
  const isNumbered = new Set(entries.map((entry) => entry.index)).size > 1
  const sorted = isNumbered ? entries.toSorted((a, b) => a.index - b.index) : entries
  if (isNumbered && sorted.some((entry, place) => entry.index !== place)) {
    throw new AppError('upstream_failed', 'The embedding provider sent vectors of which nobody knows whose they are.')
  }
  return sorted.map((entry) => entry.embedding)
}

/** Embeddings through any OpenAI-compatible endpoint: EMBEDDING_MODEL, optionally EMBEDDING_DIMENSIONS. */
export function createOpenAiEmbedder(env: Env, timeouts: OpenAiTimeouts = {}): Embedder {
  const sdk = createSdk(env, timeouts)
  const model = optional(env, 'EMBEDDING_MODEL') ?? DEFAULT_EMBEDDING_MODEL
  const dimensions = Number(optional(env, 'EMBEDDING_DIMENSIONS') ?? 0)
  if (!Number.isInteger(dimensions) || dimensions < 0) throw new Error('EMBEDDING_DIMENSIONS is not a whole number.')

  async function embedBatch(
    input: string[],
    signal: AbortSignal | undefined,
    onUsage: OnUsage | undefined,
  ): Promise<number[][]> {
    let answer: OpenAI.CreateEmbeddingResponse
    try {
      answer = await sdk.embeddings.create(
        // `float`: not every compatible server honours the SDK's default, base64.
        { model, input, encoding_format: 'float', ...(dimensions > 0 ? { dimensions } : {}) },
        signal ? { signal } : {},
      )
    } catch (error) {
      signal?.throwIfAborted()
      throw providerError(error)
    }
    // Some other kind of server may answer at that address, with something else.
    const isAnswer = Array.isArray(answer?.data) && answer.data.every((entry) => Array.isArray(entry?.embedding))
    if (!isAnswer) throw new AppError('upstream_failed', 'The embedding provider sent no vectors.')
    // Not every compatible server counts.
    const tokens = (answer.usage as OpenAI.CreateEmbeddingResponse.Usage | undefined)?.prompt_tokens
    if (isCount(tokens)) onUsage?.(tokens)
    const vectors = inOrder(answer.data)
    if (vectors.length !== input.length || vectors.some((vector) => vector.length !== vectors[0]?.length)) {
      throw new AppError('upstream_failed', 'The embedding provider sent another number of vectors than asked for.')
    }
    return vectors.map(unitVector)
  }
  return {
    // Vectors shortened to another length are another space.
    model: dimensions > 0 ? `${model}@${dimensions}` : model,
    dimensions,
    async embed(texts, signal, onUsage) {
      const vectors: number[][] = []
      for (let from = 0; from < texts.length; from += EMBEDDING_BATCH) {
        // An empty input is refused by the API; a space has no meaning either.
        const batch = texts.slice(from, from + EMBEDDING_BATCH).map((text) => text.trim() || ' ')
        vectors.push(...(await embedBatch(batch, signal, onUsage)))
      }
      return vectors
    },
  }
}
