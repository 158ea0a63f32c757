import type { Caller, Db } from '../context.ts'
import { AppError, unwrap } from '../errors.ts'
import { diversify, mergeHits } from './hits.ts'
import type { SearchHit } from './hits.ts'
import { queryVectorFor, searchGroups } from './models.ts'
import type { EmbedderFor, ModelGroup } from './models.ts'
import type { EmbeddingUse, QueryVectors } from './query-vectors.ts'
import type { RetrievalSettings } from './settings.ts'

/** What ai.search is asked, without the vector. */
export type FindRequest = { [Setting in keyof RetrievalSettings]: RetrievalSettings[Setting] | undefined } & {
  /** For the words. */
  query: string
  /** For the vector. */
  vectorQuery: string
  topK: number
  knowledgeBaseIds?: readonly string[] | undefined
  sourceIds?: readonly string[] | undefined
  filterMetadata?: Record<string, unknown> | undefined
  explain?: boolean | undefined
}

/** What finding takes. */
export type FindParts = {
  db: Db
  caller: Caller
  embedderFor: EmbedderFor
  queryVectors: QueryVectors
  onEmbedded: (use: EmbeddingUse) => void
  signal: AbortSignal | undefined
}

/** What was found. */
export type Found = {
  hits: SearchHit[]
  /** Models whose vectors were compared. */
  models: string[]
  warnings: string[]
}

type ModelVector = { model: string; values: number[] }

/**
 * Passages by vectors and words: each knowledge base by the model its vectors are of. A model that nobody here can embed with
 * costs a warning, and what has its vectors is searched by words alone.
 * @throws AppError what the embedding provider or the database refuses; the reason of `signal` when that fires.
 */
export async function findPassages(parts: FindParts, request: FindRequest): Promise<Found> {
  const { db, caller, signal, onEmbedded } = parts
  const warnings: string[] = []
  // Words are compared without regard to models.
  const groups: ModelGroup[] =
    request.method === 'full_text'
      ? [{ embedding_model: null, knowledge_base_ids: [] }]
      : await searchGroups(db, request.knowledgeBaseIds)
  const vectors = await Promise.all(
    groups.map(async ({ embedding_model: model }): Promise<ModelVector | null> => {
      if (model === null) return null
      const values = await queryVectorFor(model, { caller, query: request.vectorQuery, signal }, parts, onEmbedded)
      if (values !== null) return { model, values }
      warnings.push(
        `Nobody here can embed with ${JSON.stringify(model.slice(0, 200))}; what has its vectors was searched by words alone.`,
      )
      return null
    }),
  )
  const searches = await Promise.all(
    groups.map((group, index) => {
      const ids = groups.length > 1 ? group.knowledge_base_ids : request.knowledgeBaseIds
      return searchGroup(parts, { ...request, knowledgeBaseIds: ids }, vectors[index] ?? null)
    }),
  )
  const hits = diversify(mergeHits(searches), searches.length > 1 ? request : {})
  return { hits: hits.slice(0, request.topK), models: vectors.flatMap((vector) => vector?.model ?? []), warnings }
}

/** One search in one vector space; without a vector by words alone. */
async function searchGroup(
  { db, caller, queryVectors, signal }: FindParts,
  request: FindRequest,
  vector: ModelVector | null,
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
    if (vector !== null) queryVectors.forget(caller, vector.model, request.vectorQuery)
    // The caller sent a text; that its vector does not fit is between the provider and what is stored.
    throw new AppError('upstream_failed', 'The embedding provider sent a vector that cannot be compared.', {
      cause: error,
    })
  }
}
