import type { Caller, Db } from './context.ts'
import { AppError, unwrap } from './errors.ts'
import type { ContextItem, Providers } from './providers/index.ts'
import { DEFAULT_MAX_CONTEXT_TOKENS, contextOf } from './search/context.ts'
import { wholeDocuments } from './search/documents.ts'
import { diversify, mergeHits } from './search/hits.ts'
import type { SearchHit } from './search/hits.ts'
import type { SearchContext } from './search/layout.ts'
import { queryVectorFor, searchGroups } from './search/models.ts'
import type { ModelGroup } from './search/models.ts'
import { createQueryVectors } from './search/query-vectors.ts'
import type { QueryVectors } from './search/query-vectors.ts'
import { rerankHits } from './search/rerank.ts'
import type { RetrievalSettings } from './search/settings.ts'

export type { SearchHit } from './search/hits.ts'

/** What search needs from outside. */
export type SearchProviders = Pick<Providers, 'embedderFor' | 'reranker'> & { queryVectors: QueryVectors }

/** Deps of functions that search. */
export type WithSearch = { search: SearchProviders }

/** The providers of a process, with a memory of query vectors that lasts as long as it does. */
export function searchProviders({
  embedderFor,
  reranker,
}: Pick<Providers, 'embedderFor' | 'reranker'>): SearchProviders {
  return { embedderFor, reranker, queryVectors: createQueryVectors() }
}

/** A search as the functions run it; what is absent is the database's default. */
export type SearchRequest = { [Setting in keyof RetrievalSettings]: RetrievalSettings[Setting] | undefined } & {
  query: string
  /** Absent: everything the caller can see. */
  knowledgeBaseIds?: readonly string[] | undefined
  sourceIds?: readonly string[] | undefined
  filterMetadata?: Record<string, unknown> | undefined
  explain?: boolean | undefined
  /** Absent: no text for a model is made of the results. */
  context?: { unit: 'chunks' | 'pages'; neighbours?: number | undefined; maxTokens?: number | undefined } | undefined
}

/** What a search found. */
export type SearchOutcome = {
  /** Best first. */
  hits: SearchHit[]
  /** Models whose vectors were compared. */
  models: string[]
  /** Model that rescored the results; null: none did. */
  reranker: string | null
  context: SearchContext | null
  /** In sentences: what could not be done as asked. */
  warnings: string[]
}

/** Characters of a query that ai.search takes. */
const MAX_QUERY_CHARS = 4000
const DEFAULT_TOP_K = 10

/**
 * Searches as the caller may: each knowledge base by the model its vectors are of, then reranked and put into a context as
 * asked. The query is embedded here, so that the text alone decides what is compared; a longer one is cut to 4,000 characters.
 * A model that nobody here can embed with, and a reranker that fails, cost a warning and not the answer.
 * @throws AppError what the embedding provider or the database refuses; the reason of `signal` when that fires.
 */
export async function search(
  { db, caller }: { db: Db; caller: Caller },
  providers: SearchProviders,
  request: SearchRequest,
  signal?: AbortSignal,
): Promise<SearchOutcome> {
  const query = request.query.slice(0, MAX_QUERY_CHARS).replace(/[\uD800-\uDBFF]$/, '')
  const topK = request.topK ?? DEFAULT_TOP_K
  const candidates = request.rerank ? Math.max(topK, request.rerank.candidateCount) : topK
  const wanted = { ...request, query, topK: candidates, ...(request.wholeDocuments ? { maxPerSource: 1 } : {}) }
  const outcome: SearchOutcome = { hits: [], models: [], reranker: null, context: null, warnings: [] }

  // Words are compared without regard to models.
  const groups: ModelGroup[] =
    request.method === 'full_text'
      ? [{ embedding_model: null, knowledge_base_ids: [] }]
      : await searchGroups(db, request.knowledgeBaseIds)
  const vectors = await Promise.all(groups.map((group) => vectorFor(group)))
  const searches = await Promise.all(
    groups.map((group, index) => {
      const ids = groups.length > 1 ? group.knowledge_base_ids : request.knowledgeBaseIds
      return searchGroup(db, { ...wanted, knowledgeBaseIds: ids }, vectors[index] ?? null, signal)
    }),
  )
  outcome.models = vectors.flatMap((vector) => vector?.model ?? [])
  outcome.hits = diversify(mergeHits(searches), searches.length > 1 ? wanted : {}).slice(0, candidates)
  if (request.rerank) {
    const reranked = await rerankHits(providers.reranker, request.rerank, query, outcome.hits, topK, signal)
    outcome.hits = reranked.hits
    outcome.reranker = reranked.model
    if (reranked.warning !== null) outcome.warnings.push(reranked.warning)
  }
  outcome.hits = outcome.hits.slice(0, topK)
  if (request.wholeDocuments) {
    const { hits, warnings } = await wholeDocuments(db, outcome.hits, signal)
    outcome.hits = hits
    outcome.warnings.push(...warnings)
  }
  if (request.context) {
    const { unit, neighbours = 0, maxTokens = DEFAULT_MAX_CONTEXT_TOKENS } = request.context
    outcome.context = await contextOf(db, outcome.hits, { unit, neighbours, maxTokens }, signal)
    const { left_out: count } = outcome.context
    if (count > 0) outcome.warnings.push(`${count} of the results did not fit into max_context_tokens.`)
  }
  return outcome

  async function vectorFor({ embedding_model: model }: ModelGroup): Promise<ModelVector | null> {
    if (model === null) return null
    const values = await queryVectorFor(model, { caller, query, signal }, providers)
    if (values !== null) return { model, values }
    outcome.warnings.push(
      `Nobody here can embed with ${JSON.stringify(model.slice(0, 200))}; what has its vectors was searched by words alone.`,
    )
    return null
  }
}

type ModelVector = { model: string; values: number[] }

/** One search in one vector space; without a vector by words alone. */
async function searchGroup(
  db: Db,
  request: SearchRequest & { topK: number },
  vector: ModelVector | null,
  signal: AbortSignal | undefined,
): Promise<SearchHit[]> {
  const args = {
    query: request.query,
    method: vector === null ? 'full_text' : request.method,
    query_embedding: vector === null ? undefined : JSON.stringify(vector.values),
    embedding_model: vector?.model,
    knowledge_base_ids: request.knowledgeBaseIds,
    match_count: request.topK,
    source_ids: request.sourceIds,
    filter_metadata: request.filterMetadata,
    vector_weight: request.vectorWeight,
    similarity_threshold: request.similarityThreshold,
    fusion: request.fusion,
    max_per_source: request.maxPerSource,
    deduplicate: request.deduplicate,
    explain: request.explain,
  }
  // What is undefined is not sent: the database has its own defaults.
  const call = db.schema('ai').rpc('search', args)
  try {
    const hits = unwrap<SearchHit[]>(await (signal ? call.abortSignal(signal) : call))
    // Nothing but zeros, e.g. by a weight of 0 on the only leg that found something, has no best to be measured by.
    return hits.map((hit) => ({ ...hit, score: hit.score ?? 0 }))
  } catch (error) {
    signal?.throwIfAborted()
    if (!(error instanceof AppError) || error.code !== 'invalid_embedding') throw error
    // The caller sent a text; that its vector does not fit is between the provider and what is stored.
    throw new AppError('upstream_failed', 'The embedding provider sent a vector that cannot be compared.', {
      cause: error,
    })
  }
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
