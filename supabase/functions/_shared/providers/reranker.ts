import type { Env } from '../env.ts'
import { optional } from '../env.ts'
import type { OnUsage } from './index.ts'
import { createChatReranker } from './reranker-chat.ts'
import { createHttpReranker } from './reranker-http.ts'

/** What a reranker is asked: which of these documents answer the query. */
export type RerankRequest = {
  query: string
  documents: readonly string[]
  /** How many of the best are wanted. */
  topN: number
  /** What the knowledge base names; the operator's RERANK_MODEL, where set, goes before it. */
  model?: string | undefined
}

/** A document by its place in the request, with its score in the reranker's own measure: higher is better. */
export type Ranking = { index: number; score: number }

/** Scores documents against a query, better and slower than search does. */
export interface Reranker {
  /** The model that a request naming this one will really be scored by; null: whatever the endpoint has. */
  modelFor(requested: string | null | undefined): string | null
  /**
   * The best documents first; may leave out some, never names one twice.
   * @param onUsage gets the tokens that the provider has counted; not called where it counts none.
   * @throws AppError `upstream_failed` (also for an answer that makes no sense), `upstream_timeout` or `rate_limited`.
   */
  rerank(request: RerankRequest, signal?: AbortSignal, onUsage?: OnUsage): Promise<Ranking[]>
}

/** Milliseconds a reranker may take unless RERANK_TIMEOUT_MS says otherwise: somebody is waiting for the results. */
const DEFAULT_TIMEOUT_MS = 5_000
/**
 * The reranker an environment names: an HTTP endpoint (RERANK_URL, RERANK_API_KEY), else a chat model of the
 * OpenAI-compatible endpoint (RERANK_MODEL with OPENAI_BASE_URL or OPENAI_API_KEY), else none.
 * @throws Error when a variable is malformed.
 */
export function rerankerFromEnv(env: Env): Reranker | null {
  const timeoutMs = Number(optional(env, 'RERANK_TIMEOUT_MS') ?? DEFAULT_TIMEOUT_MS)
  if (!Number.isInteger(timeoutMs) || timeoutMs < 1)
    throw new Error('RERANK_TIMEOUT_MS is not a number of milliseconds.')
  const model = optional(env, 'RERANK_MODEL') ?? null
  const url = optional(env, 'RERANK_URL')
  if (url !== undefined) {
    if (!/^https?:\/\//.test(url) || !URL.canParse(url)) throw new Error('RERANK_URL is not an http(s) address.')
    return createHttpReranker({ url, apiKey: optional(env, 'RERANK_API_KEY') ?? null, model, timeoutMs })
  }
  const hasOpenAi = optional(env, 'OPENAI_API_KEY') !== undefined || optional(env, 'OPENAI_BASE_URL') !== undefined
  if (model === null || !hasOpenAi) return null
  const baseUrl = (optional(env, 'OPENAI_BASE_URL') ?? 'https://api.openai.com/v1').replace(/\/+$/, '')
  return createChatReranker({ baseUrl, apiKey: optional(env, 'OPENAI_API_KEY') ?? null, model, timeoutMs })
}
