import { AppError } from '../errors.ts'
import type { Embedder } from './index.ts'

type Session = { run(text: string, options: { mean_pool: boolean; normalize: boolean }): Promise<ArrayLike<number>> }
type EdgeGlobals = { Supabase?: { ai?: { Session: new (model: string) => Session } } }

/** Name stored with its vectors. */
export const GTE_SMALL = 'gte-small'

/** The model reads 512 tokens; what follows would only cost time. */
const MAX_CHARS = 2000

/**
 * The Edge Runtime's built-in `gte-small`: 384 dimensions, English, no key and no network.
 * @throws Error where the runtime does not have it (plain Deno, Node).
 */
export function createGteSmallEmbedder(): Embedder {
  const Session = (globalThis as EdgeGlobals).Supabase?.ai?.Session
  if (Session === undefined) {
    throw new Error('EMBEDDING_MODEL=gte-small needs the Supabase Edge Runtime; this runtime does not have the model.')
  }
  const session = new Session(GTE_SMALL)
  return {
    model: GTE_SMALL,
    dimensions: 384,
    async embed(texts, signal) {
      const vectors: number[][] = []
      for (const text of texts) {
        signal?.throwIfAborted()
        try {
          vectors.push(Array.from(await session.run(text.slice(0, MAX_CHARS), { mean_pool: true, normalize: true })))
        } catch (error) {
          throw new AppError('upstream_failed', 'The embedding model failed.', { cause: error })
        }
      }
      return vectors
    },
  }
}
