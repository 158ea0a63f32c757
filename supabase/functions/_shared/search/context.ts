import type { Db } from '../context.ts'
import type { SearchHit } from './hits.ts'
import { layOut } from './layout.ts'
import type { ContextOptions, SearchContext } from './layout.ts'
import { readNeighbours, readPages } from './reading.ts'

/** Allowance of a context unless asked otherwise, in tokens. */
export const DEFAULT_MAX_CONTEXT_TOKENS = 16_000

/**
 * A text for a model from the hits. What surrounds them is read with the caller's own token, so nothing is shown that they
 * could not read themselves.
 * @throws AppError what the database refuses.
 */
export async function contextOf(
  db: Db,
  hits: readonly SearchHit[],
  options: ContextOptions,
  signal?: AbortSignal,
): Promise<SearchContext> {
  const [neighbours, pages] = await Promise.all([
    options.unit === 'chunks' && options.neighbours > 0 ? readNeighbours(db, hits, options.neighbours, signal) : [],
    options.unit === 'pages' ? readPages(db, hits, signal) : new Map<string, Map<number, string>>(),
  ])
  return layOut(hits, options, { neighbours, pages })
}
