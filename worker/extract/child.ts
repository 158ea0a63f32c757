/**
 * The process that reads one document. It gets the bytes on standard input, has neither environment nor network keys nor the
 * right to read any file but its own code, and writes one JSON line per event. Whatever happens to it happens to one source.
 */
import { closeSync, readFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { fileURLToPath } from 'node:url'
import { extract, type ExtractEvent } from '../../supabase/functions/_shared/ingestion/extract/extract.ts'
import { type ExtractionReason, verdictOf } from '../../supabase/functions/_shared/ingestion/extract/failure.ts'
import type { ExtractLimits } from '../../supabase/functions/_shared/ingestion/extract/limits.ts'
import { writeLine } from './write-line.ts'

/** What the parent reads, line by line. */
export type ChildMessage = ExtractEvent | { type: 'failed'; reason: ExtractionReason; message: string }

const send = (message: ChildMessage) => writeLine(message)

/** Where the character maps lie when their package is installed. */
function characterMaps(): { characterMaps?: string } {
  try {
    return { characterMaps: fileURLToPath(new URL('cmaps/', import.meta.resolve('pdfjs-dist/package.json'))) }
  } catch {
    return {}
  }
}

new Worker(new URL('./watchdog.ts', import.meta.url)).unref()

const { fileType, limits } = JSON.parse(process.argv[2] ?? '{}') as { fileType: string; limits: ExtractLimits }
try {
  const bytes = new Uint8Array(readFileSync(0))
  closeSync(0)
  for await (const event of extract(bytes, fileType, { ...limits, ...characterMaps() })) send(event)
} catch (error) {
  const { reason, message } = verdictOf(error)
  send({ type: 'failed', reason, message })
}
// A parser may have left timers or promises behind; the document is read, nothing else matters.
process.exit(0)
