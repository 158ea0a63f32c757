import { decodeText } from './decode-text.ts'
import type { Extraction } from './extraction.ts'
import { corrupt } from './failure.ts'
import { paginate } from './paginate.ts'
import { sanitizeText, sanitizeTitle } from './sanitize.ts'

/** `text.indexOf(mark, from)` for a `from` that only grows, in linear time altogether. */
function finder(text: string, mark: string): (from: number) => number {
  let found = -1
  return (from) => {
    if (found < from && found < text.length) {
      const next = text.indexOf(mark, from)
      found = next < 0 ? text.length : next
    }
    return found < text.length ? found : -1
  }
}

const FENCE = /^ {0,3}(`{3,}|~{3,})(.*)$/
/** What may stand before a comment that begins a block: blanks and the marks of list items. */
const BEFORE_BLOCK = /^(?:[ \t]|(?:[-*+]|\d{1,9}[.)])(?=[ \t])){0,100}/

/** Leaves comments out, as a reader of the page sees none; in code they are text, and one inside a paragraph ends with it. */
function withoutComments(text: string): string {
  const kept: string[] = []
  const findLineEnd = finder(text, '\n')
  const findBlankLine = finder(text, '\n\n')
  const findClose = finder(text, '-->')
  const findTick = finder(text, '`')
  let from = 0
  let fence: string | null = null
  for (let at = text.includes('<!--') ? 0 : text.length; at < text.length; ) {
    const lineEnd = findLineEnd(at)
    const end = lineEnd < 0 ? text.length : lineEnd
    const [, marks, rest = ''] = (at === 0 || text[at - 1] === '\n' ? FENCE.exec(text.slice(at, end)) : null) ?? []
    if (fence !== null) {
      if (marks?.startsWith(fence) && rest.trim() === '') fence = null
      at = end + 1
    } else if (marks !== undefined && !rest.includes('`')) {
      fence = marks
      at = end + 1
    } else {
      const comment = commentIn(at, end)
      if (comment) {
        kept.push(text.slice(from, comment.open))
        from = comment.end
      }
      at = comment?.end ?? end + 1
    }
  }
  return kept.join('') + text.slice(from)

  /** The first comment that opens in this part of a line. */
  function commentIn(start: number, end: number): { open: number; end: number } | null {
    let span = 0
    const isLine = start === 0 || text[start - 1] === '\n'
    const before = isLine ? (BEFORE_BLOCK.exec(text.slice(start, end))?.[0] ?? '') : null
    for (const { 0: token, index } of text.slice(start, end).matchAll(/`+|<!--/g)) {
      if (token !== '<!--') {
        if (span === 0) span = token.length
        else if (span === token.length) span = 0
        continue
      }
      const open = start + index
      const tick = span > 0 ? findTick(open) : -1
      if (tick >= 0 && tick < end) continue
      const close = findClose(open + 4)
      if (close < 0) return null
      const blankLine = findBlankLine(open)
      if (blankLine >= 0 && blankLine < close) {
        if (before?.length !== index) continue
        // In a list item it ends with that, which goes on behind a blank line only where this is indented.
        if (!/^ {0,3}$/.test(before) && !/[ \t]/.test(text[blankLine + 2] ?? '')) continue
      }
      return { open, end: close + 3 }
    }
    return null
  }
}

/** Replaces images that are embedded as data with their descriptions. */
function withoutEmbeddedImages(text: string): string {
  const kept: string[] = []
  const findBracket = finder(text, ']')
  let from = 0
  for (let open = text.indexOf('!['); open >= 0; ) {
    const bracket = findBracket(open + 2)
    if (bracket < 0) break
    let next = open + 2
    if (text.startsWith('](data:', bracket)) {
      const close = text.indexOf(')', bracket + 7)
      if (close < 0) break
      kept.push(text.slice(from, open), text.slice(open + 2, bracket))
      next = from = close + 1
    }
    open = text.indexOf('![', next)
  }
  return kept.join('') + text.slice(from)
}

const KEY = /^(?:["'$@\p{L}\p{N}_][^\n]*?|<<):(?:\s|$)/u

/**
 * What stands between the marks of front matter, and where the text begins; null when what begins like it is text under a
 * rule. Its first line but for blank ones and comments is a key, and each other is another, a comment, or goes on with a value.
 */
function readFrontMatter(source: string): { body: string; end: number } | null {
  const found = /^---\n([\s\S]*?)\n---(?:\n|$)/.exec(source)
  const [whole = '', body = ''] = found ?? []
  const lines = body.split('\n')
  const first = lines.find((line) => !/^\s*(?:#|$)/.test(line)) ?? ''
  const indent = /^ {0,3}/.exec(first)?.[0] ?? ''
  if (!KEY.test(first.slice(indent.length))) return null
  // What begins otherwise may as well be a heading or a paragraph under a rule, with a blank line before the next rule.
  if (!KEY.test(body) && body.endsWith('\n')) return null
  if (!lines.every((line) => /^(?:$|[\s#\]}]|-(?:\s|$))/.test(line) || KEY.test(line))) return null
  const unindented = lines.map((line) => (line.startsWith(indent) ? line.slice(indent.length) : line))
  return { body: unindented.join('\n'), end: whole.length }
}

/** The title that front matter gives, without the quotes that may be around it. */
function titleOf(frontMatter: string): string {
  const value = /^title:(.*)$/m.exec(frontMatter)?.[1]?.trim() ?? ''
  return sanitizeTitle(value.replace(/^["']/, '').replace(/["']$/, ''))
}

/**
 * Markdown stays as written, because the chunker reads its structure; what no reader sees goes: front matter (kept as
 * `title` if it has one), comments, and images embedded as data.
 */
export function extractMarkdown(bytes: Uint8Array): Extraction {
  const decoded = decodeText(bytes)
  if (!decoded) throw corrupt('Markdown file')
  const metadata: Extraction['metadata'] = { encoding: decoded.encoding }
  const source = sanitizeText(decoded.text)
  const frontMatter = readFrontMatter(source)
  const title = frontMatter && titleOf(frontMatter.body)
  if (title) metadata.title = title
  const text = withoutEmbeddedImages(withoutComments(source.slice(frontMatter?.end ?? 0)))
  return { pages: paginate(sanitizeText(text)), metadata }
}
