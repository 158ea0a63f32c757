/** The program of the process that reads one document: page by page, it writes the text. */
import { fileURLToPath } from 'node:url'
import { extract, type ExtractEvent } from '../../supabase/functions/_shared/ingestion/extract/extract.ts'
import type { ExtractLimits } from '../../supabase/functions/_shared/ingestion/extract/limits.ts'
import { type FailedMessage, serveParent } from './serve-parent.ts'

/** What the parent reads, line by line. */
export type ExtractMessage = ExtractEvent | FailedMessage

/** Where the character maps lie when their package is installed. */
function characterMaps(): { characterMaps?: string } {
  try {
    return { characterMaps: fileURLToPath(new URL('cmaps/', import.meta.resolve('pdfjs-dist/package.json'))) }
  } catch {
    return {}
  }
}

await serveParent<{ fileType: string; limits: ExtractLimits }, ExtractMessage>((bytes, { fileType, limits }) =>
  extract(bytes, fileType, { ...limits, ...characterMaps() }),
)
