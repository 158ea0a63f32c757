import { batchesOf } from '../batches.ts'
import type { Db } from '../context.ts'
import { unwrap } from '../errors.ts'
import type { PostgrestFailure } from '../errors.ts'
import { pagesOf } from './hits.ts'
import type { SearchHit } from './hits.ts'
import { cutPassage, passageWithNeighbours } from './passages.ts'
import type { Neighbour, Passage } from './passages.ts'

/** A document that can be picked; a row of ai.outline_sources. */
export type OutlinedSource = {
  indexed_source_id: string
  source_id: string
  source_name: string
  knowledge_base_id: string
  page_count: number | null
  /** Of the first two levels. */
  headings: string[]
  beginning: string
}

/** A section that can be picked; a row of ai.sections. */
export type Section = {
  indexed_source_id: string
  source_id: string
  knowledge_base_id: string
  source_name: string
  /** Its first chunk. */
  chunk_id: string
  first_index: number
  last_index: number
  /** Headings it stands under, outermost first; empty where there are none. */
  heading_path: string[]
  first_page: number | null
  last_page: number | null
  /** What a model wrote of it when it was indexed. */
  summary: string | null
  beginning: string
  tokens: number
  /** Sections of all documents that were asked about. */
  section_count: number
}

/** Characters of one section: about 4,000 tokens, so that several fit into what a model is given. */
const MAX_SECTION_CHARS = 16_000
const CHARS_PER_TOKEN = 4
/** Chunks of one section that are read, and sections whose chunks are read at once: together less than the Data API gives. */
const MAX_CHUNKS = 40
const SECTIONS_PER_REQUEST = 20
/** The database counts chunks in four bytes. */
const MAX_INDEX = 2 ** 31 - 1

type Answer = PromiseLike<{ data: unknown; error: PostgrestFailure | null }>

async function rows<Row>(
  call: Answer & { abortSignal(signal: AbortSignal): Answer },
  signal: AbortSignal | undefined,
): Promise<Row[]> {
  return unwrap(await (signal ? call.abortSignal(signal) : call)) as Row[]
}

/**
 * Documents of knowledge bases as far as the holder of `db`'s token may read them, newest first.
 * @throws AppError what the database refuses.
 */
export const outlineSources = (
  db: Db,
  wanted: {
    knowledgeBaseIds: readonly string[]
    sourceIds?: readonly string[] | undefined
    filterMetadata?: Record<string, unknown> | undefined
    limit: number
  },
  signal?: AbortSignal,
): Promise<OutlinedSource[]> =>
  rows(
    db.schema('ai').rpc('outline_sources', {
      knowledge_base_ids: wanted.knowledgeBaseIds,
      source_ids: wanted.sourceIds ?? null,
      filter_metadata: wanted.filterMetadata ?? null,
      row_limit: wanted.limit,
    }),
    signal,
  )

/** Sections of documents, in their order; with `chunkIds` those that hold one of these. @throws AppError as above. */
export const listSections = (
  db: Db,
  wanted: { indexedSourceIds: readonly string[]; chunkIds?: readonly string[]; limit: number },
  signal?: AbortSignal,
): Promise<Section[]> =>
  rows(
    db.schema('ai').rpc('sections', {
      indexed_source_ids: wanted.indexedSourceIds,
      chunk_ids: wanted.chunkIds ?? null,
      row_limit: wanted.limit,
    }),
    signal,
  )

/** Where a section lies. */
export type SectionPlace = {
  indexed_source_id: string
  first_index: number
  last_index: number
  /** Of the whole section, where they are known. */
  tokens?: number
}

/** Chunks of a section that are as much as is shown of it. */
function chunksShown({ first_index: first, last_index: last, tokens }: SectionPlace): number {
  const count = last - first + 1
  if (tokens === undefined || tokens <= 0) return Math.min(count, MAX_CHUNKS)
  const each = tokens / count
  return Math.min(count, MAX_CHUNKS, Math.ceil(MAX_SECTION_CHARS / CHARS_PER_TOKEN / each) + 1)
}

/** A section as it is shown. */
export type SectionText = Passage & {
  /** The chunk it begins with, as it is stored. */
  first: Neighbour
  /** Whether there is more of it than that. */
  isCut: boolean
}

const COLUMNS = 'id,indexed_source_id,chunk_index,text,start_char,end_char,meta'

/**
 * The texts of sections, as far as the holder of `db`'s token may read them now; null for one whose first chunk they may not.
 * Chunks follow on each other by their spans, and a text ends before the first one that is missing, or at 16,000 characters.
 * @throws AppError what the database refuses.
 */
export async function readSections(
  db: Db,
  places: readonly SectionPlace[],
  signal?: AbortSignal,
): Promise<(SectionText | null)[]> {
  const read = await Promise.all(
    batchesOf(places, SECTIONS_PER_REQUEST).map((batch) => {
      // Ids and numbers of the database's own rows: nothing in them can be syntax.
      const ranges = batch.map((place) => {
        const last = place.first_index + chunksShown(place) - 1
        return `and(indexed_source_id.eq.${place.indexed_source_id},chunk_index.gte.${place.first_index},chunk_index.lte.${last})`
      })
      return rows<Neighbour>(db.schema('ai').from('chunks').select(COLUMNS).or(ranges.join(',')), signal)
    }),
  )
  const chunks = read.flat()
  return places.map((place) => {
    const own = chunks
      .filter(({ indexed_source_id: id, chunk_index: at }) => id === place.indexed_source_id && at >= place.first_index)
      .filter(({ chunk_index: at }) => at <= place.last_index)
    const first = own.find(({ chunk_index: at }) => at === place.first_index)
    if (first === undefined) return null
    const whole = passageWithNeighbours({ ...first, chunk_id: first.id }, own)
    const passage = cutPassage(whole, MAX_SECTION_CHARS)
    const shown = own.filter(({ id }) => passage.spans.some((span) => span.chunk_id === id))
    const isCut = passage.text.length < whole.text.length || shown.every(({ chunk_index: at }) => at < place.last_index)
    const pages = [...new Set(shown.flatMap(pagesOf))].sort((a, b) => a - b)
    return { ...passage, pages, first, isCut }
  })
}

/** What a section adds to the meta of its first chunk: headings, pages, chunks from first to last, and what stands where. */
export function sectionMeta(text: SectionText, place: SectionPlace): Record<string, unknown> {
  const { meta } = text.first
  const path = Array.isArray(meta['heading_path']) ? meta['heading_path'].map(String) : []
  return {
    ...meta,
    pages: text.pages,
    section: path,
    section_chunks: [place.first_index, place.last_index],
    spans: text.spans,
  }
}

/** Where the section of a chunk lies, by the meta that a search gave it; null for a chunk that stands for itself. */
export function placeOf(
  chunk: { indexed_source_id: string; chunk_index: number },
  meta: Record<string, unknown> | null | undefined,
): SectionPlace | null {
  const [first, last] = Array.isArray(meta?.['section_chunks']) ? (meta['section_chunks'] as unknown[]) : []
  if (first !== chunk.chunk_index || typeof last !== 'number' || !Number.isSafeInteger(last) || last < first)
    return null
  return { indexed_source_id: chunk.indexed_source_id, first_index: first, last_index: Math.min(last, MAX_INDEX) }
}

/** A section as a hit. `score` is for the caller to say. */
export function sectionHit(section: Section, text: SectionText): Omit<SearchHit, 'score' | 'explanation'> {
  const { first } = text
  return {
    chunk_id: first.id,
    source_id: section.source_id,
    source_name: section.source_name,
    knowledge_base_id: section.knowledge_base_id,
    indexed_source_id: section.indexed_source_id,
    text: text.text,
    vector_score: null,
    text_score: null,
    chunk_index: first.chunk_index,
    start_char: first.start_char,
    end_char: text.spans.at(-1)?.end_char ?? first.end_char,
    meta: sectionMeta(text, section),
  }
}
