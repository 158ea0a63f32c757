import { createFenceTracker } from './fences.ts'

/**
 * Makes a model's Markdown harmless wherever it is rendered. The model is hostile: whoever wrote a document it read may
 * have told it to put what it knows into an address, and a rendered image fetches its address without a click.
 *
 * - Images never survive: `![` becomes `\![`.
 * - A link survives only when its target is an address that the caller's own context or message holds; otherwise `](`
 *   becomes `]\(`.
 * - Link definitions (`[x]: address`) never survive: `]:` becomes `]\:`.
 * - `<` that could begin HTML or an autolink becomes `&lt;`.
 * - Bare addresses that renderers would link are defanged (`hxxps://`, `www[.]`) unless the context holds them.
 * - Invisible characters that can carry hidden text or reorder it are removed.
 * Text in fenced code blocks is left alone, as renderers do.
 *
 * Each decision depends on the text only, never on how it was cut, so streamed and stored text are the same.
 */
export type MarkdownSanitizer = {
  /** Takes the next piece of text, returns what can be given out. */
  push: (text: string) => string
  /** The rest, once the text has ended. */
  end: () => string
}

/** Longest link target or bare address that is looked at; a longer one is never allowed. */
const MAX_ADDRESS_CHARS = 2048
const ADDRESS_STARTS = ['http://', 'https://', 'ftp://', 'www.']
// As far as a renderer may stretch a bare address, so that nothing can be appended to an allowed one.
const ADDRESSES = /(?:https?:\/\/|ftp:\/\/|www\.)[^\s<]{1,2100}/gi
const ADDRESS_CHAR = /[^\s<]/
const TARGET_CHAR = /[^\s<>()\\]/
const TRAILING = '?!.,:;*_~\'"`()[]{}>|\\'
// Zero-width and bidirectional controls, tags, variation selectors beyond the emoji ones, other controls, and halves of
// surrogate pairs. The joiners that scripts and emoji need (U+200C, U+200D) stay.
const REMOVED =
  /[\u00AD\u180E\u200B\u200E\u200F\u202A-\u202E\u2060-\u2064\u2066-\u206F\uFEFF\u{E0000}-\u{E0FFF}]|(?![\n\t])\p{Cc}|\p{Surrogate}/gu
const PUNCTUATION = /[!-/:-@[-`{-~]/
/** Characters that need no decision. */
const PLAIN = /^[^\\!\]<hfwHFW\n]+/

/** Without what renderers do not count as part of an address. No regular expression: its time would grow with the square. */
function trimmed(address: string): string {
  let end = address.length
  while (end > 0 && TRAILING.includes(address[end - 1] ?? '')) end--
  return address.slice(0, end)
}

/** The addresses that texts hold, in the form `createMarkdownSanitizer` compares. */
export function addressesIn(texts: Iterable<string>): Set<string> {
  const found = new Set<string>()
  for (const text of texts) {
    for (const match of text.matchAll(ADDRESSES)) {
      if (match[0].length > MAX_ADDRESS_CHARS) continue
      found.add(trimmed(match[0]))
      // In `[text](address)` the address ends at the parenthesis, whatever follows it.
      found.add(trimmed(match[0].split(/[()]/)[0] ?? ''))
    }
  }
  return found
}

/** How much of the buffer is decided and what to give out for it; null: more text is needed to tell. */
type Step = { length: number; output: string } | null

/** Makes a sanitizer for one text. @param allowed addresses that may stay links, from `addressesIn`. */
export function createMarkdownSanitizer(allowed: ReadonlySet<string>): MarkdownSanitizer {
  const fences = createFenceTracker()
  let buffer = ''
  /** The current line up to the buffer, for telling a link definition from a citation mark. */
  let line = ''

  const runLength = (from: number, char: RegExp) => {
    let end = from
    while (end < buffer.length && end - from <= MAX_ADDRESS_CHARS && char.test(buffer[end] ?? '')) end++
    return end
  }
  const mayGoOn = (from: number, end: number, ended: boolean) =>
    !ended && end === buffer.length && end - from <= MAX_ADDRESS_CHARS

  function link(ended: boolean): Step {
    const end = runLength(2, TARGET_CHAR)
    if (mayGoOn(2, end, ended)) return null
    return buffer[end] === ')' && allowed.has(trimmed(buffer.slice(2, end)))
      ? { length: end + 1, output: buffer.slice(0, end + 1) }
      : { length: 2, output: ']\\(' }
  }

  /** Whether `]:` here can end the label of a definition: its bracket begins the line, or an earlier one. */
  function couldDefine(): boolean {
    const bracket = line.replace(/\\./g, '  ').indexOf('[')
    return bracket === -1 || /^[\s>*+\-\d.)]*$/.test(line.slice(0, bracket))
  }

  function address(ended: boolean): Step {
    const lower = buffer.slice(0, 8).toLowerCase()
    const start = ADDRESS_STARTS.find((candidate) => lower.startsWith(candidate))
    if (start === undefined) {
      const undecided = !ended && ADDRESS_STARTS.some((candidate) => candidate.startsWith(lower))
      return undecided ? null : { length: 1, output: buffer.slice(0, 1) }
    }
    const end = runLength(0, ADDRESS_CHAR)
    if (mayGoOn(0, end, ended)) return null
    const whole = buffer.slice(0, end)
    if (end <= MAX_ADDRESS_CHARS && allowed.has(trimmed(whole))) {
      const length = trimmed(whole).length
      return { length, output: buffer.slice(0, length) }
    }
    const written = buffer.slice(0, start.length)
    const defanged =
      start === 'www.' ? `${written.slice(0, 3)}[.]` : written.replace(/tt/i, 'xx').replace(/^ftp/i, 'fxp')
    return { length: start.length, output: defanged }
  }

  function exclamation(ended: boolean): Step {
    if (!ended && /^!(\[(\d{0,3}\]?)?)?$/.test(buffer)) return null
    // "Yes![1]" is a mark behind an exclamation; without definitions it cannot become an image.
    if (buffer[1] !== '[' || /^!\[\d{1,3}\](?!\()/.test(buffer)) return { length: 1, output: '!' }
    return { length: 1, output: '\\!' }
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
    if (char === '!') return exclamation(ended)
    if (/[hfw]/i.test(char)) return address(ended)
    const next = buffer[1]
    if (next === undefined && !ended) return null
    if (char === '\\') {
      // An escaped character has no meaning of its own; it must not be looked at again.
      const length = next !== undefined && PUNCTUATION.test(next) ? 2 : 1
      return { length, output: buffer.slice(0, length) }
    }
    if (char === ']') {
      if (next === '(') return link(ended)
      return next === ':' && couldDefine() ? { length: 2, output: ']\\:' } : { length: 1, output: char }
    }
    return { length: 1, output: next !== undefined && /[A-Za-z/!?]/.test(next) ? '&lt;' : char }
  }

  function consume(ended: boolean): string {
    let output = ''
    while (buffer !== '') {
      const taken = step(ended)
      if (taken === null) break
      const source = buffer.slice(0, taken.length)
      buffer = buffer.slice(taken.length)
      fences.push(source)
      line = source.includes('\n') ? '' : (line + source).slice(-8000)
      output += taken.output
    }
    return output
  }

  /** A half surrogate pair or line break at the end waits for its other half. */
  let held = ''
  const clean = (text: string) => text.replace(/\r\n?|[\u2028\u2029]/g, '\n').replace(REMOVED, '')
  return {
    push(text) {
      const whole = held + text
      held = /[\uD800-\uDBFF\r]$/.test(whole) ? whole.slice(-1) : ''
      buffer += clean(held === '' ? whole : whole.slice(0, -1))
      return consume(false)
    },
    end() {
      buffer += clean(held)
      held = ''
      return consume(true)
    },
  }
}

/** A whole text, sanitized. */
export function sanitizeMarkdown(text: string, allowed: ReadonlySet<string>): string {
  const sanitizer = createMarkdownSanitizer(allowed)
  return sanitizer.push(text) + sanitizer.end()
}
