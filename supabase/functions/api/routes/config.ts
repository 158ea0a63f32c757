import { Hono } from 'hono'
import { actsOn } from '../../_shared/context.ts'
import { canEnrich, DEFAULT_MAX_TOKENS, FIELD_TYPES } from '../../_shared/enrichment/fields.ts'
import { FILE_TYPES } from '../../_shared/file-types.ts'
import { FUSIONS, SEARCH_METHODS } from '../../_shared/search/hits.ts'
import { DEFAULT_CANDIDATE_COUNT } from '../../_shared/search/rerank.ts'
import { FULL_DOCUMENT_TOP_K, RETRIEVAL_DEFAULTS } from '../../_shared/search/settings.ts'
import type { Strategy } from '../../_shared/search/settings.ts'
import type { ApiEnv } from '../env.ts'
import { INDEXING_DEFAULTS } from '../knowledge-base.ts'

/** What knowledge bases are made with when a request does not say, and what this project offers. */
export const config = new Hono<ApiEnv>().get('/kb-defaults', actsOn(), (c) => {
  const { chat, search } = c.var.deps
  const { reranker } = search
  const model = reranker?.modelFor(null) ?? null
  const { strategy: _strategy, ...indexing_config } = INDEXING_DEFAULTS
  const offered = { indexing_config, methods: SEARCH_METHODS, default_method: RETRIEVAL_DEFAULTS.method }
  return c.json({
    strategies: {
      chunk_embed: offered,
      full_document: { ...offered, top_k: FULL_DOCUMENT_TOP_K },
    } satisfies Record<Strategy, object>,
    retrieval: { ...RETRIEVAL_DEFAULTS, fusion: FUSIONS[0], fusions: FUSIONS },
    reranker: {
      default_model: model,
      candidate_count: DEFAULT_CANDIDATE_COUNT,
      options: model === null ? [] : [model],
    },
    query_enrichment: { enabled: false },
    enrichment: {
      available: canEnrich(chat),
      default_model: chat.model,
      max_tokens: DEFAULT_MAX_TOKENS,
      field_types: FIELD_TYPES,
      multimodal: false,
    },
    hybrid_vector_weight: RETRIEVAL_DEFAULTS.vector_weight,
    extraction: { default_model: 'auto', options: ['auto'], file_types: Object.keys(FILE_TYPES) },
  })
})
