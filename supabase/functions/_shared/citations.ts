import { createFenceTracker } from './fences.ts'
import type { ContextItem } from './providers/index.ts'

/** What a mark `[n]` in an answer stands for; the columns of ai.message_citations. */
export type Citation = {
  citation_key: number
  item_id: string | null
  source_id: string | null
  text_excerpt: string
  meta: Record<string, unknown>
}

/** Takes the citation marks out of a streamed text that resolve to nothing. */
export type CitationFilter = {
  /** Takes the next piece of text, returns what can be given out. */
  push: (text: string) => string
  /** The rest, once the text has ended. */
  end: () => string
  /** Keys cited so far, in order of first mention. */
  used: () => number[]
  /** Number of marks that resolved to nothing. */
  invalidCount: () => number
}

/** Characters of an excerpt; a longer one is cut. */
const MAX_EXCERPT_CHARS = 300
/** Longest mark that is waited for, e.g. `[1, 2, 3]`. */
const MAX_MARK_CHARS = 80
/** Longest inline code that is waited for. */
const MAX_CODE_CHARS = 200
// White space is counted as far as a mark may reach: read to its end at each of its characters, a long run takes forever.
const MARK = /^([ \t]{0,80})(?:\[\^?\s?(\d{1,4}(?:\s?[,;–-]\s?\d{1,4})*)\s?\]|【(\d{1,4})(?:†[^】\n]{0,40})?】)/
const MARK_BEGUN = /^[ \t]{0,80}(?:\[(?:\^?[\d\s,;–-]*)|【(?:\d{0,4}(?:†[^】\n]{0,40})?))$/
const PLAIN = /^[^ \t[【`\n]+/

/** The numbers of a mark: `1, 3-5` → 1 3 4 5. */
function keysOf(list: string): number[] {
  return list.split(/[,;]/).flatMap((part) => {
    const [from = 0, to = from] = part.split(/[–-]/).map(Number)
    return to > from && to - from < 20
      ? Array.from({ length: to - from + 1 }, (_, i) => from + i)
      : [from, ...(to === from ? [] : [to])]
  })
}

/**
 * Makes a filter for one answer. Marks that name several items (`[1, 2]`, `[1-3]`) are given out one by one; marks in code
 * are text. The result does not depend on how the text was cut.
 */
export function createCitationFilter(keys: ReadonlySet<number>): CitationFilter {
  const fences = createFenceTracker()
  const used: number[] = []
  let invalid = 0
  let buffer = ''

  type Step = { length: number; output: string } | null

  function mark(match: RegExpExecArray): Step {
    let output = ''
    for (const key of keysOf(match[2] ?? match[3] ?? '')) {
      if (keys.has(key)) {
        output += `[${key}]`
        if (!used.includes(key)) used.push(key)
      } else {
        invalid++
      }
    }
    // The space before a removed mark belonged to it.
    return { length: match[0].length, output: output === '' ? '' : (match[1] ?? '') + output }
  }

  function step(ended: boolean): Step {
    const char = buffer[0] ?? ''
    if (char === '\n') return { length: 1, output: char }
    if (fences.inside()) {
      const lineEnd = buffer.indexOf('\n')
      const length = lineEnd === -1 ? buffer.length : lineEnd
      return { length, output: buffer.slice(0, length) }
    }
    const plain = PLAIN.exec(buffer)?.[0]
    if (plain !== undefined) return { length: plain.length, output: plain }
    if (char === '`') {
      const code = /^`[^`\n]*`?/.exec(buffer)?.[0] ?? '`'
      if (code.length > MAX_CODE_CHARS) return { length: 1, output: '`' }
      if (code.length > 1 && code.endsWith('`')) return { length: code.length, output: code }
      return code.length === buffer.length && !ended ? null : { length: 1, output: '`' }
    }
    const match = MARK.exec(buffer)
    if (match && match[0].length <= MAX_MARK_CHARS) return mark(match)
    if (!ended && buffer.length <= MAX_MARK_CHARS && (/^[ \t]{1,80}$/.test(buffer) || MARK_BEGUN.test(buffer)))
      return null
    return { length: 1, output: char }
  }

  function consume(ended: boolean): string {
    let output = ''
    while (buffer !== '') {
      const taken = step(ended)
      if (taken === null) break
      fences.push(buffer.slice(0, taken.length))
      buffer = buffer.slice(taken.length)
      output += taken.output
    }
    return output
  }

  return {
    push(text) {
      buffer += text
      return consume(false)
    },
    end: () => consume(true),
    used: () => [...used],
    invalidCount: () => invalid,
  }
}

/** A text without any citation marks, as it goes into the history of a later turn. */
export function stripCitationMarks(text: string): string {
  const filter = createCitationFilter(new Set())
  return filter.push(text) + filter.end()
}

/** The first characters of a text, cut between characters. @param limit in code points. */
export function excerptOf(text: string, limit: number = MAX_EXCERPT_CHARS): string {
  if (text.length <= limit) return text
  const cut = Array.from(text.slice(0, limit * 2))
  return cut.length > limit ? cut.slice(0, limit - 1).join('') + '…' : cut.join('')
}

/** Where a whole document was found, with its text there; null for other items, and where the text does not go so far. */
function passageOf({ text, meta }: ContextItem): { text: string; meta: Record<string, unknown> } | null {
  const { start_char, end_char, pages } = Object(meta['passage']) as Record<string, unknown>
  if (typeof start_char !== 'number' || typeof end_char !== 'number' || text.length < end_char) return null
  return { text: text.slice(start_char, end_char), meta: { start_char, end_char, pages } }
}

/** A context item as a citation: what is stored, and what clients get as a candidate. Of a whole document the passage it was found by. */
export function citationOf(item: ContextItem): Citation {
  const passage = passageOf(item)
  return {
    citation_key: item.key,
    item_id: item.itemId ?? null,
    source_id: item.sourceId ?? null,
    text_excerpt: excerptOf(passage?.text ?? item.text),
    meta: {
      ...item.meta,
      ...passage?.meta,
      ...(item.itemId === undefined ? {} : { chunk_id: item.itemId }),
      ...(item.sourceName === undefined ? {} : { source_name: item.sourceName }),
    },
  }
}

/** The citations of an answer that used these keys. */
export function citationsFor(used: readonly number[], items: readonly ContextItem[]): Citation[] {
  return items.filter((item) => used.includes(item.key)).map(citationOf)
}
