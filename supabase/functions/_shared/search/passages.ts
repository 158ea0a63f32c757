import { cutText } from '../cut-text.ts'
import type { SearchHit } from './hits.ts'
import { pagesOf } from './hits.ts'

/** A stretch of a passage and where it stands in its source. */
export type Span = {
  /** The chunk it is cited by. */
  chunk_id: string
  /** Offsets in the source's pages joined by two line feeds, in UTF-16 code units. */
  start_char: number
  end_char: number
  /** Page it stands or begins on, from 1; null where that is not known. */
  page: number | null
  /** Where it begins and ends in the text it is part of. */
  text_start: number
  text_end: number
}

/** A text made of stretches of one source, in their order. */
export type Passage = { text: string; spans: Span[]; pages: number[] }

/** What is read of a chunk to put it beside another. */
export type Neighbour = {
  id: string
  indexed_source_id: string
  chunk_index: number
  text: string
  start_char: number
  end_char: number
  meta: Record<string, unknown>
}

/** Between two pages in the joined text that offsets count in. */
export const PAGE_SEPARATOR = '\n\n'

type Piece = { chunkId: string; text: string; start: number; page: number | null }

/** Pieces as one text. Where characters are missing between two, they were white space or are not shown: a line end stands there. */
function join(pieces: readonly Piece[], pages: number[]): Passage {
  let text = ''
  let end: number | null = null
  const spans: Span[] = []
  for (const piece of pieces) {
    if (piece.text === '') continue
    if (end !== null && piece.start > end) text += piece.start - end === 1 ? '\n' : PAGE_SEPARATOR
    const text_start = text.length
    text += piece.text
    end = piece.start + piece.text.length
    spans.push({
      chunk_id: piece.chunkId,
      start_char: piece.start,
      end_char: end,
      page: piece.page,
      text_start,
      text_end: text.length,
    })
  }
  return { text, spans, pages }
}

/** Whether a chunk's text is as long as its span says: only then can one be counted in the other. */
const isAligned = (chunk: { text: string; start_char: number; end_char: number }) =>
  chunk.text.length === chunk.end_char - chunk.start_char

/** What of a hit is needed to put it beside other chunks. */
type Located = Pick<
  SearchHit,
  'chunk_id' | 'indexed_source_id' | 'chunk_index' | 'text' | 'start_char' | 'end_char' | 'meta'
>

/** What of a section stands where, as the search that made it says; null for a chunk. */
const sectionSpans = ({ meta }: Located): Span[] | null =>
  Array.isArray(meta['section_chunks']) && Array.isArray(meta['spans']) ? (meta['spans'] as Span[]) : null

/** The hit alone. */
export function passageOfHit(hit: Located): Passage {
  const pages = pagesOf(hit)
  const span = { chunk_id: hit.chunk_id, start_char: hit.start_char, end_char: hit.end_char, page: pages[0] ?? null }
  const own = sectionSpans(hit)
  return { text: hit.text, spans: own ?? [{ ...span, text_start: 0, text_end: hit.text.length }], pages }
}

/**
 * The hit between its neighbours, as far as they follow on each other without a missing index. What two chunks share
 * is there once, as part of the one nearer to the hit, so that the hit stays whole.
 */
export function passageWithNeighbours(hit: Located, neighbours: readonly Neighbour[]): Passage {
  if (!isAligned(hit)) return passageOfHit(hit)
  const byIndex = new Map(
    neighbours
      .filter((chunk) => chunk.indexed_source_id === hit.indexed_source_id && isAligned(chunk))
      .map((chunk) => [chunk.chunk_index, chunk]),
  )
  const own: Piece = { chunkId: hit.chunk_id, text: hit.text, start: hit.start_char, page: pagesOf(hit)[0] ?? null }
  const pieces = [own]
  const pages = new Set(pagesOf(hit))
  let [from, to] = [hit.start_char, hit.end_char]
  const add = (chunk: Neighbour, start: number, end: number, at: 'front' | 'back') => {
    const text = chunk.text.slice(start - chunk.start_char, end - chunk.start_char)
    if (text !== '')
      pieces[at === 'front' ? 'unshift' : 'push']({ chunkId: chunk.id, text, start, page: pagesOf(chunk)[0] ?? null })
    for (const page of pagesOf(chunk)) pages.add(page)
  }
  for (let index = hit.chunk_index - 1; ; index--) {
    const chunk = byIndex.get(index)
    if (chunk === undefined || chunk.start_char >= from) break
    add(chunk, chunk.start_char, Math.min(chunk.end_char, from), 'front')
    from = chunk.start_char
  }
  for (let index = hit.chunk_index + 1; ; index++) {
    const chunk = byIndex.get(index)
    if (chunk === undefined || chunk.end_char <= to) break
    add(chunk, Math.max(chunk.start_char, to), chunk.end_char, 'back')
    to = chunk.end_char
  }
  return join(
    pieces,
    [...pages].sort((a, b) => a - b),
  )
}

/**
 * The pages a hit stands on, whole, without those in `shown`. Where the pages begin in the source is found by the hit's own
 * text on them, so no page before them has to be read.
 * @param texts page numbers to texts
 * @returns null when all its pages are shown or one is missing, and when the hit's text is not on them (the source was read
 * anew meanwhile) or more than once (then nobody can say which one it is).
 */
export function passageOfPages(
  hit: SearchHit,
  texts: ReadonlyMap<number, string>,
  shown: ReadonlySet<number>,
): Passage | null {
  const pages = pageRange(hit)
  const read = pages.map((page) => texts.get(page))
  if (pages.length === 0 || read.some((text) => text === undefined)) return null
  const joined = read.join(PAGE_SEPARATOR)
  const place = joined.indexOf(hit.text)
  if (place < 0 || joined.indexOf(hit.text, place + 1) >= 0) return null
  let start = hit.start_char - place
  if (start < 0) return null
  const pieces: Piece[] = []
  for (const [index, page] of pages.entries()) {
    const text = read[index] ?? ''
    if (!shown.has(page)) pieces.push({ chunkId: hit.chunk_id, text, start, page })
    start += text.length + PAGE_SEPARATOR.length
  }
  const passage = join(
    pieces,
    pages.filter((page) => !shown.has(page)),
  )
  return passage.text === '' ? null : passage
}

/** Most pages that stand for one hit. */
const MAX_PAGES_PER_HIT = 20

/** All pages from a hit's first to its last; empty when they are unknown or too many. */
export function pageRange(hit: SearchHit): number[] {
  const pages = pagesOf(hit)
  const [first, last] = [Math.min(...pages), Math.max(...pages)]
  if (pages.length === 0 || last - first >= MAX_PAGES_PER_HIT) return []
  return Array.from({ length: last - first + 1 }, (_, index) => first + index)
}

/** A passage cut to a number of characters, between two characters, with its spans. */
export function cutPassage(passage: Passage, limit: number): Passage {
  if (passage.text.length <= limit) return passage
  const text = cutText(passage.text, limit)
  const spans = passage.spans
    .filter((span) => span.text_start < text.length)
    .map((span) => {
      const surplus = Math.max(0, span.text_end - text.length)
      return { ...span, end_char: span.end_char - surplus, text_end: span.text_end - surplus }
    })
  return { ...passage, text, spans }
}
