import type { Ranking, Reranker } from './reranker.ts'
import type { RerankCall } from './reranker-call.ts'
import { checkedRankings, countedTokens, postJson, shortened } from './reranker-call.ts'

/** Options of `createHttpReranker`. */
export type HttpRerankerOptions = RerankCall & {
  /** Model of every request, whatever a knowledge base names; null: what it names. */
  model: string | null
}

const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : [])

/**
 * A reranker behind an endpoint in the shape that Jina, Cohere, Voyage and many self-hosted servers share:
 * `{model, query, documents, top_n}` in, `{results: [{index, relevance_score}]}` out.
 */
export function createHttpReranker(options: HttpRerankerOptions): Reranker {
  // Voyage alone calls the number top_k, refuses the other name, and calls its list data.
  const countName = /(^|\.)voyageai\.com$/.test(new URL(options.url).hostname) ? 'top_k' : 'top_n'
  const modelFor: Reranker['modelFor'] = (requested) => options.model ?? (requested || null)
  return {
    modelFor,
    async rerank({ query, documents, topN, model }, signal, onUsage) {
      const name = modelFor(model)
      const answer = await postJson(
        options,
        {
          ...(name === null ? {} : { model: name }),
          query,
          documents: documents.map(shortened),
          [countName]: Math.min(topN, documents.length),
        },
        signal,
      )
      const tokens = countedTokens(answer)
      if (tokens !== null) onUsage?.(tokens)
      const { results, data } = Object(answer) as { results?: unknown; data?: unknown }
      const entries = listOf(results ?? data).map((entry): Ranking => {
        const { index, relevance_score: score } = Object(entry) as { index?: unknown; relevance_score?: unknown }
        return { index: typeof index === 'number' ? index : NaN, score: typeof score === 'number' ? score : NaN }
      })
      return checkedRankings(entries, documents.length)
    },
  }
}
