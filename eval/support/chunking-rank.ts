import { PGlite } from '@electric-sql/pglite'

/** The words of a text, stemmed and without stop words, each with the number of times it stands there. */
export type WordCounts = Map<string, number>

/** Reads words as the search does in English: PostgreSQL's parser, stop words and Snowball stemmer. */
export type Lexer = {
  /** One entry per text, in the order given. */
  read: (texts: string[]) => Promise<WordCounts[]>
  close: () => Promise<void>
}

export async function openLexer(): Promise<Lexer> {
  const database = await PGlite.create()
  return {
    async read(texts) {
      const { rows } = await database.query<{ counts: Record<string, number> }>(
        `select (
           select coalesce(json_object_agg(word.lexeme, cardinality(word.positions)), '{}')
           from unnest(to_tsvector('pg_catalog.english', entry.content)) as word
         ) as counts
         from unnest($1::text[]) with ordinality as entry (content, position)
         order by entry.position`,
        [texts],
      )
      return rows.map(({ counts }) => new Map(Object.entries(counts)))
    },
    close: () => database.close(),
  }
}

const K1 = 1.2
const B = 0.75

/**
 * Ranks passages by BM25 (k1 1.2, b 0.75, inverse document frequency ln(1 + (N - n + .5) / (n + .5))), each word of the
 * question once. Answers the positions of all passages, best first; equals in the order of the document.
 */
export function rankerOf(passages: WordCounts[]): (question: WordCounts) => number[] {
  const lengths = passages.map((words) => [...words.values()].reduce((total, count) => total + count, 0))
  const averageLength = lengths.reduce((total, length) => total + length, 0) / passages.length
  const passageCounts = new Map<string, number>()
  for (const words of passages) {
    for (const word of words.keys()) passageCounts.set(word, (passageCounts.get(word) ?? 0) + 1)
  }
  const weightOf = (word: string) => {
    const count = passageCounts.get(word) ?? 0
    return Math.log(1 + (passages.length - count + 0.5) / (count + 0.5))
  }
  return (question) => {
    const weights = [...question.keys()].map((word) => [word, weightOf(word)] as const)
    const scores = passages.map((words, index) => {
      const saturation = K1 * (1 - B + (B * (lengths[index] as number)) / averageLength)
      return weights.reduce((score, [word, weight]) => {
        const count = words.get(word) ?? 0
        return score + (weight * count * (K1 + 1)) / (count + saturation)
      }, 0)
    })
    return scores
      .map((score, index) => ({ score, index }))
      .sort((a, b) => b.score - a.score || a.index - b.index)
      .map(({ index }) => index)
  }
}
