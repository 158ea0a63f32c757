import type { Spender } from './budget-ledger.ts'
import type { Caller, Db } from './context.ts'
import { cutText } from './cut-text.ts'
import { AppError, describeError } from './errors.ts'
import type { Log } from './errors.ts'
import type { ChatMessage, ContextItem, Providers } from './providers/index.ts'
import { DEFAULT_MAX_CONTEXT_TOKENS, contextOf } from './search/context.ts'
import { wholeDocuments } from './search/documents.ts'
import { findPassages } from './search/find.ts'
import type { FindRequest } from './search/find.ts'
import { withNeighbours } from './search/graph.ts'
import { MAX_QUERY_CHARS, diversify, spreadOver } from './search/hits.ts'
import type { RetrievalMethod, SearchHit } from './search/hits.ts'
import type { SearchContext } from './search/layout.ts'
import { withPageImages } from './search/page-images.ts'
import { enrichQuery } from './search/query-enrichment.ts'
import type { EnrichedQuery } from './search/query-enrichment.ts'
import { createQueryVectors } from './search/query-vectors.ts'
import type { QueryVectors } from './search/query-vectors.ts'
import { rerankHits } from './search/rerank.ts'
import { RETRIEVAL_DEFAULTS, checkMethod } from './search/settings.ts'
import type { RetrievalSettings } from './search/settings.ts'
import { MODEL_TIMEOUT_MS, askForSearch, unanswered, usageRecorder } from './search/spending.ts'
import type { Asked, SearchLedger, SearchModels } from './search/spending.ts'
import { treeSearch } from './search/tree-search.ts'

export type { SearchHit } from './search/hits.ts'

/** What search needs from outside. */
export type SearchProviders = Pick<Providers, 'embedderFor' | 'reranker'> &
  SearchModels & { queryVectors: QueryVectors }

/** Deps of functions that search. */
export type WithSearch = { search: SearchProviders }

/** The providers of a process, with a memory of query vectors that lasts as long as it does. */
export function searchProviders(
  { chat, embedderFor, reranker }: Pick<Providers, 'chat' | 'embedderFor' | 'reranker'>,
  { ledger, log }: { ledger: SearchLedger; log: Log },
): SearchProviders {
  return {
    chat,
    embedderFor,
    reranker,
    ledger,
    log,
    queryVectors: createQueryVectors(),
    modelTimeoutMs: MODEL_TIMEOUT_MS,
  }
}

/** Who searches, and who pays for it. */
export type Searcher = {
  db: Db
  caller: Caller
  /** In a tenant that the caller's own token was found to be good for. */
  spender: Spender
  /** What was said before the query in the same conversation; asked for only where queries are rewritten. */
  history?: (() => Promise<readonly ChatMessage[]>) | undefined
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
  /** How it was searched: where the method asked for could not be used, another. */
  method: RetrievalMethod
  /** What the query was rewritten to; null: it was not. */
  queries: EnrichedQuery | null
  /** Models whose vectors were compared. */
  models: string[]
  /** Model that rescored the results; null: none did. */
  reranker: string | null
  context: SearchContext | null
  /** In sentences: what could not be done as asked. */
  warnings: string[]
}

const DEFAULT_TOP_K = 10

/** Hits that are looked at to give `topK` results: of more of them it can be seen which sources there are. */
function candidatesOf({ rerank, minPerSource }: SearchRequest, topK: number): number {
  if (rerank) return Math.max(topK, rerank.candidateCount)
  return minPerSource ? Math.min(Math.max(4 * topK, 50), 100) : topK
}

/**
 * Searches as the caller may: by vectors and words, or by letting a model pick from tables of contents; then reranked and put
 * into a context as asked. The query is embedded here, so that the text alone decides what is compared; a longer one is cut to
 * 4,000 characters. What models and rerankers cannot do costs a warning and not the answer.
 * @throws AppError `invalid_request` for a method that the knowledge bases do not have, `budget_exceeded`, what the embedding
 * provider or the database refuses; the reason of `signal` when that fires.
 */
export async function search(
  searcher: Searcher,
  providers: SearchProviders,
  request: SearchRequest,
  signal?: AbortSignal,
): Promise<SearchOutcome> {
  checkMethod(request)
  const { db, caller, spender } = searcher
  const asked = cutText(request.query.trim(), MAX_QUERY_CHARS)
  const topK = request.topK ?? DEFAULT_TOP_K
  const candidates = candidatesOf(request, topK)
  const warnings: string[] = []
  const record = usageRecorder(providers, spender)
  const models: string[] = []

  const queries = request.queryEnrichment
    ? await rewritten(searcher, providers, asked, request, warnings, signal)
    : null
  const query = queries?.enriched_query ?? asked
  const find = async (changes: Partial<FindRequest>): Promise<SearchHit[]> => {
    const { embedderFor, queryVectors } = providers
    const found = await findPassages(
      { db, caller, embedderFor, queryVectors, signal, onEmbedded: (use) => record('embedding', use) },
      {
        ...request,
        query: queries?.keyword_query ?? asked,
        vectorQuery: query,
        topK: candidates,
        ...(request.wholeDocuments ? { maxPerSource: 1 } : {}),
        ...changes,
      },
    )
    models.push(...found.models)
    warnings.push(...found.warnings)
    return found.hits
  }

  let method = request.method ?? RETRIEVAL_DEFAULTS.method
  let hits: SearchHit[] | null = null
  if (method === 'tree_search') {
    const { answer, problem } = await byTree(searcher, providers, { ...request, query, topK: candidates }, find, signal)
    if (answer !== null) warnings.push(...answer.warnings)
    else warnings.push(`tree_search was not possible: ${problem}. These are the results of hybrid.`)
    hits = answer === null ? null : diversify(answer.hits, request).slice(0, candidates)
    method = answer === null ? 'hybrid' : method
  }
  hits ??= await withNeighbours(db, { ...request, query: asked, method }, await find({ method }), candidates, signal)
  const outcome: SearchOutcome = { hits, method, queries, models, reranker: null, context: null, warnings }
  outcome.models = [...new Set(models)]

  if (request.rerank) {
    const most = request.minPerSource ? candidates : topK
    const reranked = await rerankHits(providers.reranker, request.rerank, query, outcome.hits, most, signal, (use) =>
      record('rerank', use),
    )
    outcome.hits = reranked.hits
    outcome.reranker = reranked.model
    if (reranked.warning !== null) warnings.push(reranked.warning)
  }
  outcome.hits = spreadOver(outcome.hits, topK, request.minPerSource)
  if (request.wholeDocuments) {
    const whole = await wholeDocuments(db, outcome.hits, signal)
    outcome.hits = whole.hits
    warnings.push(...whole.warnings)
  }
  if (request.contextMode === 'image') {
    const illustrated = await withPageImages(db, outcome.hits, signal)
    outcome.hits = illustrated.hits
    warnings.push(...illustrated.warnings)
  }
  if (request.context) {
    const { unit, neighbours = 0, maxTokens = DEFAULT_MAX_CONTEXT_TOKENS } = request.context
    outcome.context = await contextOf(db, outcome.hits, { unit, neighbours, maxTokens }, signal)
    const { left_out: count } = outcome.context
    if (count > 0) warnings.push(`${count} of the results did not fit into max_context_tokens.`)
  }
  return outcome
}

/** The query as a model writes it for the two legs; null, with a warning, where none can. */
async function rewritten(
  { spender, history }: Searcher,
  providers: SearchProviders,
  query: string,
  { queryEnrichment }: SearchRequest,
  warnings: string[],
  signal: AbortSignal | undefined,
): Promise<EnrichedQuery | null> {
  const { answer, problem } = await askForSearch(providers, spender, signal, async (access) =>
    enrichQuery(access, query, (await history?.()) ?? [], queryEnrichment ?? {}),
  )
  if (problem !== null) warnings.push(`The query was not enriched: ${problem}.`)
  return answer
}

/** Whether the database gave a statement up because it took too long. */
const tookTooLong = (error: unknown): boolean =>
  error instanceof AppError && (error.cause as { code?: unknown } | undefined)?.code === '57014'

/** The sections that a model picks, as hits. Tables of contents that take too long to read cost the method and not the answer. */
async function byTree(
  { db, spender }: Searcher,
  providers: SearchProviders,
  request: SearchRequest & { topK: number },
  find: (changes: Partial<FindRequest>) => Promise<SearchHit[]>,
  signal: AbortSignal | undefined,
): Promise<Asked<{ hits: SearchHit[]; warnings: string[] }>> {
  const { query, sourceIds, filterMetadata, topK, explain, treeModel, knowledgeBaseIds = [] } = request
  const ask = <T>(question: Parameters<typeof askForSearch<T>>[3]) => askForSearch(providers, spender, signal, question)
  try {
    return await treeSearch(
      { db, ask, signal, find: (changes) => find({ ...changes, method: 'hybrid', explain: false }) },
      { query, knowledgeBaseIds, sourceIds, filterMetadata, topK, explain, model: treeModel ?? null },
    )
  } catch (error) {
    signal?.throwIfAborted()
    if (!tookTooLong(error)) throw error
    providers.log.error('tree_search_timed_out', { error: describeError(error) })
    return unanswered('the tables of contents took too long to read')
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
