/** Images of the pages of a source, as its row lists them: whoever reads the row may read them. */

/** An image of a page, as a row of ai.sources lists it; sizes in pixels. */
export type PageImage = {
  storage_path: string
  /** From 1. */
  page: number
  format: 'png'
  metadata: { width: number; height: number; dpi: number }
}

/** What a row of ai.sources says about images. */
export type WithPageImages = { id: string; tenant_id: string; derivatives: Record<string, unknown> }

/** The same, read by itself: the other derivatives of a long document are many. */
export const PAGE_IMAGE_COLUMNS = 'id,tenant_id,image:derivatives->image'
/** A row read with them. */
export type PageImageRow = { id: string; tenant_id: string; image: unknown }

/** The page images that a source lists, by page; none where they were not made, or not yet. */
export function pageImagesOf(source: WithPageImages | PageImageRow): PageImage[] {
  const { id, tenant_id } = source
  const image = 'derivatives' in source ? source.derivatives['image'] : source.image
  const listed = Array.isArray(image) ? (image as PageImage[]) : []
  // The list is the ledger's alone to write; a key elsewhere would still be none of this source.
  const folder = `${tenant_id}/${id}/pages/`
  return listed.filter(({ storage_path }) => typeof storage_path === 'string' && storage_path.startsWith(folder))
}
