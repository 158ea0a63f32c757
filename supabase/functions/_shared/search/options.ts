import { z } from 'zod'
import { jsonObject, uuid } from '../http.ts'
import type { SearchRequest } from '../search.ts'
import { FUSIONS, MAX_QUERY_CHARS } from './hits.ts'
import { CONTEXT_MODES } from './page-images.ts'
import { DEFAULT_CANDIDATE_COUNT } from './rerank.ts'
import type { RetrievalSettings } from './settings.ts'

/** The query of a search. */
export const searchQuery = z
  .string('query is required')
  .trim()
  .min(1, 'query is required')
  .max(MAX_QUERY_CHARS, `query may have at most ${MAX_QUERY_CHARS} characters`)

/** Ids that one search may name. */
export const MAX_IDS = 200
/** Characters of a metadata filter, as JSON. */
const MAX_FILTER_CHARS = 10_000
/** Objects and lists inside each other: more than anybody means, far less than a parser breaks at. */
const MAX_FILTER_DEPTH = 10

/** Whether a value nests at most this deep. Does not recurse: how deep it is, the sender decides. */
function nestsAtMost(value: unknown, depth: number): boolean {
  let level: unknown[] = [value]
  for (let at = 0; at <= depth; at++) {
    level = level.flatMap((entry) => (typeof entry === 'object' && entry !== null ? Object.values(entry) : []))
    if (level.length === 0) return true
  }
  return false
}

/** Metadata that a source must contain; compared as a value, so nothing in it is an operator. */
export const metadataFilter = jsonObject
  .refine((filter) => nestsAtMost(filter, MAX_FILTER_DEPTH), {
    error: `filter_metadata nests deeper than ${MAX_FILTER_DEPTH} levels`,
    // What comes after would recurse.
    abort: true,
  })
  .refine(
    (filter) => JSON.stringify(filter).length <= MAX_FILTER_CHARS,
    `filter_metadata may have at most ${MAX_FILTER_CHARS} characters`,
  )

const count = z.number().int().min(1).max(100)
const share = z.number().min(0).max(1)

/** Fields that every way to search has beside its query, knowledge bases and method. */
export const searchOptions = {
  top_k: count.nullish(),
  similarity_threshold: share.nullish(),
  filter_metadata: metadataFilter.nullish(),
  source_ids: z.array(uuid).max(MAX_IDS).nullish(),
  vector_weight: share.nullish(),
  fusion: z.enum(FUSIONS).nullish(),
  max_per_source: count.nullish(),
  min_per_source: z
    .number()
    .int()
    .min(0)
    .max(100)
    .nullish()
    .describe('Results that each source has before any has more; 0: as good as they are.'),
  deduplicate: z.boolean().nullish(),
  /** `true`, or how many of the first results are rescored; `false`: not even where the knowledge base says so. */
  rerank: z.union([z.boolean(), z.strictObject({ candidate_count: count.default(DEFAULT_CANDIDATE_COUNT) })]).nullish(),
  /** Chunks before and after each result that go into the context. */
  expand: z.strictObject({ neighbors: z.number().int().min(0).max(5) }).nullish(),
  context: z.enum(['chunks', 'pages']).nullish(),
  max_context_tokens: z.number().int().min(50).max(100_000).nullish(),
  context_mode: z
    .enum(CONTEXT_MODES)
    .nullish()
    .describe('"image": results name the images of their pages in meta.images, where there are any.'),
  explain: z.boolean().nullish(),
}

const searchOptionsObject = z.object(searchOptions)
/** The options as a request has them. */
export type SearchOptions = z.output<typeof searchOptionsObject>

/** Whether two options contradict each other; to be given to `refine` with `CONTRADICTION`. */
export const isConsistent = ({ expand, context }: Pick<SearchOptions, 'expand' | 'context'>): boolean =>
  context !== 'pages' || !expand?.neighbors
export const CONTRADICTION = 'expand.neighbors goes with context "chunks": whole pages have their neighbours already'

function rerankOf(asked: SearchOptions['rerank'], setting: RetrievalSettings['rerank']): RetrievalSettings['rerank'] {
  if (asked === false) return undefined
  if (asked === true) return setting ?? { candidateCount: DEFAULT_CANDIDATE_COUNT }
  return asked ? { ...setting, candidateCount: asked.candidate_count } : setting
}

/**
 * A request with its options over the settings of what it searches. A context is made when one of its options is there.
 */
export function withOptions(
  request: Pick<SearchRequest, 'query' | 'knowledgeBaseIds' | 'method'>,
  options: SearchOptions,
  settings: RetrievalSettings,
): SearchRequest {
  const { expand, context, max_context_tokens: maxTokens } = options
  const fusion = options.fusion ?? settings.fusion
  // A weight is meant for the fusion it was set for; another has a default of its own.
  const isItsFusion = (fusion ?? FUSIONS[0]) === (settings.fusion ?? FUSIONS[0])
  const weight = options.vector_weight ?? (isItsFusion ? settings.vectorWeight : undefined)
  return {
    ...request,
    method: request.method ?? settings.method,
    topK: options.top_k ?? settings.topK,
    similarityThreshold: options.similarity_threshold ?? settings.similarityThreshold,
    filterMetadata: options.filter_metadata ?? undefined,
    sourceIds: options.source_ids ?? undefined,
    vectorWeight: weight,
    fusion,
    maxPerSource: options.max_per_source ?? settings.maxPerSource,
    minPerSource: (options.min_per_source ?? settings.minPerSource) || undefined,
    deduplicate: options.deduplicate ?? settings.deduplicate,
    rerank: rerankOf(options.rerank, settings.rerank),
    explain: options.explain ?? undefined,
    wholeDocuments: settings.wholeDocuments,
    hasGraph: settings.hasGraph,
    hasSections: settings.hasSections,
    treeModel: settings.treeModel,
    queryEnrichment: settings.queryEnrichment,
    contextMode: options.context_mode ?? settings.contextMode,
    context:
      expand || context || maxTokens
        ? { unit: context ?? 'chunks', neighbours: expand?.neighbors, maxTokens: maxTokens ?? undefined }
        : undefined,
  }
}

/** `{ context }` of an answer when there is one, to spread into it. */
export function contextField(context: { text: string } | null): { context?: { text: string } } {
  return context === null ? {} : { context }
}
