/** How relevant each judged document is to one question; what is not listed counts as 0. */
export type Judgements = ReadonlyMap<string, number>

/** The discount of rank 1, 2, ...: log2(rank + 1), as trec_eval has it. */
const discounted = (gain: number, index: number): number => gain / Math.log2(index + 2)

const isRelevant = (grade: number): boolean => grade > 0

/**
 * Normalised discounted cumulative gain of the first `depth` documents, with linear gain, as trec_eval's ndcg_cut: 1 when
 * no other order of the judged documents would be better, and 0 when nothing relevant is among them.
 *
 * @param ranking ids of documents, best first, none twice
 * @returns null for a question without a relevant document: it has no score
 */
export function ndcgAt(ranking: string[], judgements: Judgements, depth = 10): number | null {
  const ideal = [...judgements.values()]
    .filter(isRelevant)
    .sort((a, b) => b - a)
    .slice(0, depth)
    .reduce((total, grade, index) => total + discounted(grade, index), 0)
  if (ideal === 0) return null
  const gained = ranking
    .slice(0, depth)
    .reduce((total, id, index) => total + discounted(Math.max(judgements.get(id) ?? 0, 0), index), 0)
  return gained / ideal
}

/**
 * The share of the relevant documents that are among the first `depth`, however relevant.
 * @returns null for a question without a relevant document
 */
export function recallAt(ranking: string[], judgements: Judgements, depth = 100): number | null {
  const relevant = [...judgements.values()].filter(isRelevant).length
  if (relevant === 0) return null
  return ranking.slice(0, depth).filter((id) => isRelevant(judgements.get(id) ?? 0)).length / relevant
}

/**
 * The mean over the questions that have a score.
 * @throws Error when none has one
 */
export function meanScore(scores: (number | null)[]): number {
  const known = scores.filter((score) => score !== null)
  if (known.length === 0) throw new Error('No question has a relevant document.')
  return known.reduce((total, score) => total + score, 0) / known.length
}
