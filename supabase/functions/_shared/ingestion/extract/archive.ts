import { unzipSync } from 'fflate'
import type { ExtractLimits } from './limits.ts'
import { corrupt, limitExceeded } from './failure.ts'

/** Unpacks the parts whose names are wanted, under their names. */
export type Unpack = (wanted: (name: string) => boolean) => Record<string, Uint8Array>

/**
 * Opens a ZIP archive for any number of calls, which share one limit. The unpacker writes into a buffer of the size that the
 * archive states and never beyond it, so checking the stated sizes first bounds memory whatever the data expands to.
 * @param what the kind of document, e.g. `Word document (DOCX)`, for the verdict.
 * @throws ExtractionFailure when called: `limit_exceeded` for a decompression bomb, `corrupt_document` for anything malformed.
 */
export function openArchive(
  bytes: Uint8Array,
  limits: Pick<ExtractLimits, 'maxDecompressedBytes'>,
  what: string,
): Unpack {
  let total = 0
  const withinLimit = (size: number) => (total += size) <= limits.maxDecompressedBytes
  return (wanted) => {
    try {
      const parts = unzipSync(bytes, { filter: (part) => wanted(part.name) && withinLimit(part.originalSize) })
      if (total <= limits.maxDecompressedBytes) return parts
    } catch (error) {
      throw corrupt(what, error)
    }
    throw limitExceeded(
      `This document unpacks to more than ${Math.floor(limits.maxDecompressedBytes / 1024 / 1024)} MB.`,
    )
  }
}

/**
 * Which of the names are those of parts of the archive, but for a number before the extension; null when its directory cannot
 * be read. Unpacks nothing.
 */
export function findParts<Name extends string>(bytes: Uint8Array, names: readonly Name[]): Set<Name> | null {
  const found = new Set<Name>()
  try {
    unzipSync(bytes, {
      filter: (part) => {
        const plain = part.name.toLowerCase().replace(/(?<!\d)\d+(?=\.xml$)/, '')
        const name = names.find((each) => each === plain)
        if (name !== undefined) found.add(name)
        return false
      },
    })
    return found
  } catch {
    return null
  }
}
