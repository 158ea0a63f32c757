/** The process that draws the pages of one PDF. As `child.ts`: bytes on standard input, one JSON line per image, no rights. */
import { closeSync, readFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { type ExtractionReason, verdictOf } from '../../supabase/functions/_shared/ingestion/extract/failure.ts'
import type { RenderLimits } from './render-limits.ts'
import { type PageImage, renderPdf } from './render-pdf.ts'
import { writeLine } from './write-line.ts'

/** What the parent reads, line by line. */
export type RenderMessage =
  | ({ type: 'image'; base64: string } & Omit<PageImage, 'png'>)
  | { type: 'end' }
  | { type: 'failed'; reason: ExtractionReason; message: string }

const send = (message: RenderMessage) => writeLine(message)

new Worker(new URL('./watchdog.ts', import.meta.url)).unref()

const { limits } = JSON.parse(process.argv[2] ?? '{}') as { limits: RenderLimits }
try {
  const bytes = new Uint8Array(readFileSync(0))
  closeSync(0)
  for await (const { png, ...image } of renderPdf(bytes, limits)) {
    send({ type: 'image', base64: Buffer.from(png).toString('base64'), ...image })
  }
  send({ type: 'end' })
} catch (error) {
  const { reason, message } = verdictOf(error)
  send({ type: 'failed', reason, message })
}
process.exit(0)
