import type { SearchResult } from '../../../../client/index.ts'

/** A leg that found a result; see "Reading explanation" in docs/search.md. */
export type Leg = {
  /** From 1, within the leg; null where it has no order of its own. */
  rank: number | null
  score: number | null
  /** Share of the result's score that came from this leg, 0 to 1; null where there is only one leg. */
  contribution: number | null
}

export type Explanation = {
  vector: (Leg & { model: string | null }) | null
  text: (Leg & { terms: string[] }) | null
  identifier: (Leg & { isExact: boolean; matched: string[] }) | null
  /** The reranker's order over that of the legs. */
  reranker: { score: number; firstRank: number | null } | null
}

type Fields = Record<string, unknown>
const fieldsOf = (value: unknown): Fields | null =>
  typeof value === 'object' && value !== null ? (value as Fields) : null
const numberOf = (value: unknown): number | null => (typeof value === 'number' ? value : null)
const textsOf = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((each): each is string => typeof each === 'string') : []

const legOf = (fields: Fields): Leg => ({
  rank: numberOf(fields['rank']),
  score: numberOf(fields['score']),
  contribution: numberOf(fields['contribution']),
})

/** How a result was found, as far as the answer says. */
export function explanationOf(result: SearchResult): Explanation {
  const all = result.explanation ?? {}
  const [vector, text, identifier] = [fieldsOf(all['vector']), fieldsOf(all['text']), fieldsOf(all['identifier'])]
  const reranker = fieldsOf(all['reranker'])
  const rerankerScore = numberOf(reranker?.['score']) ?? numberOf(result.meta['reranker_score'])
  return {
    vector: vector && { ...legOf(vector), model: typeof vector['model'] === 'string' ? vector['model'] : null },
    text: text && { ...legOf(text), terms: textsOf(text['terms']) },
    identifier: identifier && {
      ...legOf(identifier),
      isExact: identifier['exact'] === true,
      matched: textsOf(identifier['matched']),
    },
    reranker: rerankerScore === null ? null : { score: rerankerScore, firstRank: numberOf(reranker?.['first_rank']) },
  }
}
