import { readBlocks, type Block } from './blocks.ts'
import { pack } from './pack.ts'
import { joinPages, type Page } from './pages.ts'
import { findBoilerplate, scoreOf } from './score.ts'
import { shorten } from '../extract/shorten.ts'
import { TokenEstimator } from './tokens.ts'
import { readUnits, type Unit } from './units.ts'

/** Sizes in estimated tokens. */
export type ChunkOptions = {
  chunkSize: number
  overlap: number
  /** Whether each section has chunks of its own, however short it is; absent: short ones share a chunk with what follows. */
  keepsSectionsApart?: boolean
}

export const DEFAULT_CHUNK_OPTIONS: ChunkOptions = { chunkSize: 400, overlap: 50 }

/** What a knowledge base may ask for, in tokens: the same as the API accepts. */
const CHUNK_SIZE = { least: 50, most: 4_000 }

/** Most chunks of one source. With chunks of the default size the longest document has 8,000, in Chinese 30,000. */
export const MAX_CHUNKS = 50_000

/** A passage of a document. */
export type Chunk = {
  /** Position among the chunks of the source, from 0. */
  chunk_index: number
  /** Exactly the characters from `start_char` to `end_char` of the joined pages. */
  text: string
  /** Offsets in UTF-16 units (what `String.prototype.slice` takes) into the page texts joined by two line feeds. */
  start_char: number
  end_char: number
  tokens: number
  /** Share of running text, 0 to 1. */
  score: number
  meta: { pages: number[]; heading_path: string[]; [added: string]: unknown }
  /** What is embedded: the text under its deepest heading, a part of a table under the table's header row. */
  embedded: string
}

/**
 * Reads the keys of a knowledge base's `indexing_config`, which any member of its tenant can write: what is missing or
 * unusable falls back to the default, what is too small or too large to the next bound.
 */
export function chunkOptionsFrom(config: Record<string, unknown> | null | undefined): ChunkOptions {
  const within = (value: unknown, low: number, high: number, fallback: number) =>
    typeof value === 'number' && Number.isFinite(value) ? Math.min(high, Math.max(low, Math.floor(value))) : fallback
  const chunkSize = within(config?.chunk_size, CHUNK_SIZE.least, CHUNK_SIZE.most, DEFAULT_CHUNK_OPTIONS.chunkSize)
  const wanted = config?.overlap ?? config?.chunk_overlap
  return {
    chunkSize,
    overlap: within(
      wanted,
      0,
      Math.floor(chunkSize / 2),
      Math.min(DEFAULT_CHUNK_OPTIONS.overlap, Math.floor(chunkSize / 2)),
    ),
    // Its table of contents is read off the chunks.
    ...(config?.strategy === 'page_index' ? { keepsSectionsApart: true } : {}),
  }
}

/** Heading path of each section; section 0 is what stands before the first heading. */
function headingPaths(blocks: Block[]): string[][] {
  const paths: string[][] = [[]]
  let path: { level: number; title: string }[] = []
  for (const block of blocks) {
    if (block.kind !== 'heading') continue
    const level = block.level as number
    path = [...path.filter((heading) => heading.level < level), { level, title: block.title as string }]
    paths.push(path.map((heading) => heading.title))
  }
  return paths
}

/** The headings under which all of a chunk stands. */
function commonPath(units: Unit[], paths: string[][]): string[] {
  const text = units.filter((unit) => !unit.isHeading)
  const own = (text.length > 0 ? text : units.slice(-1)).map((unit) => paths[unit.section] as string[])
  const first = own[0] ?? []
  const shared = first.findIndex((title, depth) => own.some((path) => path[depth] !== title))
  return shared < 0 ? first : first.slice(0, shared)
}

const TABLE_HEADER_LENGTH = 500

/** Header row of the table that a chunk begins in the middle of. */
function tableHeader(first: Unit, text: string): string | null {
  const { kind, start, end } = first.block
  if (kind !== 'table' || first.beginsBlock) return null
  // A row can be as long as the document, so it is cut before its end is looked for.
  const [row] = text.slice(start, Math.min(end, start + TABLE_HEADER_LENGTH + 1)).split('\n', 1)
  return shorten(row as string, TABLE_HEADER_LENGTH)
}

/**
 * Divides a document into chunks along its structure. The same pages and options always give the same chunks; every
 * character that is not white space is in at least one; none has more than `chunkSize` estimated tokens. Takes
 * time in proportion to the text, but seconds for the longest: in a process that has to stay responsive, `chunkInThread`.
 * @throws ExtractionFailure `limit_exceeded` when there are more than `maxChunks`.
 */
export function chunkPages(pages: Page[], options: ChunkOptions, maxChunks = MAX_CHUNKS): Chunk[] {
  const { chunkSize, overlap, keepsSectionsApart = false } = options
  const { text, pagesOf } = joinPages(pages)
  const tokens = new TokenEstimator(text)
  const blocks = readBlocks(text)
  const units = readUnits(text, blocks, chunkSize, tokens)
  const paths = headingPaths(blocks)
  const boilerplate = findBoilerplate(pages)

  return pack(units, { limit: chunkSize, overlap, keepsSectionsApart, tokens, maxChunks }).map(
    ({ from, to }, chunk_index) => {
      const members = units.slice(from, to)
      const first = members[0] as Unit
      const whole = text.slice(first.start, (members.at(-1) as Unit).end)
      const start_char = first.start + (whole.length - whole.trimStart().length)
      const body = whole.trim()
      const end_char = start_char + body.length
      const heading_path = commonPath(members, paths)
      const heading = heading_path.at(-1)
      const above = [heading && !body.split('\n', 1)[0]?.includes(heading) ? heading : null, tableHeader(first, text)]
      return {
        chunk_index,
        text: body,
        start_char,
        end_char,
        tokens: tokens.count(start_char, end_char),
        score: scoreOf(body, boilerplate),
        meta: { pages: pagesOf(start_char, end_char), heading_path },
        embedded: [...above, body].filter(Boolean).join('\n\n'),
      }
    },
  )
}
