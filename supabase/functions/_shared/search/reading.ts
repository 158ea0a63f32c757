import { batchesOf } from '../batches.ts'
import type { Db } from '../context.ts'
import { unwrap } from '../errors.ts'
import type { SearchHit } from './hits.ts'
import type { Neighbour } from './passages.ts'
import { pageRange } from './passages.ts'

/** Hits whose surroundings are asked for at once: more would make the URL too long for some proxies. */
const HITS_PER_REQUEST = 40
/** Pages read for one search, the best hits first. */
const MAX_PAGES = 100

const NEIGHBOUR_COLUMNS = 'id,indexed_source_id,chunk_index,text,start_char,end_char,meta'

async function readAtOnce<Item, Row>(items: readonly Item[], read: (batch: Item[]) => Promise<Row[]>): Promise<Row[]> {
  return (await Promise.all(batchesOf(items, HITS_PER_REQUEST).map(read))).flat()
}

/**
 * The chunks up to `distance` before and after each hit in its source, as the holder of `db`'s token may read them.
 * @throws AppError what the database refuses.
 */
export async function readNeighbours(
  db: Db,
  hits: readonly SearchHit[],
  distance: number,
  signal?: AbortSignal,
): Promise<Neighbour[]> {
  const rows = await readAtOnce(hits, async (batch) => {
    // Ids and numbers of the database's own rows: nothing in them can be syntax.
    const ranges = batch.map(
      ({ indexed_source_id: id, chunk_index: at }) =>
        `and(indexed_source_id.eq.${id},chunk_index.gte.${at - distance},chunk_index.lte.${at + distance})`,
    )
    const query = db.schema('ai').from('chunks').select(NEIGHBOUR_COLUMNS).or(ranges.join(','))
    return unwrap(await (signal ? query.abortSignal(signal) : query).returns<Neighbour[]>())
  })
  return [...new Map(rows.map((row) => [row.id, row])).values()]
}

/** Texts of pages: source id to page number to text. */
export type PageTexts = ReadonlyMap<string, ReadonlyMap<number, string>>

/**
 * The pages the hits stand on, as the holder of `db`'s token may read them; of the first hundred pages at most.
 * @throws AppError what the database refuses.
 */
export async function readPages(db: Db, hits: readonly SearchHit[], signal?: AbortSignal): Promise<PageTexts> {
  const wanted = new Map<string, Set<number>>()
  let count = 0
  for (const hit of hits) {
    const pages = wanted.get(hit.source_id) ?? new Set<number>()
    const added = pageRange(hit).filter((page) => !pages.has(page))
    if (count + added.length > MAX_PAGES) break
    count += added.length
    for (const page of added) pages.add(page)
    if (pages.size > 0) wanted.set(hit.source_id, pages)
  }
  const rows = await readAtOnce([...wanted], async (batch) => {
    const places = batch.map(([id, pages]) => `and(source_id.eq.${id},page_number.in.(${[...pages].join(',')}))`)
    const query = db.schema('ai').from('source_pages').select('source_id,page_number,text').or(places.join(','))
    return unwrap(
      await (signal ? query.abortSignal(signal) : query).returns<
        { source_id: string; page_number: number; text: string }[]
      >(),
    )
  })
  const texts = new Map<string, Map<number, string>>()
  for (const { source_id: id, page_number: page, text } of rows) {
    const pages = texts.get(id) ?? new Map<number, string>()
    texts.set(id, pages.set(page, text))
  }
  return texts
}
