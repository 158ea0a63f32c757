import type { ContextItem } from '../providers/index.ts'
import { formatContext } from '../providers/prompt.ts'
import { estimateTokens } from '../providers/text.ts'
import { isQuoted } from './hits.ts'
import type { SearchHit } from './hits.ts'
import type { Neighbour, Passage, Span } from './passages.ts'
import { cutPassage, pageRange, passageOfHit, passageOfPages, passageWithNeighbours } from './passages.ts'
import type { PageTexts } from './reading.ts'
import { Shown } from './shown.ts'

/** How hits become a text for a model. */
export type ContextOptions = {
  /** `chunks`: each hit, between its neighbours if wanted; `pages`: the whole pages it stands on. */
  unit: 'chunks' | 'pages'
  /** Chunks before and after each hit that go along, with `chunks`. */
  neighbours: number
  /** Allowance of the whole text, headers included, in tokens (characters / 4). */
  maxTokens: number
}

/** What surrounds the hits, as far as it was read. */
export type Surroundings = { neighbours: readonly Neighbour[]; pages: PageTexts }

/** A hit in a context; its key is its place among the results, from 1, and what `[n]` in the text means. */
export type ContextEntry = {
  key: number
  chunk_id: string
  source_id: string
  /** True: what it says stands in an entry above, and only a note is here. */
  is_shown_above: boolean
  /** What of the source the entry holds. `text_start` and `text_end` count in the text of the whole context. */
  spans: Span[]
}

/** Hits as one text, by document. */
export type SearchContext = {
  text: string
  /** Estimate: characters / 4. */
  tokens: number
  entries: ContextEntry[]
  /** Hits that did not fit. */
  left_out: number
}

const CHARS_PER_TOKEN = 4
/** Between two items of a context. */
const SEPARATOR_LENGTH = 2
const NOTE = '(Content already shown above.)'

type Draft = { key: number; hit: SearchHit; passage: Passage; isNote: boolean }

const draftOf = (hit: SearchHit, index: number): Draft => ({
  key: index + 1,
  hit,
  passage: passageOfHit(hit),
  isNote: false,
})

const itemOf = ({ key, hit, passage }: Draft): ContextItem => ({
  key,
  text: passage.text,
  itemId: hit.chunk_id,
  sourceId: hit.source_id,
  ...(hit.source_name === null ? {} : { sourceName: hit.source_name }),
  meta: { ...hit.meta, pages: passage.pages },
})

/** Characters of an item in a context, with its document's header or without. */
function lengthOf(draft: Draft, withDocument: boolean): number {
  const { sourceName: _name, ...nameless } = itemOf(draft)
  return formatContext([withDocument ? itemOf(draft) : nameless], true).length
}

/** What a hit is widened to: the widest passage that fits, with the pages it shows whole. Null: it stays as it is. */
function widened(
  hit: SearchHit,
  options: ContextOptions,
  around: Surroundings,
  shown: Shown,
  fits: (passage: Passage) => boolean,
): { passage: Passage; wholePages: number[] } | null {
  if (options.unit === 'pages') {
    const passage = passageOfPages(hit, around.pages.get(hit.source_id) ?? new Map(), shown.pagesOf(hit))
    return passage !== null && fits(passage) ? { passage, wholePages: passage.pages } : null
  }
  for (let distance = options.neighbours; distance > 0; distance--) {
    const near = around.neighbours
      .filter((chunk) => chunk.indexed_source_id === hit.indexed_source_id)
      .filter((chunk) => Math.abs(chunk.chunk_index - hit.chunk_index) <= distance)
      .flatMap((chunk) => shown.unshown(hit, chunk) ?? [])
    const passage = passageWithNeighbours(hit, near)
    if (fits(passage)) return { passage, wholePages: [] }
  }
  return null
}

/**
 * Hits as one text within an allowance: a header per document, documents by their best hit, hits by rank, each under its
 * number, section and pages. The hits themselves come first; what room they leave widens them, best first. A hit whose text or
 * pages all stand above it shrinks to a note. The first hit that does not fit ends the text; the very first is cut to fit.
 */
export function layOut(hits: readonly SearchHit[], options: ContextOptions, around: Surroundings): SearchContext {
  const limit = options.maxTokens * CHARS_PER_TOKEN
  const drafts: Draft[] = []
  const documents = new Set<string>()
  let used = -SEPARATOR_LENGTH

  const add = (draft: Draft): boolean => {
    const length = SEPARATOR_LENGTH + lengthOf(draft, !documents.has(draft.hit.source_id))
    if (used + length > limit) return false
    used += length
    documents.add(draft.hit.source_id)
    drafts.push(draft)
    return true
  }
  const addWhatFits = () => {
    for (const [index, hit] of hits.entries()) if (index >= drafts.length && !add(draftOf(hit, index))) return
  }
  /** Puts another passage in a draft's place, if there is room for it. */
  const change = (index: number, passage: Passage, isNote: boolean): boolean => {
    const draft = drafts[index] as Draft
    const changed = { ...draft, passage, isNote }
    const growth = lengthOf(changed, false) - lengthOf(draft, false)
    if (used + growth > limit) return false
    used += growth
    drafts[index] = changed
    return true
  }

  const first = hits[0] && draftOf(hits[0], 0)
  if (first && !add(first)) {
    const frame = lengthOf({ ...first, passage: { ...first.passage, text: '' } }, true) + 1
    const passage = cutPassage(first.passage, limit - frame)
    if (passage.text !== '') add({ ...first, passage })
    return finished(drafts, hits.length)
  }
  addWhatFits()
  const shown = new Shown()
  for (let index = 0; index < drafts.length; index++) {
    const { hit, passage } = drafts[index] as Draft
    const pages = options.unit === 'pages' && isQuoted(hit) ? pageRange(hit) : []
    const isPageShown = pages.length > 0 && pages.every((page) => shown.pagesOf(hit).has(page))
    if (isPageShown || shown.covers(hit)) {
      change(index, { text: NOTE, spans: [], pages: passage.pages }, true)
    } else {
      const wide = widened(hit, options, around, shown, (candidate) => change(index, candidate, false))
      shown.add(hit, (drafts[index] as Draft).passage, wide?.wholePages ?? [])
    }
    // A note may have made room for one more.
    if (index === drafts.length - 1) addWhatFits()
  }
  return finished(drafts, hits.length)
}

/** The text of the drafts, with their spans counted in it. */
function finished(drafts: readonly Draft[], hitCount: number): SearchContext {
  const text = formatContext(drafts.map(itemOf), true)
  const byDocument = new Map<string, Draft[]>()
  for (const draft of drafts) {
    byDocument.set(draft.hit.source_id, [...(byDocument.get(draft.hit.source_id) ?? []), draft])
  }
  const entries: ContextEntry[] = []
  let end = -SEPARATOR_LENGTH
  for (const group of byDocument.values()) {
    for (const [index, draft] of group.entries()) {
      // An item ends with its text, so where the item ends says where its text begins.
      end += SEPARATOR_LENGTH + lengthOf(draft, index === 0)
      const offset = end - draft.passage.text.length
      entries.push({
        key: draft.key,
        chunk_id: draft.hit.chunk_id,
        source_id: draft.hit.source_id,
        is_shown_above: draft.isNote,
        spans: draft.passage.spans.map((span) => ({
          ...span,
          text_start: span.text_start + offset,
          text_end: span.text_end + offset,
        })),
      })
    }
  }
  entries.sort((a, b) => a.key - b.key)
  return { text, tokens: estimateTokens(text), entries, left_out: hitCount - drafts.length }
}
