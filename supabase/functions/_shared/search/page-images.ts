import { readByIds } from '../batches.ts'
import type { Db } from '../context.ts'
import { unwrap } from '../errors.ts'
import { PAGE_IMAGE_COLUMNS, pageImagesOf } from '../page-images.ts'
import type { PageImageRow } from '../page-images.ts'
import { pagesOf } from './hits.ts'
import type { SearchHit } from './hits.ts'

/** How results are given to a model: as text, or as images of the pages they stand on. */
export const CONTEXT_MODES = ['text', 'image'] as const
export type ContextMode = (typeof CONTEXT_MODES)[number]

/** An image of a page in `meta.images` of a result; `index` is that of the download of derivatives. */
export type ResultImage = { page: number; index: number; width: number; height: number; dpi: number }

/** Pages of one result that images may stand for; what is longer is read as text. */
const MAX_PAGES_PER_RESULT = 4

/** Sources with their page images, as the holder of `db`'s token may read them. */
async function readImages(db: Db, ids: readonly string[], signal?: AbortSignal): Promise<Map<string, ResultImage[]>> {
  const rows = await readByIds(ids, async (batch) => {
    const query = db.schema('ai').from('sources').select(PAGE_IMAGE_COLUMNS).in('id', batch)
    return unwrap(await (signal ? query.abortSignal(signal) : query).returns<PageImageRow[]>())
  })
  return new Map(
    rows.map((row) => [row.id, pageImagesOf(row).map(({ page, metadata }, index) => ({ page, index, ...metadata }))]),
  )
}

/**
 * Hits with `meta.images`, where there is an image of every page that a hit stands on; the others are left as they are. Nothing
 * is read but what the holder of `db`'s token may read.
 * @returns also what to know about it, in a sentence: when there is no image at all.
 * @throws AppError what the database refuses.
 */
export async function withPageImages(
  db: Db,
  hits: readonly SearchHit[],
  signal?: AbortSignal,
): Promise<{ hits: SearchHit[]; warnings: string[] }> {
  const images = await readImages(db, [...new Set(hits.map((hit) => hit.source_id))], signal)
  let count = 0
  const illustrated = hits.map((hit) => {
    const pages = pagesOf(hit)
    const known = images.get(hit.source_id) ?? []
    const own = pages.flatMap((page) => known.find((image) => image.page === page) ?? [])
    if (own.length === 0 || own.length < pages.length || pages.length > MAX_PAGES_PER_RESULT) return hit
    count += 1
    return { ...hit, meta: { ...hit.meta, images: own } }
  })
  const isMissed = hits.length > 0 && count === 0
  return {
    hits: illustrated,
    warnings: isMissed ? ['There are no images of the pages of these results: they are given as text.'] : [],
  }
}

/** What an image in `meta.images` is told by, all of it numbers. */
const IMAGE_FIELDS = ['page', 'index', 'width', 'height', 'dpi'] as const

/**
 * `{ images }` of a result's meta as far as it names pages, each once, to spread into another; it grants nothing. The meta may be a
 * client's own, and is kept with the run: of an image there is nothing but its numbers.
 */
export function imagesField(meta: Record<string, unknown> | null | undefined): { images?: { page: number }[] } {
  const listed = Array.isArray(meta?.['images']) ? (meta['images'] as unknown[]) : []
  const images = new Map<number, { page: number }>()
  for (const entry of listed) {
    const given = Object(entry) as Record<string, unknown>
    const { page } = given
    if (typeof page !== 'number' || !Number.isSafeInteger(page) || page < 1 || images.has(page)) continue
    const numbers = IMAGE_FIELDS.filter((name) => typeof given[name] === 'number').map((name) => [name, given[name]])
    images.set(page, { ...(Object.fromEntries(numbers) as object), page })
  }
  return images.size === 0 || images.size > MAX_PAGES_PER_RESULT ? {} : { images: [...images.values()] }
}

/** How images are given: `image_delivery` of the agent API has signed URLs besides, which would be for anybody who has them. */
const INLINE = 'base64'

/** What whoever sets a `retrieval_config` should know of what it says about images. */
export const imageWarnings = (config: Record<string, unknown> | null | undefined): string[] =>
  [undefined, null, INLINE].includes(config?.['image_delivery'] as string)
    ? []
    : ['retrieval_config.image_delivery is stored and has no effect: a model gets images inside its request.']
