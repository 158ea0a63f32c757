import type { Corpus } from './corpus.ts'
import type { Query } from './queries.ts'
import { DIMENSIONS } from './vectors.ts'

const DEPTH = 100

/** The rows nearest to the vector among these, best first: exact, all vectors being of unit length. */
export function nearest(
  embeddings: Float32Array,
  vector: Float32Array,
  rows: Int32Array | number,
  depth: number,
): number[] {
  const count = typeof rows === 'number' ? rows : rows.length
  const best: { row: number; score: number }[] = []
  let least = -Infinity
  for (let n = 0; n < count; n++) {
    const row = typeof rows === 'number' ? n : (rows[n] as number)
    const score = dot(embeddings, row * DIMENSIONS, vector)
    if (score <= least && best.length === depth) continue
    let place = best.length
    while (place > 0 && (best[place - 1] as { score: number }).score < score) place--
    best.splice(place, 0, { row, score })
    if (best.length > depth) best.pop()
    if (best.length === depth) least = (best.at(-1) as { score: number }).score
  }
  return best.map(({ row }) => row)
}

function dot(embeddings: Float32Array, from: number, vector: Float32Array): number {
  // Four sums: each addition would otherwise wait for the one before it.
  let a = 0
  let b = 0
  let c = 0
  let d = 0
  for (let i = 0; i < DIMENSIONS; i += 4) {
    a += (embeddings[from + i] as number) * (vector[i] as number)
    b += (embeddings[from + i + 1] as number) * (vector[i + 1] as number)
    c += (embeddings[from + i + 2] as number) * (vector[i + 2] as number)
    d += (embeddings[from + i + 3] as number) * (vector[i + 3] as number)
  }
  return a + b + c + d
}

/** The hundred rows of the query's tenant that are nearest to it, best first. */
export const exactRows = (corpus: Corpus, query: Query): number[] =>
  nearest(corpus.embeddings, query.vector, corpus.rowsOfTenant[query.tenant] as Int32Array, DEPTH)

/** Share of the exact first k that are among the first k found; of all there are when the tenant has fewer. */
export function recallAt(k: number, exact: number[], found: number[]): number {
  const wanted = exact.slice(0, k)
  const got = new Set(found.slice(0, k))
  return wanted.filter((row) => got.has(row)).length / wanted.length
}

/**
 * What decides how hard a filtered nearest-neighbour search is: the share that the query's tenant has in the hundred
 * nearest rows of all tenants. Near 1, every search looks perfect.
 */
export function shareOfGlobalTop(corpus: Corpus, query: Query): number {
  const rows = nearest(corpus.embeddings, query.vector, corpus.rows, DEPTH)
  return rows.filter((row) => corpus.sourceOf(row).tenant === query.tenant).length / rows.length
}
