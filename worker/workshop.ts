import type { Workshop } from '../supabase/functions/_shared/ingestion/context.ts'
import type { ExtractLimits } from '../supabase/functions/_shared/ingestion/extract/limits.ts'
import type { ObjectStore } from '../supabase/functions/_shared/object-store.ts'
import { chunkInThread } from './chunk/run.ts'
import { extractInChild } from './extract/extract.ts'
import { fetchObject } from './fetch-object.ts'

/** Reads each document in a process and divides it in a thread of its own, with limits: whatever it does, it does to itself. */
export function createIsolatedWorkshop(store: Pick<ObjectStore, 'get'>, limits: ExtractLimits): Workshop {
  return {
    // Whoever died, it was not of a document.
    hasFailed: () => false,
    async *read(object, fileType, signal) {
      const file = await fetchObject(store, object, limits.maxBytes, signal)
      try {
        yield* extractInChild(file, fileType, limits, signal)
      } finally {
        await file.close()
      }
    },
    chunk: (pages, options, signal) => chunkInThread(pages, options, limits, signal),
  }
}
