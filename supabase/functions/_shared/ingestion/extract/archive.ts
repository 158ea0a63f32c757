import { unzipSync } from 'fflate'
import type { ExtractLimits } from './limits.ts'
import { corrupt, limitExceeded } from './failure.ts'

/**
 * Unpacks the named parts of a ZIP archive. The unpacker writes into a buffer of the size that the archive states and never
 * beyond it, so checking the stated sizes first bounds memory whatever the data expands to.
 * @throws ExtractionFailure `limit_exceeded` for a decompression bomb, `corrupt_document` for anything malformed.
 */
export function unpack(
  bytes: Uint8Array,
  wanted: (name: string) => boolean,
  limits: Pick<ExtractLimits, 'maxDecompressedBytes'>,
): Record<string, Uint8Array> {
  let total = 0
  const withinLimit = (size: number) => (total += size) <= limits.maxDecompressedBytes
  try {
    const parts = unzipSync(bytes, { filter: (part) => wanted(part.name) && withinLimit(part.originalSize) })
    if (total <= limits.maxDecompressedBytes) return parts
  } catch (error) {
    throw corrupt('Word document (DOCX)', error)
  }
  throw limitExceeded(`This document unpacks to more than ${Math.floor(limits.maxDecompressedBytes / 1024 / 1024)} MB.`)
}
