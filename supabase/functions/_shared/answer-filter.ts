import { createCitationFilter } from './citations.ts'
import { addressesIn, createMarkdownSanitizer } from './sanitize.ts'

/** Everything a model's text passes through before anybody sees or stores it. */
export type AnswerFilter = {
  push: (text: string) => string
  end: () => string
  used: () => number[]
  invalidCount: () => number
}

/** Options of `createAnswerFilter`. */
export type AnswerFilterOptions = {
  /** Citation keys that resolve; null leaves marks alone, for answers without citations. */
  keys: ReadonlySet<number> | null
  /** What the caller sent or may read: addresses in it may stay links. */
  knownTexts: Iterable<string>
}

/** Makes the filter for one answer: marks first, because taking one out may join what stood around it into a link. */
export function createAnswerFilter(options: AnswerFilterOptions): AnswerFilter {
  const marks = options.keys === null ? null : createCitationFilter(options.keys)
  const sanitizer = createMarkdownSanitizer(addressesIn(options.knownTexts))
  return {
    push: (text) => sanitizer.push(marks ? marks.push(text) : text),
    end: () => sanitizer.push(marks?.end() ?? '') + sanitizer.end(),
    used: () => marks?.used() ?? [],
    invalidCount: () => marks?.invalidCount() ?? 0,
  }
}
