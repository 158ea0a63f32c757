import type { Source } from './layout.ts'
import { normal, pickFrom, type Random, stream, weightedIndex, weightedSample } from './random.ts'
import type { Vocabulary } from './vocabulary.ts'

/** A chunk as it was made: what queries are taken from. Words are ranks in the vocabulary. */
export type Chunk = {
  text: string
  words: number[]
  /** For each word, whether it was drawn from the words of the source's topic. */
  ofTopic: boolean[]
  /** Identifiers in the text; the one of this chunk alone comes before the one it shares with its source. */
  codes: string[]
}

export type Texts = {
  vocabulary: Vocabulary
  /** For each topic its words as ranks in the vocabulary, the likeliest first. */
  topicWords: number[][]
  chunkOf(source: Source, row: number): Chunk
}

const WORDS_PER_TOPIC = 160
const FIRST_TOPIC_RANK = 250
const PREFIXES = ['INV', 'SKU', 'ORD', 'TCK', 'PN', 'DOC', 'CASE', 'ERR']

/** The texts of the corpus. Each chunk is made on demand from its row number, so that a million need no memory. */
export function makeTexts(vocabulary: Vocabulary, topicCount: number, seed: number): Texts {
  const { words: spelling, counts } = vocabulary
  const anyWord = weightedIndex(counts.map((count) => count ** 0.95))
  const topicWeights = counts.subarray(FIRST_TOPIC_RANK).map((count) => count ** 0.35)
  const topicWords = Array.from({ length: topicCount }, (_, topic) =>
    weightedSample(stream(seed, 'topic words', topic), topicWeights, WORDS_PER_TOPIC).map((i) => i + FIRST_TOPIC_RANK),
  )
  const topicRank = weightedIndex(Float64Array.from({ length: WORDS_PER_TOPIC }, (_, rank) => (rank + 1) ** -0.9))

  const chunkOf = (source: Source, row: number): Chunk => {
    const random = stream(seed, 'text', row)
    const ofItsTopic = topicWords[source.topic] as number[]
    const length = Math.max(60, Math.round(normal(random, 128, 22)))
    const words: number[] = []
    const ofTopic: boolean[] = []
    for (let i = 0; i < length; i++) {
      const isTopical = random() < 0.3
      ofTopic.push(isTopical)
      words.push(isTopical ? (ofItsTopic[topicRank(random)] as number) : anyWord(random))
    }
    const codes: string[] = []
    if (random() < 0.3) codes.push(makeCode(random))
    if (source.ownsCode && random() < 0.5) codes.push(makeCode(stream(seed, 'source code', source.index)))
    const tokens = words.map((rank) => spelling[rank] as string)
    for (const code of codes) tokens.splice(Math.floor(random() * (tokens.length + 1)), 0, code)
    return { text: sentences(tokens, random), words, ofTopic, codes }
  }
  return { vocabulary, topicWords, chunkOf }
}

function sentences(tokens: string[], random: Random): string {
  const parts: string[] = []
  for (let at = 0; at < tokens.length; ) {
    const length = 7 + Math.floor(random() * 11)
    const sentence = tokens.slice(at, at + length).join(' ')
    parts.push(`${sentence.charAt(0).toUpperCase()}${sentence.slice(1)}.`)
    at += length
  }
  return parts.join(' ')
}

const digits = (random: Random, count: number): string =>
  Array.from({ length: count }, () => Math.floor(random() * 10)).join('')

/** An identifier of one of three shapes: INV-2024-00812, DZ65032-A or PN48213. */
export function makeCode(random: Random): string {
  const shape = random()
  if (shape < 0.5) return `${pickFrom(random, PREFIXES)}-${2019 + Math.floor(random() * 8)}-${digits(random, 5)}`
  if (shape < 0.8) {
    return `${pickFrom(random, [...'ABCDEFGHJK'])}${pickFrom(random, [...'XKQZ'])}${digits(random, 5)}-${pickFrom(random, [...'ABCDE'])}`
  }
  return pickFrom(random, PREFIXES) + digits(random, 5)
}

/** The code with one letter or digit changed into another. */
export function mistype(code: string, random: Random): string {
  for (;;) {
    const at = Math.floor(random() * code.length)
    const old = code.charAt(at)
    if (old === '-') continue
    const others = [...(/\d/.test(old) ? '0123456789' : 'ABCDEFGHIJKLMNOPQRSTUVWXYZ')].filter((other) => other !== old)
    return code.slice(0, at) + pickFrom(random, others) + code.slice(at + 1)
  }
}
