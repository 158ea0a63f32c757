import type { ObjectStore } from '../object-store.ts'
import { chunkPages } from './chunk/chunk.ts'
import { hashChunk } from './chunk/hash.ts'
import type { Workshop } from './context.ts'
import { extract } from './extract/extract.ts'
import { limitExceeded, verdictOf } from './extract/failure.ts'
import type { ExtractLimits } from './extract/limits.ts'
import { receiveObject } from './receive-object.ts'

/** What reading a document here may use; its memory is that of the process. */
export type InProcessLimits = Omit<ExtractLimits, 'memoryMb'>

/** Lets timers and other requests have their turn: readers only ever wait for themselves. */
const breathe = () => new Promise<void>((resolve) => setTimeout(resolve, 0))

/**
 * Reads and divides documents in this very process, where there is no other. Time is looked at between pages. Nothing ends a
 * reader that does not come to the end of a page; where the platform then ends the process, the document is not read again.
 * @param hasFailed whether this holder of a lease that has gone without a word was one of these
 */
export function createInProcessWorkshop(
  store: Pick<ObjectStore, 'get'>,
  limits: InProcessLimits,
  hasFailed: (lostHolder: string) => boolean,
): Workshop {
  return {
    hasFailed,

    async *read(object, fileType, signal) {
      const bytes = new Uint8Array(Math.min(object.sizeBytes, limits.maxBytes))
      let filled = 0
      await receiveObject(store, object, limits.maxBytes, signal, (piece) => {
        bytes.set(piece, filled)
        filled += piece.length
      })
      let spentMs = 0
      let since = performance.now()
      try {
        for await (const event of extract(bytes, fileType, { ...limits, memoryMb: Infinity })) {
          await breathe()
          signal.throwIfAborted()
          spentMs += performance.now() - since
          if (spentMs > limits.timeoutMs) {
            throw limitExceeded(
              `This document takes longer than ${Math.round(limits.timeoutMs / 1000)} seconds to read.`,
            )
          }
          // Time that the caller spends with a page is not the document's.
          yield event
          since = performance.now()
        }
      } catch (error) {
        throw signal.aborted ? signal.reason : verdictOf(error)
      }
    },

    async chunk(pages, options, signal) {
      await breathe()
      signal.throwIfAborted()
      return chunkPages(pages, options).map(hashChunk)
    },
  }
}
