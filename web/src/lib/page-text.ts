/** What stands between two pages of a source where their text is counted as one. */
export const PAGE_SEPARATOR = '\n\n'

/** A page of the extracted text of a source; pages count from 1. */
export type Page = { page_number: number; text: string }

/** A stretch of text from `from` up to, but without, `to`; UTF-16 code units, as `String.prototype.slice` counts. */
export type Span = { from: number; to: number }

/** The part of a span that stands on one page, with offsets in the text of that page. */
export type PageSpan = Span & { page: number }

/**
 * The parts of a span on the pages it stands on; the span counts in the text of all pages joined by two line feeds.
 * @param pages some pages that follow each other
 * @param start where the first of them begins in that text
 */
export function spansOnPages(pages: readonly Page[], span: Span, start = 0): PageSpan[] {
  const found: PageSpan[] = []
  let offset = start
  for (const { page_number: page, text } of pages) {
    const from = Math.max(span.from - offset, 0)
    const to = Math.min(span.to - offset, text.length)
    if (from < to) found.push({ page, from, to })
    offset += text.length + PAGE_SEPARATOR.length
  }
  return found
}

/** A line that is this long was broken by the layout of its page, not by its author. */
const FULL_LINE = 50

/**
 * The text with lines joined that only the width of a printed page has broken. As long as before, character for character, so
 * offsets into it hold.
 */
export function unwrapped(text: string): string {
  const lines = text.split('\n')
  return lines.reduce((joined, line, index) => {
    const before = lines[index - 1] ?? ''
    const isBroken = before.length >= FULL_LINE && /^[\p{L}\p{N}("“‘]/u.test(line) && !before.includes('|')
    return joined + (isBroken ? ' ' : '\n') + line
  })
}

/** Text cut at the borders of what is marked in it. */
export type Piece = { text: string; isMarked: boolean }

/** Cuts a text at the borders of spans, which may be in any order and overlap. */
export function piecesOf(text: string, spans: readonly Span[]): Piece[] {
  const pieces: Piece[] = []
  let at = 0
  for (const { from, to } of [...spans].sort((a, b) => a.from - b.from)) {
    const start = Math.max(from, at)
    const end = Math.min(to, text.length)
    if (start >= end) continue
    if (start > at) pieces.push({ text: text.slice(at, start), isMarked: false })
    pieces.push({ text: text.slice(start, end), isMarked: true })
    at = end
  }
  if (at < text.length) pieces.push({ text: text.slice(at), isMarked: false })
  return pieces
}
