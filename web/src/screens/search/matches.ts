import type { Span } from '../../lib/page-text.ts'

const WORD = /[\p{L}\p{N}\p{M}]+/gu
/** Scripts without spaces: their words are found as they stand. */
const UNSPACED =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Thai}\p{Script=Lao}\p{Script=Myanmar}\p{Script=Khmer}]/u

const plain = (text: string): string => text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase()

/**
 * Whether a word of a text is what the dictionary wrote as `term`. Only the dictionary knows for certain: a stem is the
 * beginning of its words, but for a y that it turned into an i, and short stems begin too many words to allow long ends.
 */
function isWordOf(word: string, term: string): boolean {
  if (word === term) return true
  const stem = term.endsWith('i') && !word.startsWith(term) ? `${term.slice(0, -1)}y` : term
  return term.length >= 3 && word.startsWith(stem) && word.length - stem.length <= (term.length < 5 ? 3 : 6)
}

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&')

/** Where a text has the words and identifiers that it was found by; for marking them. */
export function matchesIn(text: string, terms: readonly string[], identifiers: readonly string[]): Span[] {
  const spans: Span[] = []
  const words = terms.map(plain).filter((term) => term !== '' && !UNSPACED.test(term))
  if (words.length > 0) {
    for (const match of text.matchAll(WORD)) {
      const word = plain(match[0])
      if (words.some((term) => isWordOf(word, term)))
        spans.push({ from: match.index, to: match.index + match[0].length })
    }
  }
  const patterns = [
    ...terms.filter((term) => UNSPACED.test(term)).map((term) => new RegExp(escaped(term), 'giu')),
    // An identifier is found with or without the signs between its parts.
    ...identifiers.map(
      (code) =>
        new RegExp(`(?<![\\p{L}\\p{N}])${[...code].map(escaped).join('[\\s._/\\-]*')}(?![\\p{L}\\p{N}])`, 'giu'),
    ),
  ]
  for (const pattern of patterns) {
    for (const match of text.matchAll(pattern)) spans.push({ from: match.index, to: match.index + match[0].length })
  }
  return spans
}
