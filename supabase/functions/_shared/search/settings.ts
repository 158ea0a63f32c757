import { z } from 'zod'
import { IDS_PER_REQUEST, batchesOf } from '../batches.ts'
import type { Db } from '../context.ts'
import { AppError, missing, unwrap } from '../errors.ts'
import { idleKeys } from '../ignored-input.ts'
import { isUuid } from '../ids.ts'
import { FUSIONS, RETRIEVAL_METHODS, SEARCH_METHODS } from './hits.ts'
import type { Fusion, RetrievalMethod } from './hits.ts'
import { CONTEXT_MODES, imageWarnings } from './page-images.ts'
import type { ContextMode } from './page-images.ts'
import type { QueryEnrichment } from './query-enrichment.ts'
import { DEFAULT_CANDIDATE_COUNT } from './rerank.ts'
import type { RerankWish } from './rerank.ts'
import { FULL_DOCUMENT_TOP_K, pageIndexSettings } from '../strategies.ts'

/** What a new knowledge base has unless asked otherwise; the same as the database's defaults. */
export const RETRIEVAL_DEFAULTS = { method: 'hybrid', top_k: 5, vector_weight: 0.5 } as const
/** Share of the vector leg where scores are fused, not ranks. */
const WEIGHTED_VECTOR_WEIGHT = 0.7

/** How a knowledge base of this strategy may be searched; the default first. Strategy `page_index` is made for `tree_search`. */
export const methodsOf = (strategy: unknown): readonly [RetrievalMethod, ...RetrievalMethod[]] =>
  strategy === 'page_index' ? ['tree_search', ...SEARCH_METHODS] : SEARCH_METHODS

/** Why a method does not go with a strategy, or null when it does. */
export const methodProblem = (strategy: unknown, method: unknown): string | null =>
  methodsOf(strategy).some((known) => known === method) ? null : INCOMPATIBLE
const INCOMPATIBLE = 'tree_search needs knowledge bases of the strategy page_index.'

/** @throws AppError `invalid_request` when a search asks for a method that its knowledge bases do not have. */
export function checkMethod({ method, hasSections }: { method?: unknown; hasSections?: boolean | undefined }): void {
  if (method === 'tree_search' && !hasSections) {
    throw new AppError('invalid_request', INCOMPATIBLE, { hint: 'Name such knowledge bases, or another method.' })
  }
}

const count = z.number().int().min(1).max(100)
const share = z.number().min(0).max(1)

/** Rescoring of the first results by a reranker: on where a model is named. */
const rerankerConfig = z.looseObject({
  model: z.string().max(200).nullish(),
  candidate_count: count.default(DEFAULT_CANDIDATE_COUNT),
})

/** Rewriting of queries by a model: off unless it is switched on. */
const queryEnrichment = z.looseObject({
  enabled: z.boolean().default(false),
  model: z.string().trim().max(200).nullish(),
  reasoning_effort: z.enum(['low', 'medium', 'high']).nullish(),
})

/** How a knowledge base is searched when the request does not say. Keys that are not known here are kept. */
export const retrievalConfig = z
  .looseObject({
    method: z.enum(RETRIEVAL_METHODS).default(RETRIEVAL_DEFAULTS.method),
    top_k: count.default(RETRIEVAL_DEFAULTS.top_k),
    vector_weight: share.optional(),
    fusion: z.enum(FUSIONS).optional(),
    similarity_threshold: share.nullish(),
    max_per_source: count.nullish(),
    min_per_source: z.number().int().min(0).max(100).nullish(),
    deduplicate: z.boolean().nullish(),
    reranker: rerankerConfig.nullish(),
    query_enrichment: queryEnrichment
      .nullish()
      .describe('Whether a model rewrites queries before they are searched for.'),
    context_mode: z
      .enum(CONTEXT_MODES)
      .nullish()
      .describe('"image": a model is given images of the pages of results, where there are any.'),
    image_delivery: z
      .string()
      .max(50)
      .nullish()
      .describe(
        '"base64": images go inside the request to the model, as always; anything else is stored, without effect.',
      ),
  })
  .transform(({ vector_weight, ...config }) => ({
    ...config,
    vector_weight:
      vector_weight ?? (config.fusion === 'weighted' ? WEIGHTED_VECTOR_WEIGHT : RETRIEVAL_DEFAULTS.vector_weight),
  }))

/** `ts_language` is how clients of the agent API name the language of a knowledge base. */
const RETRIEVAL_KEYS = [...Object.keys(retrievalConfig.in.shape), 'ts_language']

/** Warnings about what a `retrieval_config` is sent with and nothing reads, the first 20 of each object. */
export const idleRetrievalKeys = (sent: Record<string, unknown> | null | undefined): string[] => [
  ...idleKeys('retrieval_config.', sent, RETRIEVAL_KEYS),
  ...idleKeys('retrieval_config.reranker.', sent?.['reranker'], Object.keys(rerankerConfig.shape)),
  ...idleKeys('retrieval_config.query_enrichment.', sent?.['query_enrichment'], Object.keys(queryEnrichment.shape)),
  ...imageWarnings(sent),
]

/** How to search when the request does not say; what is absent is the product's default. */
export type RetrievalSettings = {
  method?: RetrievalMethod
  topK?: number
  vectorWeight?: number
  fusion?: Fusion
  similarityThreshold?: number
  maxPerSource?: number
  /** Results that each source has before any has more. */
  minPerSource?: number
  deduplicate?: boolean
  rerank?: RerankWish
  /** Whether each result is a whole document. */
  wholeDocuments?: boolean
  /** Whether hits are joined by their neighbours in a graph of entities. */
  hasGraph?: boolean
  /** Whether it can be searched by `tree_search`. */
  hasSections?: boolean
  /** Model that picks from tables of contents; absent: the provider's own. */
  treeModel?: string
  /** Whether results are given to a model as images of their pages, where there are any. */
  contextMode?: ContextMode
  /** Whether a model rewrites queries, and which. */
  queryEnrichment?: QueryEnrichment
}

/** What a knowledge base says of how it is searched. */
export type StoredSettings = { retrieval_config: Record<string, unknown>; indexing_config: Record<string, unknown> }

/** The stored settings as far as they are usable; if they are not, the defaults. */
export function retrievalOf(row: StoredSettings): RetrievalSettings & { method: RetrievalMethod; topK: number } {
  const { strategy } = row.indexing_config
  const wholeDocuments = strategy === 'full_document'
  const hasSections = strategy === 'page_index'
  const parsed = retrievalConfig.safeParse(row.retrieval_config)
  const config = parsed.success ? parsed.data : retrievalConfig.parse({})
  const { reranker, query_enrichment: enrichment } = config
  const methods = methodsOf(strategy)
  const named = row.retrieval_config['method'] == null || !parsed.success ? null : config.method
  const treeModel = hasSections ? pageIndexSettings(row.indexing_config).model : null
  return {
    // One that the strategy does not have was set for another strategy.
    method: methods.find((known) => known === named) ?? methods[0],
    topK: wholeDocuments && row.retrieval_config['top_k'] == null ? FULL_DOCUMENT_TOP_K : config.top_k,
    vectorWeight: config.vector_weight,
    ...(config.fusion === undefined ? {} : { fusion: config.fusion }),
    ...(config.similarity_threshold == null ? {} : { similarityThreshold: config.similarity_threshold }),
    ...(config.max_per_source == null ? {} : { maxPerSource: config.max_per_source }),
    ...(config.min_per_source ? { minPerSource: config.min_per_source } : {}),
    ...(config.deduplicate == null ? {} : { deduplicate: config.deduplicate }),
    ...(reranker?.model ? { rerank: { model: reranker.model, candidateCount: reranker.candidate_count } } : {}),
    ...(wholeDocuments ? { wholeDocuments } : {}),
    ...(strategy === 'graph_index' ? { hasGraph: true } : {}),
    ...(hasSections ? { hasSections } : {}),
    ...(treeModel === null ? {} : { treeModel }),
    ...(config.context_mode == null ? {} : { contextMode: config.context_mode }),
    ...(enrichment?.enabled
      ? {
          queryEnrichment: {
            ...(enrichment.model ? { model: enrichment.model } : {}),
            ...(enrichment.reasoning_effort ? { reasoningEffort: enrichment.reasoning_effort } : {}),
          },
        }
      : {}),
  }
}

/**
 * What all of these knowledge bases are set to. Where they differ, no one's setting speaks for the others; so no text goes
 * to a reranker that its own knowledge base does not name.
 */
export function commonSettings(rows: readonly StoredSettings[]): RetrievalSettings {
  const [first, ...others] = rows.map(retrievalOf)
  const agreed = Object.entries(first ?? {}).filter(([key, value]) =>
    others.every((other) => JSON.stringify(other[key as keyof RetrievalSettings]) === JSON.stringify(value)),
  )
  return Object.fromEntries(agreed)
}

/** A knowledge base as far as searching it needs. */
export type SearchedKnowledgeBase = StoredSettings & { id: string; tenant_id: string }

/** Those of the named knowledge bases that the holder of `db`'s token can see. @throws AppError what the database refuses. */
export async function readKnowledgeBases(db: Db, ids: readonly string[]): Promise<SearchedKnowledgeBase[]> {
  const answers = await Promise.all(
    batchesOf(ids, IDS_PER_REQUEST).map((batch) =>
      db
        .schema('ai')
        .from('knowledge_bases')
        .select('id,tenant_id,indexing_config,retrieval_config')
        .in('id', batch)
        .returns<SearchedKnowledgeBase[]>(),
    ),
  )
  return answers.flatMap((answer) => unwrap(answer))
}

const TENANT_HINT = { hint: 'Name the tenant in the header x-tenant-id.' }

/**
 * Settings of a search of these knowledge bases, or of all there are, and the tenant it is made in. A search stays in one tenant, so that no answer mixes two.
 * @throws AppError `not_found` when a named knowledge base is none the caller can see, `tenant_required` when there are several
 * tenants, `forbidden` when there is none.
 */
export async function settingsFor(
  db: Db,
  ids: readonly string[] | undefined,
): Promise<{ settings: RetrievalSettings; tenantId: string }> {
  if (ids) {
    const rows = ids.every(isUuid) ? await readKnowledgeBases(db, ids) : []
    if (rows.length < ids.length) throw missing('knowledge_base')
    const [tenantId, ...others] = new Set(rows.map((row) => row.tenant_id))
    if (tenantId === undefined) throw missing('knowledge_base')
    if (others.length > 0) {
      throw new AppError('tenant_required', 'These knowledge bases belong to several tenants.', TENANT_HINT)
    }
    return { settings: commonSettings(rows), tenantId }
  }
  // Each tenant has exactly one default knowledge base.
  const tenants = unwrap<{ tenant_id: string }[]>(
    await db.schema('ai').from('knowledge_bases').select('tenant_id').eq('is_default', true).limit(2),
  )
  const [tenant] = tenants
  if (tenant === undefined) throw new AppError('forbidden', 'You are not a member of the tenant.')
  if (tenants.length > 1) throw new AppError('tenant_required', 'You are a member of several tenants.', TENANT_HINT)
  return { settings: {}, tenantId: tenant.tenant_id }
}
