import type { Reranker } from '../providers/reranker.ts'
import { toAppError } from '../errors.ts'
import { estimateTokens } from '../providers/text.ts'
import type { SearchHit } from './hits.ts'

/** A wish to have results rescored. */
export type RerankWish = {
  /** What the knowledge base names; the operator may have settled on another. */
  model?: string | undefined
  /** Results that are rescored. */
  candidateCount: number
}

/** Candidates that are fetched for a reranker unless told otherwise. */
export const DEFAULT_CANDIDATE_COUNT = 20

/** What rescoring took. */
export type RerankUse = { model: string; tokens: number; isEstimate: boolean }

/** Results after the reranker, or as they were, with the reason. */
export type Reranked = { hits: SearchHit[]; model: string | null; warning: string | null }

/**
 * The best `topK` of the hits, the first `candidateCount` of them by the reranker's scores. Fails open: whatever goes wrong, the hits stay in the order they came in.
 * `score` becomes the reranker's, with 1 for the best; its own measure is `meta.reranker_score`.
 * @param onUse is called when the reranker has answered, also where the answer is of no use but was counted.
 * @throws the reason of `signal` when that fires.
 */
export async function rerankHits(
  reranker: Reranker | null,
  wish: RerankWish,
  query: string,
  hits: readonly SearchHit[],
  topK: number,
  signal?: AbortSignal,
  onUse?: (use: RerankUse) => void,
): Promise<Reranked> {
  const unchanged = (warning: string | null): Reranked => ({ hits: hits.slice(0, topK), model: null, warning })
  if (hits.length === 0) return unchanged(null)
  if (reranker === null) return unchanged('No reranker is configured; the results are in their first order.')
  const model = reranker.modelFor(wish.model)
  const documents = hits.slice(0, wish.candidateCount).map(judgedText)
  let counted: number | null = null
  const used = () =>
    onUse?.({
      model: model ?? 'default',
      tokens: counted ?? estimateTokens(query + documents.join('')),
      isEstimate: counted === null,
    })
  try {
    const rankings = await reranker.rerank(
      { query, documents, topN: topK, ...(wish.model ? { model: wish.model } : {}) },
      signal,
      (tokens) => (counted = tokens),
    )
    used()
    return { hits: rescored(hits, rankings).slice(0, topK), model: model ?? 'default', warning: null }
  } catch (error) {
    if (counted !== null) used()
    signal?.throwIfAborted()
    return unchanged(`${toAppError(error).message} The results are in their first order.`)
  }
}

/** What a hit is judged by: its text, of a document that was found by its summary that as well. */
function judgedText({ text, meta }: SearchHit): string {
  const { document_summary: summary } = meta
  return typeof summary === 'string' ? `${summary}\n\n${text}` : text
}

/** Scores between 0 and 1; those of rerankers that give raw logits are squashed. */
function shares(scores: readonly number[]): number[] {
  const areShares = scores.every((score) => score >= 0 && score <= 1)
  return areShares ? [...scores] : scores.map((score) => 1 / (1 + Math.exp(-score)))
}

function rescored(hits: readonly SearchHit[], rankings: readonly { index: number; score: number }[]): SearchHit[] {
  const values = shares(rankings.map((ranking) => ranking.score))
  const best = Math.max(...values)
  const rescoredHits = rankings.flatMap(({ index, score }, place) => {
    const hit = hits[index]
    const share = values[place]
    if (hit === undefined || share === undefined) return []
    const explanation =
      hit.explanation === null
        ? null
        : { ...hit.explanation, reranker: { score, rank: place + 1, first_rank: index + 1 } }
    return [{ ...hit, score: best > 0 ? share / best : 0, meta: { ...hit.meta, reranker_score: score }, explanation }]
  })
  // What the reranker left out, or was not asked about, comes last, in its first order.
  const named = new Set(rankings.map((ranking) => ranking.index))
  const least = rescoredHits.at(-1)?.score ?? 0
  const rest = hits.filter((_, index) => !named.has(index)).map((hit) => ({ ...hit, score: hit.score * least }))
  return [...rescoredHits, ...rest]
}
