import type { Db } from '../context.ts'
import { unwrap } from '../errors.ts'
import { diversify } from './hits.ts'
import type { SearchHit } from './hits.ts'

/** What the search whose hits are widened was asked for. */
export type GraphRequest = {
  /** Whether everything that is searched has a graph; else nothing is done. */
  hasGraph?: boolean | undefined
  /** As the person wrote it: its quoted words and `-words` hold for neighbours as they do for hits. */
  query?: string | undefined
  method?: string | undefined
  knowledgeBaseIds?: readonly string[] | undefined
  sourceIds?: readonly string[] | undefined
  filterMetadata?: Record<string, unknown> | undefined
  similarityThreshold?: number | undefined
  maxPerSource?: number | undefined
  deduplicate?: boolean | undefined
  explain?: boolean | undefined
}

/** A row of ai.graph_neighbours. */
type Neighbour = Omit<SearchHit, 'score' | 'vector_score' | 'text_score' | 'explanation'> & {
  from_chunk_id: string
  /** What it and that hit both name. */
  entities: string[]
  /** Sum of the rarities of what it shares with hits, above 0. */
  rarity: number
}

/** Share of the results that may be neighbours. */
const NEIGHBOUR_SHARE = 0.4

/** A neighbour as a hit: never above the hit it was reached from, and the nearer to it the more, and the rarer, they have in common. */
function hitOf(neighbour: Neighbour, origin: SearchHit, explain: boolean): SearchHit {
  const { from_chunk_id: from, entities, rarity, ...row } = neighbour
  const graph = { entities, from }
  return {
    ...row,
    score: origin.score * (1 - Math.exp(-rarity)),
    vector_score: null,
    text_score: null,
    meta: { ...row.meta, graph },
    explanation: explain
      ? { fusion: null, vector: null, text: null, identifier: null, graph: { ...graph, rarity } }
      : null,
  }
}

/**
 * Hits and their neighbours in the graph of a knowledge base of the strategy `graph_index`: passages that name what a hit names.
 * `meta.graph` says which, and from which hit. Read with the token of `db`, so nobody gets a neighbour they may not read. A
 * neighbour takes the place of a hit only by a better score, and of two places in five at most.
 * @param hits best first, at most `limit` @returns best first, at most `limit`
 * @throws AppError what the database refuses; the reason of `signal` when that fires.
 */
export async function withNeighbours(
  db: Db,
  request: GraphRequest,
  hits: readonly SearchHit[],
  limit: number,
  signal?: AbortSignal,
): Promise<SearchHit[]> {
  const most = Math.floor(limit * NEIGHBOUR_SHARE)
  if (!request.hasGraph || hits.length === 0 || most === 0) return [...hits]
  const call = db.schema('ai').rpc('graph_neighbours', {
    chunk_ids: hits.map((hit) => hit.chunk_id),
    knowledge_base_ids: request.knowledgeBaseIds,
    match_count: most,
    source_ids: request.sourceIds,
    filter_metadata: request.filterMetadata,
    query: request.query,
  })
  const rows = unwrap<Neighbour[]>(await (signal ? call.abortSignal(signal) : call))
  if (rows.length === 0) return [...hits]

  const threshold = request.method === 'vector_search' ? (request.similarityThreshold ?? 0) : 0
  const byId = new Map(hits.map((hit) => [hit.chunk_id, hit]))
  const neighbours = rows.flatMap((row) => {
    const origin = byId.get(row.from_chunk_id)
    const hit = origin && hitOf(row, origin, request.explain === true)
    return hit && hit.score > 0 && hit.score >= threshold ? [hit] : []
  })
  // The sort is stable: of equals, the hit comes first.
  const merged = [...hits, ...neighbours].toSorted((a, b) => b.score - a.score)
  return diversify(merged, request).slice(0, limit)
}
