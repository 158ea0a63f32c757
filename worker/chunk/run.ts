import { Worker } from 'node:worker_threads'
import { ExtractionFailure, limitExceeded } from '../../supabase/functions/_shared/ingestion/extract/failure.ts'
import type { ExtractLimits } from '../../supabase/functions/_shared/ingestion/extract/limits.ts'
import { MAX_CHUNKS, type ChunkOptions } from '../../supabase/functions/_shared/ingestion/chunk/chunk.ts'
import type { HashedChunk } from '../../supabase/functions/_shared/ingestion/chunk/hash.ts'
import type { Page } from '../../supabase/functions/_shared/ingestion/chunk/pages.ts'
import type { ThreadInput, ThreadMessage } from './thread.ts'

export type ChunkLimits = Pick<ExtractLimits, 'timeoutMs' | 'memoryMb'> & { maxChunks?: number }

/**
 * Chunks a document in a thread of its own, so that the caller goes on renewing its leases whatever the document is. The
 * thread is ended when `signal` aborts and when it exceeds its time or its memory.
 *
 * @throws ExtractionFailure `limit_exceeded`; the reason of `signal` when that aborts.
 */
export async function chunkInThread(
  pages: Page[],
  options: ChunkOptions,
  { timeoutMs, memoryMb, maxChunks = MAX_CHUNKS }: ChunkLimits,
  signal: AbortSignal,
): Promise<HashedChunk[]> {
  signal.throwIfAborted()
  const input: ThreadInput = { pages, options, maxChunks }
  const thread = new Worker(new URL('./thread.ts', import.meta.url), {
    workerData: input,
    env: {},
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: Math.floor(memoryMb * 0.75) },
  })
  const ended = Promise.withResolvers<void>()
  const chunks: HashedChunk[] = []
  thread.on('message', (message: ThreadMessage) => {
    if (message.type === 'chunks') chunks.push(...message.chunks)
    else if (message.type === 'end') ended.resolve()
    else ended.reject(new ExtractionFailure(message.reason, message.message))
  })
  thread.on('error', (error: NodeJS.ErrnoException) =>
    ended.reject(error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? outOfMemory(memoryMb) : error),
  )
  thread.on('exit', (code) => ended.reject(new Error(`Chunking ended without a verdict (${code}).`)))
  const onAbort = () => ended.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  const timer = setTimeout(() => ended.reject(tooSlow(timeoutMs)), timeoutMs)
  try {
    await ended.promise
    return chunks
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
    await thread.terminate()
  }
}

const tooSlow = (timeoutMs: number) =>
  limitExceeded(`This document takes longer than ${Math.round(timeoutMs / 1000)} seconds to divide into passages.`)

const outOfMemory = (memoryMb: number) =>
  limitExceeded(`This document needs more than ${memoryMb} MB of memory to be divided into passages.`)
