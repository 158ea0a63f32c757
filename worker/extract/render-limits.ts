/** What the rendering of one document may use. */
export type RenderLimits = {
  /** Dots per inch; a page that would be larger than the following gets fewer. */
  dpi: number
  /** Pages from the first on; the others get no image. */
  maxPages: number
  /** Pixels of one image. */
  maxPixels: number
  /** Pixels of its longer side. */
  maxSide: number
  /** Bytes of all images together; the pages that come after get none. */
  maxImageBytes: number
  /** Largest document that is read, in bytes. */
  maxBytes: number
  /** Wall time of the process, in milliseconds. Pages that do not come to their turn in three quarters of it get no image. */
  timeoutMs: number
  /** Resident memory of the process, in MiB. */
  memoryMb: number
}

/** What a rendering may use unless the environment says otherwise. */
export const DEFAULT_RENDER_LIMITS: RenderLimits = {
  dpi: 100,
  maxPages: 200,
  maxPixels: 4_000_000,
  maxSide: 4_096,
  maxImageBytes: 64 * 1024 * 1024,
  maxBytes: 50 * 1024 * 1024,
  timeoutMs: 120_000,
  memoryMb: 768,
}

const POINTS_PER_INCH = 72

/** How a page of this size, in points, is drawn: pixels, and dots per inch after fitting. Null: it has no area. */
export function pixelSize(
  widthPoints: number,
  heightPoints: number,
  { dpi, maxPixels, maxSide }: Pick<RenderLimits, 'dpi' | 'maxPixels' | 'maxSide'>,
): { width: number; height: number; dpi: number } | null {
  if (!(widthPoints > 0 && heightPoints > 0 && Number.isFinite(widthPoints * heightPoints))) return null
  const scale = Math.min(
    dpi / POINTS_PER_INCH,
    Math.sqrt(maxPixels / (widthPoints * heightPoints)),
    maxSide / Math.max(widthPoints, heightPoints),
  )
  const side = (points: number) => Math.max(1, Math.floor(points * scale))
  return {
    width: side(widthPoints),
    height: side(heightPoints),
    dpi: Math.max(1, Math.round(scale * POINTS_PER_INCH)),
  }
}
