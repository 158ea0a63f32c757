import { createHash } from 'node:crypto'
import type { Chunk } from './chunk.ts'

/** A chunk with the hash of everything that is stored and embedded of it. */
export type HashedChunk = Chunk & { content_hash: string }

/** Two chunks with the same hash are the same in every respect, so an embedding made for one holds for the other. */
export function hashChunk(chunk: Chunk): HashedChunk {
  const { embedded, text, start_char, end_char, score, meta } = chunk
  const content = JSON.stringify([embedded, text, start_char, end_char, score, meta])
  return { ...chunk, content_hash: createHash('sha256').update(content).digest('hex') }
}
