import type { FileHandle } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import {
  corrupt,
  ExtractionFailure,
  limitExceeded,
} from '../../supabase/functions/_shared/ingestion/extract/failure.ts'
import { linesOfChild } from './child-process.ts'
import type { RenderMessage } from './render-child.ts'
import type { RenderLimits } from './render-limits.ts'
import type { DrawnPage } from './render-pdf.ts'

const CHILD = fileURLToPath(new URL('./render-child.ts', import.meta.url))
/** Base64 takes four characters for three bytes; besides there are a few numbers. */
const lineBytes = (imageBytes: number) => Math.ceil(imageBytes / 3) * 4 + 1_000
const PNG_SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
/** Where a PNG says its width, and after it its height. */
const PNG_WIDTH_AT = 16

/**
 * Draws the pages of a PDF in a process of its own and yields the images as they come, in the order of the pages. The process is
 * killed when the caller stops reading, when `signal` aborts, and when it exceeds its time, its memory or the bytes of images.
 *
 * @param file The document, open for reading at its begin; the caller closes it.
 * @throws ExtractionFailure when nothing, or not all that was begun, can be drawn; the reason of `signal` when that aborts.
 */
export async function* renderInChild(
  file: FileHandle,
  limits: RenderLimits,
  signal?: AbortSignal,
): AsyncGenerator<DrawnPage> {
  const tooMuch = () => limitExceeded('The images of this document are too large.')
  let ended = false
  let lastPage = 0
  let imageBytes = 0
  const child = {
    file,
    program: CHILD,
    task: { limits },
    limits,
    maxLineBytes: lineBytes(limits.maxImageBytes),
    tooLong: tooMuch,
    hasEnded: () => ended,
    isInBackground: true,
  }
  for await (const line of linesOfChild(child, signal)) {
    const message = JSON.parse(line) as RenderMessage
    if (message.type === 'failed') throw new ExtractionFailure(message.reason, message.message)
    if (message.type === 'end') {
      ended = true
      continue
    }
    const image = checked(message, lastPage, limits)
    lastPage = image.page
    imageBytes += image.png.length
    if (imageBytes > limits.maxImageBytes) throw tooMuch()
    yield image
  }
}

/** The renderer is not trusted, so neither is what its process says. @throws ExtractionFailure */
function checked(
  { page, width, height, dpi, base64 }: Extract<RenderMessage, { type: 'image' }>,
  lastPage: number,
  limits: RenderLimits,
): DrawnPage {
  const png = Buffer.from(String(base64), 'base64')
  const isImage =
    png.length > PNG_WIDTH_AT + 8 &&
    png.subarray(0, PNG_SIGNATURE.length).equals(PNG_SIGNATURE) &&
    png.readUInt32BE(PNG_WIDTH_AT) === width &&
    png.readUInt32BE(PNG_WIDTH_AT + 4) === height &&
    width * height <= limits.maxPixels
  const isNext = Number.isInteger(page) && page > lastPage && page <= limits.maxPages
  if (!isImage || !isNext || !Number.isInteger(dpi) || dpi < 1) throw corrupt('PDF')
  return { page, width, height, dpi, png }
}
