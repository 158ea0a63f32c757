import { isQuoted } from './hits.ts'
import type { SearchHit } from './hits.ts'
import type { Neighbour, Passage } from './passages.ts'

/** Stretches that lie this close count as one: between them are only the line feeds between two pages. */
const MAX_GAP_CHARS = 2

type Range = { from: number; to: number }

/** What of each source a context has shown so far. */
export class Shown {
  private readonly pages = new Map<string, Set<number>>()
  private readonly ranges = new Map<string, Range[]>()

  /** Pages of the hit's source that stand there whole. */
  pagesOf(hit: SearchHit): ReadonlySet<number> {
    return this.pages.get(hit.source_id) ?? new Set()
  }

  /** Whether the hit's text stands there already. */
  covers(hit: SearchHit): boolean {
    return isQuoted(hit) && this.rangesOf(hit).some(({ from, to }) => from <= hit.start_char && hit.end_char <= to)
  }

  /** What of a hit's neighbour does not stand there yet, or null. Chunks overlap, so it is mostly the begin or end that does. */
  unshown(hit: SearchHit, chunk: Neighbour): Neighbour | null {
    let { start_char: start, end_char: end } = chunk
    for (const { from, to } of this.rangesOf(hit)) {
      if (to <= start || end <= from) continue
      if (from <= start) start = to
      else end = from
      if (start >= end) return null
    }
    const text = chunk.text.slice(start - chunk.start_char, end - chunk.start_char)
    return { ...chunk, text, start_char: start, end_char: end }
  }

  /** @param wholePages pages that the passage holds from their first to their last character */
  add(hit: SearchHit, passage: Passage, wholePages: readonly number[]): void {
    if (!isQuoted(hit)) return
    const pages = this.pages.get(hit.source_id) ?? new Set()
    for (const page of wholePages) pages.add(page)
    this.pages.set(hit.source_id, pages)
    const added: Range[] = []
    for (const { start_char: from, end_char: to } of passage.spans) {
      const last = added.at(-1)
      if (last && from <= last.to + MAX_GAP_CHARS) last.to = Math.max(last.to, to)
      else added.push({ from, to })
    }
    this.ranges.set(hit.source_id, [...this.rangesOf(hit), ...added])
  }

  private rangesOf(hit: SearchHit): Range[] {
    return this.ranges.get(hit.source_id) ?? []
  }
}
