/**
 * Makes a model's Markdown harmless wherever it is rendered. The model is hostile: whoever wrote a document it read may
 * have told it to put what it knows into an address, and a rendered image fetches its address without a click.
 *
 * - Images never survive: `![` becomes `! [`.
 * - A link survives only when its target is exactly an address that the caller's own context or message holds; otherwise
 *   `](` becomes `] (`.
 * - Link definitions (`[x]: address`) never survive: `]:` becomes `] :`.
 * - `<` that could begin HTML or an autolink becomes `< `.
 * - Bare addresses that renderers would link are defanged (`hxxps://`, `www[.]`) unless the context holds them.
 * - Character references that could spell an address become text (`&amp;#104;`).
 * - Invisible characters that can carry hidden text or reorder it are removed.
 *
 * All this holds everywhere, in code as well and behind backslashes: renderers disagree on where code, mathematics and
 * containers end, so no reading of the text is safe in all of them. Hence spaces instead of escapes: code with them still
 * reads, and mostly runs, as before. What renders the content of code blocks, as diagrams for instance, has to keep those
 * from loading anything itself.
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
/** Renderers drop a backslash before punctuation, and may link what is left. */
const ADDRESS_START = /^(?:(?:https?|ftp)\\?:\\?\/\\?\/|www\\?\.)/i
const ADDRESS_STARTS = ['http://', 'https://', 'ftp://', 'www.']
const LONGEST_START = 'https\\:\\/\\/'.length
// As far as a renderer may stretch a bare address, so that nothing can be appended to an allowed one.
const ADDRESSES = /(?:https?:\/\/|ftp:\/\/|www\.)[^\s<]{1,2100}/gi
// Some renderers end an address at ASCII white space only.
const ADDRESS_CHAR = /[^ \t\n<]/
const TARGET_CHAR = /[^\s<>()\\]/
const TRAILING = '?!.,:;*_~\'"`()[]{}>|\\'
/** What may follow a bare address: what closes around it, and the end of a sentence. More could carry data. */
const CLOSING = /^(?:[)\]>"'`]|\*\*)?[.,;:!?]?$/
const MAX_CLOSING_CHARS = 3
/** Character references that are common in prose and cannot spell an address. */
const HARMLESS_REFERENCES = ['&amp', '&lt', '&gt', '&quot', '&nbsp']
/** The longest name of a character reference has 31 characters. */
const REFERENCE = /^&[A-Za-z][A-Za-z0-9]{0,39}/
// Zero-width and bidirectional controls, tags, variation selectors beyond the emoji ones, other controls, and halves of
// surrogate pairs. The joiners that scripts and emoji need (U+200C, U+200D) stay.
const REMOVED =
  /[\u00AD\u180E\u200B\u200E\u200F\u202A-\u202E\u2060-\u2064\u2066-\u206F\uFEFF\u{E0000}-\u{E0FFF}]|(?![\n\t])\p{Cc}|\p{Surrogate}/gu
/** Characters that need no decision. */
const PLAIN = /^[^!\]<&hfwHFW\n]+/

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
      // One that contains the middle of a link could be told to become one.
      if (!match[0].includes('](')) found.add(trimmed(match[0]))
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
  let buffer = ''
  /** First and last characters of the current line up to the buffer, for telling a link definition from a citation mark. */
  let lineStart = ''
  let lineEnd = ''

  const keep = (length: number): Step => ({ length, output: buffer.slice(0, length) })
  /** Up to where the buffer is known to hold such characters only: no character is looked at again. */
  const known = new Map<RegExp, number>()
  const runLength = (from: number, char: RegExp) => {
    let end = Math.max(from, known.get(char) ?? 0)
    while (end < buffer.length && end - from <= MAX_ADDRESS_CHARS && char.test(buffer[end] ?? '')) end++
    known.set(char, end)
    return end
  }
  const mayGoOn = (from: number, end: number, ended: boolean) =>
    !ended && end === buffer.length && end - from <= MAX_ADDRESS_CHARS

  function link(ended: boolean): Step {
    const end = runLength(2, TARGET_CHAR)
    if (mayGoOn(2, end, ended)) return null
    return buffer[end] === ')' && allowed.has(buffer.slice(2, end)) ? keep(end + 1) : { length: 2, output: '] (' }
  }

  /** Whether `]:` here belongs to a citation mark in a sentence. A definition would begin its line. */
  const endsMark = () => /[^\\]\[\d{1,3}$/.test(lineEnd) && /\p{L}{2}/u.test(lineStart)

  /** The allowed address that the buffer begins with; `end` is where a renderer may see its end. */
  function allowedAddress(end: number): string | undefined {
    for (let length = end; length >= end - MAX_CLOSING_CHARS; length--) {
      const candidate = buffer.slice(0, length)
      if (allowed.has(candidate) && CLOSING.test(buffer.slice(length, end))) return candidate
    }
    return undefined
  }

  function address(ended: boolean): Step {
    const start = ADDRESS_START.exec(buffer)?.[0]
    if (start === undefined) {
      const begun = buffer
        .slice(0, LONGEST_START)
        .toLowerCase()
        .replace(/\\(?=[:/.]|$)/g, '')
      return !ended && ADDRESS_STARTS.some((candidate) => candidate.startsWith(begun)) ? null : keep(1)
    }
    const end = runLength(0, ADDRESS_CHAR)
    if (mayGoOn(0, end, ended)) return null
    const found = end <= MAX_ADDRESS_CHARS ? allowedAddress(end) : undefined
    if (found !== undefined) return keep(found.length)
    const output = /^www/i.test(start) ? `${start.slice(0, 3)}[.]` : start.replace(/tt/i, 'xx').replace(/^ftp/i, 'fxp')
    return { length: start.length, output }
  }

  function reference(ended: boolean): Step {
    const name = REFERENCE.exec(buffer)?.[0]
    if (name === undefined) return buffer[1] === '#' ? { length: 1, output: '&amp;' } : keep(1)
    if (!ended && name.length === buffer.length) return null
    return buffer[name.length] === ';' && !HARMLESS_REFERENCES.includes(name)
      ? { length: 1, output: '&amp;' }
      : keep(name.length)
  }

  function step(ended: boolean): Step {
    const plain = PLAIN.exec(buffer)?.[0]
    if (plain !== undefined) return keep(plain.length)
    const char = buffer[0] ?? ''
    if (char === '\n') return keep(1)
    if (/[hfw]/i.test(char)) return address(ended)
    const next = buffer[1]
    if (next === undefined && !ended) return null
    if (char === '&') return reference(ended)
    if (char === ']' && next === '(') return link(ended)
    const needsSpace =
      (char === '!' && next === '[') ||
      (char === ']' && next === ':' && !endsMark()) ||
      (char === '<' && next !== undefined && /[A-Za-z/!?]/.test(next))
    return needsSpace ? { length: 1, output: `${char} ` } : keep(1)
  }

  function consume(ended: boolean): string {
    let output = ''
    while (buffer !== '') {
      const taken = step(ended)
      if (taken === null) break
      const source = buffer.slice(0, taken.length)
      buffer = buffer.slice(taken.length)
      for (const [char, end] of known) known.set(char, end - taken.length)
      const line = source.slice(source.lastIndexOf('\n') + 1)
      const isNewLine = line.length < source.length
      lineStart = ((isNewLine ? '' : lineStart) + line).slice(0, 100)
      lineEnd = ((isNewLine ? '' : lineEnd) + line).slice(-5)
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
