import type { Db } from './context.ts'
import { unwrap } from './errors.ts'
import type { ContextItem, Embedder } from './providers/index.ts'

/** Retrieval methods of ai.search. */
export const SEARCH_METHODS = ['hybrid', 'vector_search', 'full_text'] as const
export type SearchMethod = (typeof SEARCH_METHODS)[number]

/** A search as the functions run it; what is absent is the database's default. */
export type SearchRequest = {
  query: string
  /** Absent: everything the caller can see. */
  knowledgeBaseIds?: readonly string[] | undefined
  /** 1 to 100. */
  matchCount?: number | undefined
  sourceIds?: readonly string[] | undefined
  filterMetadata?: Record<string, unknown> | undefined
  method?: SearchMethod | undefined
  /** Share of the vector leg in hybrid search, 0 to 1. */
  vectorWeight?: number | undefined
  /** Least cosine similarity, for vector_search. */
  similarityThreshold?: number | undefined
}

/** A row of ai.search; `score` is 1 for the best. */
export type SearchHit = {
  chunk_id: string
  source_id: string
  source_name: string | null
  knowledge_base_id: string
  indexed_source_id: string
  text: string
  score: number
  chunk_index: number
  start_char: number
  end_char: number
  meta: Record<string, unknown>
}

/** Characters of a query that ai.search takes. */
const MAX_QUERY_CHARS = 4000

/**
 * Chunks for a query, best first, as the holder of `db`'s token may see them. The query is embedded here, so that the text
 * alone decides what is compared; a longer query is cut to 4,000 characters.
 * @throws AppError what the embedding provider or the database refuses.
 */
export async function searchChunks(
  db: Db,
  embedder: Embedder,
  request: SearchRequest,
  signal?: AbortSignal,
): Promise<SearchHit[]> {
  const query = request.query.slice(0, MAX_QUERY_CHARS).replace(/[\uD800-\uDBFF]$/, '')
  const method = request.method ?? 'hybrid'
  const [vector] = method === 'full_text' ? [] : await embedder.embed([query], signal)
  const args: Record<string, unknown> = { query, method }
  if (vector) Object.assign(args, { query_embedding: JSON.stringify(vector), embedding_model: embedder.model })
  if (request.knowledgeBaseIds) args['knowledge_base_ids'] = request.knowledgeBaseIds
  if (request.matchCount !== undefined) args['match_count'] = request.matchCount
  if (request.sourceIds) args['source_ids'] = request.sourceIds
  if (request.filterMetadata) args['filter_metadata'] = request.filterMetadata
  if (request.vectorWeight !== undefined) args['vector_weight'] = request.vectorWeight
  if (request.similarityThreshold !== undefined) args['similarity_threshold'] = request.similarityThreshold
  return unwrap<SearchHit[]>(await db.schema('ai').rpc('search', args))
}

/** Search hits as context items, numbered from 1 in their order. */
export function contextItemsOf(hits: readonly SearchHit[]): ContextItem[] {
  return hits.map((hit, index) => ({
    key: index + 1,
    text: hit.text,
    itemId: hit.chunk_id,
    sourceId: hit.source_id,
    ...(hit.source_name === null ? {} : { sourceName: hit.source_name }),
    meta: { ...hit.meta, start_char: hit.start_char, end_char: hit.end_char, score: hit.score },
  }))
}
