/** A thread that chunks one document, posts the chunks in groups, and ends. */
import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import { ExtractionFailure, type ExtractionReason } from '../../supabase/functions/_shared/ingestion/extract/failure.ts'
import { chunkPages, type ChunkOptions } from '../../supabase/functions/_shared/ingestion/chunk/chunk.ts'
import { hashChunk, type HashedChunk } from '../../supabase/functions/_shared/ingestion/chunk/hash.ts'
import type { Page } from '../../supabase/functions/_shared/ingestion/chunk/pages.ts'

/** What the thread is given. */
export type ThreadInput = { pages: Page[]; options: ChunkOptions; maxChunks: number }

/** What the thread says. */
export type ThreadMessage =
  | { type: 'chunks'; chunks: HashedChunk[] }
  | { type: 'end' }
  | { type: 'failed'; reason: ExtractionReason; message: string }

/** A group is taken over in one go by a thread that has other things to do. */
const CHUNKS_PER_MESSAGE = 500

const { pages, options, maxChunks } = workerData as ThreadInput
const say = (message: ThreadMessage) => (parentPort as MessagePort).postMessage(message)
try {
  const chunks = chunkPages(pages, options, maxChunks)
  for (let from = 0; from < chunks.length; from += CHUNKS_PER_MESSAGE) {
    say({ type: 'chunks', chunks: chunks.slice(from, from + CHUNKS_PER_MESSAGE).map(hashChunk) })
  }
  say({ type: 'end' })
} catch (error) {
  if (!(error instanceof ExtractionFailure)) throw error
  say({ type: 'failed', reason: error.reason, message: error.message })
}
