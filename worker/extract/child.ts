/**
 * The process that reads one document. It gets the bytes on standard input, has neither environment nor network keys nor the
 * right to read any file but its own code, and writes one JSON line per event. Whatever happens to it happens to one source.
 */
import { closeSync, readFileSync, writeSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { fileURLToPath } from 'node:url'
import { extract, type ExtractEvent } from '../../supabase/functions/_shared/ingestion/extract/extract.ts'
import { type ExtractionReason, verdictOf } from '../../supabase/functions/_shared/ingestion/extract/failure.ts'
import type { ExtractLimits } from '../../supabase/functions/_shared/ingestion/extract/limits.ts'

/** What the parent reads, line by line. */
export type ChildMessage = ExtractEvent | { type: 'failed'; reason: ExtractionReason; message: string }

function send(message: ChildMessage): void {
  const bytes = Buffer.from(`${JSON.stringify(message)}\n`)
  for (let written = 0; written < bytes.length; ) {
    try {
      written += writeSync(1, bytes, written)
    } catch (error) {
      // The parent is slower than we are; it is a pipe, so there is nothing to wait on but time.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
    }
  }
}

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
