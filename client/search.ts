import type { Connection } from './connection.ts'

export type SearchResult = {
  chunk_id: string
  source_id: string
  source_name: string | null
  knowledge_base_id: string
  text: string
  /** 1 is the best of this search; for `vector_search`, the cosine similarity. */
  score: number
  /** Cosine similarity; null where only words matched. */
  vector_score: number | null
  /** BM25; null where no word matched. */
  text_score: number | null
  /** Place among the chunks of its source, from 0. */
  chunk_index: number
  /** Offsets in the source's pages joined by two line feeds, as `String.prototype.slice` counts. */
  start_char: number
  end_char: number
  /** Pages it stands on, from 1. */
  pages: number[]
  /** Also `heading_path`; `reranker_score` where a reranker scored it; `section`, `section_chunks` and `spans` of a section. */
  meta: Record<string, unknown>
  /** Ranks, scores and matched terms of each leg; with `explain`. */
  explanation?: Record<string, unknown>
}

/** A stretch of a source in a context: `text.slice(text_start, text_end)` is what stands at `start_char` to `end_char`. */
export type ContextSpan = {
  chunk_id: string
  start_char: number
  end_char: number
  page: number | null
  text_start: number
  text_end: number
}

/** Results as one text for a model: by document, each under its number `[n]`. */
export type SearchContext = {
  text: string
  /** Estimate: characters / 4. */
  tokens: number
  entries: {
    /** What `[n]` in the text means: the place among the results, from 1. */
    key: number
    chunk_id: string
    source_id: string
    /** True: its text stands in an entry above, and only a note is here. */
    is_shown_above: boolean
    spans: ContextSpan[]
  }[]
  /** Results that did not fit. */
  left_out: number
}

export type SearchAnswer = {
  results: SearchResult[]
  /** There when `context`, `neighbours` or `maxContextTokens` was asked for. */
  context?: SearchContext
  query: string
  /** How it was searched; `hybrid` where `tree_search` was not possible. */
  method: string
  /** What the vectors were searched for, where a model rewrote the query. */
  enriched_query?: string
  /** What the words were searched for then. */
  keyword_query?: string
  /** Models whose vectors were compared. */
  models: string[]
  /** Model that put the results in order; null: search alone did. */
  reranker: string | null
  /** What could not be done as asked, in sentences. */
  warnings?: string[]
  request_id: string
}

export type SearchOptions = {
  query: string
  /** Default: all of the tenant's that the signed-in person can see. */
  knowledgeBaseIds?: string[]
  /** The same for one. */
  knowledgeBaseId?: string
  /** 1 to 100; default: what the knowledge base is set to, else 5. */
  topK?: number
  /** `tree_search`: a model picks sections; only of knowledge bases of the strategy `page_index`. */
  method?: 'hybrid' | 'vector_search' | 'full_text' | 'tree_search'
  /** How hybrid search puts its legs together: by ranks (default) or by scores. */
  fusion?: 'rrf' | 'weighted'
  /** Share of the vector leg, 0 to 1; default 0.5, with `weighted` 0.7. */
  vectorWeight?: number
  /** Least cosine similarity, 0 to 1, for `vector_search`. */
  similarityThreshold?: number
  sourceIds?: string[]
  /** What the source's metadata must contain. */
  filterMetadata?: Record<string, unknown>
  /** Results of one source at most. */
  maxPerSource?: number
  /** Results that each source has before any has more. */
  minPerSource?: number
  /** Leave out results whose text a better one has. */
  deduplicate?: boolean
  /** Rescore by the configured reranker, or not; default: what the knowledge base is set to. */
  rerank?: boolean | { candidateCount: number }
  /** Make a context of the results, or of the whole pages they stand on. */
  context?: 'chunks' | 'pages'
  /** Chunks before and after each result that go into the context, 0 to 5. */
  neighbours?: number
  /** Allowance of the context, in tokens (characters / 4); default 16000. */
  maxContextTokens?: number
  /** Say of each result how it was found. */
  explain?: boolean
  signal?: AbortSignal
}

/** Searching, as the signed-in person may see it. */
export function searchMethods(connection: Connection) {
  const methods = {
    /**
     * Searches what the signed-in person can see in one tenant; the best first. Throws `not_found` for a knowledge base that
     * is not theirs to see, and `tenant_required` for people in several tenants who name neither tenant nor knowledge base.
     */
    async search(search: SearchOptions): Promise<SearchResult[]> {
      return (await methods.searchWithContext(search)).results
    },

    /** The same with all that is known about the results, and with a text for a model where one is asked for. */
    async searchWithContext(search: SearchOptions): Promise<SearchAnswer> {
      const { rerank, neighbours } = search
      const ids =
        search.knowledgeBaseIds ?? (search.knowledgeBaseId === undefined ? undefined : [search.knowledgeBaseId])
      // What is undefined is not sent.
      const body = {
        query: search.query,
        knowledge_base_ids: ids,
        top_k: search.topK,
        method: search.method,
        fusion: search.fusion,
        vector_weight: search.vectorWeight,
        similarity_threshold: search.similarityThreshold,
        source_ids: search.sourceIds,
        filter_metadata: search.filterMetadata,
        max_per_source: search.maxPerSource,
        min_per_source: search.minPerSource,
        deduplicate: search.deduplicate,
        rerank: typeof rerank === 'object' ? { candidate_count: rerank.candidateCount } : rerank,
        context: search.context,
        expand: neighbours === undefined ? undefined : { neighbors: neighbours },
        max_context_tokens: search.maxContextTokens,
        explain: search.explain,
      }
      return (await connection.call('search', { method: 'POST', body, signal: search.signal })) as SearchAnswer
    },
  }
  return methods
}
