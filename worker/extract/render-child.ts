/** The program of the process that draws the pages of one PDF: page by page, it writes the image. */
import type { RenderLimits } from './render-limits.ts'
import { type DrawnPage, renderPdf } from './render-pdf.ts'
import { type FailedMessage, serveParent } from './serve-parent.ts'

/** What the parent reads, line by line. */
export type RenderMessage =
  | ({ type: 'image'; base64: string } & Omit<DrawnPage, 'png'>)
  | { type: 'end' }
  | FailedMessage

async function* draw(bytes: Uint8Array, { limits }: { limits: RenderLimits }): AsyncGenerator<RenderMessage> {
  for await (const { png, ...image } of renderPdf(bytes, limits)) {
    yield { type: 'image', base64: Buffer.from(png).toString('base64'), ...image }
  }
  yield { type: 'end' }
}

await serveParent(draw)
