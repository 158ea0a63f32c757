import { Hono } from 'hono'
import { actsOn } from '../../_shared/context.ts'
import { DEFAULT_MAX_TOKENS, FIELD_TYPES } from '../../_shared/enrichment/fields.ts'
import { FILE_TYPES } from '../../_shared/file-types.ts'
import { hasLanguageModel } from '../../_shared/providers/offline-answerer.ts'
import { FUSIONS } from '../../_shared/search/hits.ts'
import { DEFAULT_CANDIDATE_COUNT } from '../../_shared/search/rerank.ts'
import { methodsOf, RETRIEVAL_DEFAULTS } from '../../_shared/search/settings.ts'
import { STRATEGIES, STRATEGY_DEFAULTS, STRATEGY_MODEL, STRATEGY_RETRIEVAL } from '../../_shared/strategies.ts'
import type { Strategy } from '../../_shared/strategies.ts'
import type { ApiEnv } from '../env.ts'

/** What a knowledge base of this strategy is made with. */
function offered(strategy: Strategy, hasModel: boolean) {
  const { method = RETRIEVAL_DEFAULTS.method, top_k = RETRIEVAL_DEFAULTS.top_k } = STRATEGY_RETRIEVAL[strategy]
  return {
    indexing_config: STRATEGY_DEFAULTS[strategy],
    methods: methodsOf(strategy),
    default_method: method,
    top_k,
    model: STRATEGY_MODEL[strategy],
    available: hasModel || STRATEGY_MODEL[strategy] !== 'required',
  }
}

/** What knowledge bases are made with when a request does not say, and what this project offers. */
export const config = new Hono<ApiEnv>().get('/kb-defaults', actsOn(), (c) => {
  const { chat, search } = c.var.deps
  const { reranker } = search
  const model = reranker?.modelFor(null) ?? null
  return c.json({
    strategies: Object.fromEntries(STRATEGIES.map((strategy) => [strategy, offered(strategy, hasLanguageModel(chat))])),
    retrieval: { ...RETRIEVAL_DEFAULTS, fusion: FUSIONS[0], fusions: FUSIONS },
    reranker: {
      default_model: model,
      candidate_count: DEFAULT_CANDIDATE_COUNT,
      options: model === null ? [] : [model],
    },
    query_enrichment: { enabled: false },
    enrichment: {
      available: hasLanguageModel(chat),
      default_model: chat.model,
      max_tokens: DEFAULT_MAX_TOKENS,
      field_types: FIELD_TYPES,
      multimodal: false,
    },
    hybrid_vector_weight: RETRIEVAL_DEFAULTS.vector_weight,
    extraction: { default_model: 'auto', options: ['auto'], file_types: Object.keys(FILE_TYPES) },
  })
})
