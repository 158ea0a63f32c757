import { randomNumbers } from './prose.ts'

const SYLLABLES = 'ba co der fin gul har il jo kel lor mun nav or pas quil ren sol tar ul vex wim yor zan est'.split(
  ' ',
)
const VOCABULARY = 8_000
const WORDS_PER_CHUNK = 150
const WORDS_PER_QUESTION = 6

export type Corpus = { chunks: string[]; question: (number: number) => string }

/**
 * Texts of about 900 characters whose words are spread as those of a language are: a few in nearly every chunk, most in
 * hardly any (Zipf's law). Each question takes its words from one chunk. The same seed gives the same texts.
 */
export function makeCorpus(chunkCount: number, seed: number): Corpus {
  const random = randomNumbers(seed)
  const words = Array.from({ length: VOCABULARY }, (_, rank) => wordOf(rank))
  // Log-uniform ranks: the n-th word comes about 1/n as often as the first.
  const pick = () => words[Math.floor(VOCABULARY ** random()) - 1] as string
  const chunks = Array.from({ length: chunkCount }, () => Array.from({ length: WORDS_PER_CHUNK }, pick).join(' '))
  const question = (number: number) => {
    const from = randomNumbers(seed + number)
    const chunk = (chunks[Math.floor(from() * chunkCount)] as string).split(' ')
    const asked = Array.from({ length: WORDS_PER_QUESTION }, () => chunk[Math.floor(from() * chunk.length)])
    return `What is known of ${asked.join(' ')}?`
  }
  return { chunks, question }
}

/** A word of its own for each rank: two to four syllables. */
function wordOf(rank: number): string {
  const digits = [rank % 24, Math.floor(rank / 24) % 24, Math.floor(rank / 576) % 24]
  return digits.map((digit) => SYLLABLES[digit]).join('') + (rank % 2 ? 'a' : '')
}
