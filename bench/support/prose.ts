import type { PdfPage } from './pdf.ts'

const NOUNS =
  'harbor vessel container manifest customs tariff route warehouse pallet crane tide berth pilot ledger invoice audit ' +
  'policy clause premium contract shipment carrier depot inspection seal permit delay surcharge weather storm insurance ' +
  'forklift engine fuel sensor record archive signature deadline meeting budget report partner supplier region schedule'
const VERBS = 'records moves checks delays signs approves loads inspects reports insures seals stores assigns cancels'
const ADJECTIVES =
  'annual late northern sealed heavy digital final open regional costly urgent fragile certified manual'
const LINES_PER_PAGE = 46
const WORDS = { nouns: NOUNS.split(' '), verbs: VERBS.split(' '), adjectives: ADJECTIVES.split(' ') }

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** One sentence of about ten words out of a small world of harbors and contracts. */
export function sentence(random: () => number): string {
  const pick = (words: string[]) => words[Math.floor(random() * words.length)] as string
  const { nouns, verbs, adjectives } = WORDS
  const text =
    `the ${pick(adjectives)} ${pick(nouns)} ${pick(verbs)} the ${pick(nouns)} of the ${pick(adjectives)} ` +
    `${pick(nouns)} after ${Math.floor(random() * 900) + 100} ${pick(nouns)} days.`
  return text.charAt(0).toUpperCase() + text.slice(1)
}

/**
 * Pages of numbered sections in sentences, about 3,500 characters each. `marker` is a word of its own on the last page:
 * finding it proves that the whole document is searchable.
 */
export function prosePages(pageCount: number, seed: number, marker: string): PdfPage[] {
  const random = randomNumbers(seed)
  return Array.from({ length: pageCount }, (_, index) => {
    const lines = [`${index + 1}. Section ${index + 1}: ${sentence(random)}`, '']
    while (lines.length < LINES_PER_PAGE) lines.push(sentence(random))
    if (index === pageCount - 1) lines.push(`The closing word of this document is ${marker}.`)
    return lines
  })
}
