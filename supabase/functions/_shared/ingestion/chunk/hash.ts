import { createHash } from 'node:crypto'
import type { Chunk } from './chunk.ts'

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

/** A chunk with the hash of everything that is stored and embedded of it. */
export type HashedChunk = Chunk & { content_hash: string }

/** Two chunks with the same hash are the same in every respect, so an embedding made for one holds for the other. */
export function hashChunk(chunk: Chunk): HashedChunk {
  const { embedded, text, start_char, end_char, score, meta } = chunk
  const content = JSON.stringify([embedded, text, start_char, end_char, score, meta])
  return { ...chunk, content_hash: sha256(content) }
}

/** The chunk under a hash that also says what a model was asked about it: `settings`, as JSON. */
export const rehash = (chunk: HashedChunk, settings: unknown): HashedChunk => ({
  ...chunk,
  content_hash: sha256(JSON.stringify([chunk.content_hash, settings])),
})

/** The hash of what a model is asked. */
export const questionHash = (...asked: unknown[]): string => sha256(JSON.stringify(asked))
