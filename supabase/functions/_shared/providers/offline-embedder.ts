import type { Embedder } from './index.ts'
import { stem, terms } from './text.ts'

/** Name stored with vectors of the offline embedder; a change of its arithmetic needs a new one. */
export const OFFLINE_EMBEDDING_MODEL = 'bulkhead-hash-384'
const DIMENSIONS = 384

const STOP_WORD_WEIGHT = 0.05
const NGRAM_WEIGHT = 0.35
const PAIR_WEIGHT = 0.3

/** FNV-1a over UTF-16 code units, mixed once more because its low bits are weak. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (let i = 0; i < text.length; i++) {
    value ^= text.charCodeAt(i)
    value = Math.imul(value, 0x01000193)
  }
  value ^= value >>> 16
  value = Math.imul(value, 0x85ebca6b)
  value ^= value >>> 13
  value = Math.imul(value, 0xc2b2ae35)
  return (value ^ (value >>> 16)) >>> 0
}

/** How often each feature occurs: stems, pairs of neighbouring content words, and character trigrams of words. */
function features(text: string): Map<string, number> {
  const counts = new Map<string, number>()
  const add = (feature: string, weight: number) => counts.set(feature, (counts.get(feature) ?? 0) + weight)
  let before = ''
  for (const term of terms(text)) {
    const word = term.isUnspaced ? term.text : stem(term.text)
    add(`w:${word}`, term.isStopWord ? STOP_WORD_WEIGHT : 1)
    if (term.isStopWord) continue
    if (before !== '' && !term.isUnspaced) add(`p:${before} ${word}`, PAIR_WEIGHT)
    before = term.isUnspaced ? '' : word
    if (!term.isUnspaced && word.length > 3) {
      const padded = `^${word}$`
      const weight = NGRAM_WEIGHT / Math.sqrt(padded.length - 2)
      for (let i = 0; i + 3 <= padded.length; i++) add(`g:${padded.slice(i, i + 3)}`, weight)
    }
  }
  return counts
}

/** One vector of unit length: hashed features with damped counts. A text without words gives the first axis. */
function embedOne(text: string): number[] {
  const vector = new Float64Array(DIMENSIONS)
  for (const [feature, count] of features(text)) {
    const value = hash(feature)
    const weight = count >= 1 ? 1 + Math.log(count) : count
    const index = value % DIMENSIONS
    vector[index] = (vector[index] ?? 0) + (value & 0x80000000 ? -weight : weight)
  }
  const norm = Math.hypot(...vector)
  if (norm === 0) vector[0] = 1
  return Array.from(vector, (component) => Math.round((norm === 0 ? component : component / norm) * 1e7) / 1e7)
}

/**
 * An embedder without a model: the same text gives the same vector on every machine. It finds shared words and shared
 * parts of words, not shared meaning.
 */
export function createOfflineEmbedder(): Embedder {
  return {
    model: OFFLINE_EMBEDDING_MODEL,
    dimensions: DIMENSIONS,
    embed: (texts, signal) => {
      signal?.throwIfAborted()
      return Promise.resolve(texts.map(embedOne))
    },
  }
}
