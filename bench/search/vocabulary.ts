import { COMMON_WORDS } from './common-words.ts'
import { pickFrom, type Random, stream } from './random.ts'

export const VOCABULARY_SIZE = 45_000

/** Words by rank, the commonest first, and how often each comes in running text (any unit). */
export type Vocabulary = { words: string[]; counts: Float64Array }

// Zipf's law as Mandelbrot refined it: count ~ 1 / (rank + OFFSET) ** EXPONENT. With these two "the" is a twenty-fifth of
// the text, the 150 commonest words are two fifths of it, and the last of 45,000 comes once in half a million words.
const OFFSET = 1.6
const EXPONENT = 1.05

const ONSETS = 'b c d f g h j k l m n p r s t v w z b d g k l m n p r s t br ch cl dr fl gr pr sh st th tr'.split(' ')
const NUCLEI = 'a e i o u a e i o a e i ai ea oo'.split(' ')
const CODAS = ['', '', '', '', '', '', '', '', 'b', 'ck', 'd', 'g', 'l', 'm', 'n', 'nd', 'p', 'r', 'rk', 's', 't', 'x']
const ENDINGS = ['s', 's', 'ed', 'ing', 'er', 'ation', 'ness', 'ly', 'able', 'ment']
/** Share of the generated words that are inflections of another: what the stemmer brings together. */
const INFLECTED = 0.35

/**
 * The vocabulary: common English words, then words of two to four generated syllables, a part of them inflected. The same
 * seed gives the same words; nothing is read from a file.
 */
export function makeVocabulary(seed: number): Vocabulary {
  const random = stream(seed, 'vocabulary')
  const words = [...new Set(COMMON_WORDS)]
  const known = new Set(words)
  const stems: string[] = []
  while (words.length < VOCABULARY_SIZE) {
    const inflects = stems.length > 500 && random() < INFLECTED
    const word = inflects ? pickFrom(random, stems) + pickFrom(random, ENDINGS) : stemOf(random, words.length)
    if (word.length < 3 || word.length > 14 || known.has(word)) continue
    if (!inflects) stems.push(word)
    known.add(word)
    words.push(word)
  }
  const counts = Float64Array.from(words, (_, rank) => 1e9 / (rank + 1 + OFFSET) ** EXPONENT)
  return { words, counts }
}

/** Commoner words are shorter, as in any language. */
function stemOf(random: Random, rank: number): string {
  const syllables = 1 + Math.ceil(random() * (rank < 4_000 ? 1 : 2))
  let word = ''
  for (let i = 0; i < syllables; i++) word += pickFrom(random, ONSETS) + pickFrom(random, NUCLEI)
  return word + pickFrom(random, CODAS)
}
