import { PDFiumLibrary, type PDFiumDocument } from '@hyzyla/pdfium'
import { encode } from 'fast-png'
import { corrupt, encrypted } from '../../supabase/functions/_shared/ingestion/extract/failure.ts'
import { pixelSize, type RenderLimits } from './render-limits.ts'

/** The image of one page. */
export type DrawnPage = {
  /** From 1. */
  page: number
  width: number
  height: number
  /** Dots per inch it was drawn at. */
  dpi: number
  png: Uint8Array
}

/** After this share of the time no further page is begun: what is drawn by then is kept, unless one page takes all the rest. */
const SHARE_OF_TIME = 0.75

/** A PNG of opaque RGBA pixels; with one channel where nothing has a color. */
function encodePng(width: number, height: number, rgba: Uint8Array): Uint8Array {
  const count = width * height
  let isGray = true
  for (let at = 0; isGray && at < count * 4; at += 4) {
    isGray = rgba[at] === rgba[at + 1] && rgba[at] === rgba[at + 2]
  }
  const channels = isGray ? 1 : 3
  const data = new Uint8Array(count * channels)
  for (let pixel = 0; pixel < count; pixel++) {
    for (let channel = 0; channel < channels; channel++) {
      data[pixel * channels + channel] = rgba[pixel * 4 + channel] as number
    }
  }
  return encode({ width, height, data, channels })
}

async function open(bytes: Uint8Array): Promise<PDFiumDocument> {
  const library = await PDFiumLibrary.init()
  try {
    return await library.loadDocument(bytes)
  } catch (error) {
    throw /password/i.test(String(error)) ? encrypted('PDF') : corrupt('PDF', error)
  }
}

/** Draws one page; null when it has no area or cannot be read. @throws ExtractionFailure when the renderer itself broke. */
async function renderPage(pdf: PDFiumDocument, index: number, limits: RenderLimits): Promise<DrawnPage | null> {
  try {
    const page = pdf.getPage(index)
    const { originalWidth, originalHeight } = page.getOriginalSize()
    const size = pixelSize(originalWidth, originalHeight, limits)
    if (size === null) return null
    const { width, height } = size
    const { data } = await page.render({ render: 'bitmap', scale: 1, width, height, renderFormFields: true })
    return { page: index + 1, ...size, png: encodePng(width, height, data) }
  } catch (error) {
    // After a trap the memory of the module is in no known state: no further page of it can be believed.
    if (error instanceof WebAssembly.RuntimeError) throw corrupt('PDF', error)
    return null
  }
}

/**
 * Draws the pages of a PDF, one after the other, as far as the limits allow. A page that cannot be drawn is passed over.
 * @throws ExtractionFailure `encrypted_document`; `corrupt_document`, also when no page can be drawn.
 */
export async function* renderPdf(bytes: Uint8Array, limits: RenderLimits): AsyncGenerator<DrawnPage> {
  const pdf = await open(bytes)
  const last = Math.min(pdf.getPageCount(), limits.maxPages)
  const until = performance.now() + limits.timeoutMs * SHARE_OF_TIME
  let imageBytes = 0
  let drawn = 0
  for (let index = 0; index < last; index++) {
    const image = await renderPage(pdf, index, limits)
    if (image === null) continue
    imageBytes += image.png.length
    if (imageBytes > limits.maxImageBytes) break
    drawn += 1
    yield image
    if (performance.now() > until) break
  }
  if (drawn === 0) throw corrupt('PDF')
}
