import { limitExceeded } from '../extract/failure.ts'
import type { TokenEstimator } from './tokens.ts'
import type { Unit } from './units.ts'

/** The units `from` (inclusive) to `to` (exclusive) make one chunk. */
export type Span = { from: number; to: number }

export type PackOptions = {
  limit: number
  overlap: number
  keepsSectionsApart: boolean
  tokens: TokenEstimator
  maxChunks: number
}

/** A section shorter than this share of a chunk shares its chunk with the next one, unless sections are kept apart. */
const SMALL = 0.25
/** A cut at a block's begin is preferred to one inside it if the chunk stays at least this full. */
const FULL_ENOUGH = 0.5

/**
 * Distributes units over chunks: as many as fit, cut at a new section, else before a table that would be torn, else at a
 * paragraph, else at a sentence. After a cut inside a section the next chunk repeats up to `overlap` tokens.
 * @throws ExtractionFailure `limit_exceeded` when that takes more than `maxChunks`.
 */
export function pack(units: Unit[], options: PackOptions): Span[] {
  const { limit, overlap, keepsSectionsApart, tokens, maxChunks } = options
  const leastOfSection = keepsSectionsApart ? 0 : limit * SMALL
  const size = (from: number, to: number) => tokens.count((units[from] as Unit).start, (units[to - 1] as Unit).end)
  const spans: Span[] = []
  let from = 0
  // The first unit that no chunk contains yet.
  let fresh = 0
  while (fresh < units.length) {
    const end = fill(from, fresh)
    const to = end < units.length ? cutBefore(from, fresh, end) : end
    if (spans.length === maxChunks) {
      throw limitExceeded(`This document would be divided into more than ${maxChunks.toLocaleString('en')} passages.`)
    }
    spans.push({ from, to })
    fresh = to
    from = to < units.length ? overlapFrom(from, to) : to
  }
  return spans

  /** How far a chunk that starts at `from` can go. */
  function fill(from: number, fresh: number): number {
    let to = fresh + 1
    let hasText = units.slice(from, to).some((unit) => !unit.isHeading)
    while (to < units.length && size(from, to + 1) <= limit) {
      const next = units[to] as Unit
      if (next.isHeading && hasText && size(from, to) >= leastOfSection) break
      hasText ||= !next.isHeading
      to++
    }
    return to
  }

  /** The best place to end a chunk that could go as far as `end`; always after `fresh`. */
  function cutBefore(from: number, fresh: number, end: number): number {
    const next = units[end] as Unit
    let to = end
    if (!next.beginsBlock) {
      let begin = end
      while (begin > fresh && !(units[begin] as Unit).beginsBlock) begin--
      const torn = next.block.kind !== 'paragraph' && tokens.count(next.block.start, next.block.end) <= limit
      if (torn && begin > fresh) to = begin
      else {
        for (let index = end - 1; index > fresh && size(from, index) >= size(from, end) * FULL_ENOUGH; index--) {
          if (!(units[index] as Unit).beginsBlock) continue
          to = index
          break
        }
      }
    }
    // A heading belongs to what follows it. Headings that fill a chunk by themselves stay together, but for the last.
    let text = to
    while (text > fresh && (units[text - 1] as Unit).isHeading) text--
    return text > fresh ? text : Math.max(fresh + 1, to - 1)
  }

  /** Where the chunk after a cut at `to` starts. */
  function overlapFrom(from: number, to: number): number {
    const next = units[to] as Unit
    let start = to
    while (start - 1 > from) {
      const before = units[start - 1] as Unit
      const fits = size(start - 1, to) <= overlap && size(start - 1, to + 1) <= limit
      if (!fits || before.isHeading || before.section !== next.section) break
      start--
    }
    return start
  }
}
