import type { Ledger } from '../ledger.ts'
import type { ObjectStore } from '../object-store.ts'
import type { ChatProvider, Embedder } from '../providers/index.ts'
import type { ChunkOptions } from './chunk/chunk.ts'
import type { HashedChunk } from './chunk/hash.ts'
import type { Page } from './chunk/pages.ts'
import type { ExtractEvent } from './extract/extract.ts'

/** Fields of an event: ids, counts, durations, codes. Never document text, names or keys. */
export type LogFields = Record<string, string | number | boolean | null | undefined>

export type Log = {
  info: (event: string, fields?: LogFields) => void
  error: (event: string, fields?: LogFields) => void
}

/** What the row of a source says about its object. */
export type ExpectedObject = { key: string; sizeBytes: number; sha256: string }

/**
 * Where documents are read and divided. A document may be made to exhaust whoever reads it: the worker has a process and a
 * thread for it, an Edge Function has neither.
 */
export type Workshop = {
  /** Reads a stored document and yields its pages. @throws ExtractionFailure, PermanentError, the reason of `signal`. */
  read(object: ExpectedObject, fileType: string, signal: AbortSignal): AsyncGenerator<ExtractEvent>
  /** Divides pages into chunks. @throws ExtractionFailure `limit_exceeded`, the reason of `signal`. */
  chunk(pages: Page[], options: ChunkOptions, signal: AbortSignal): Promise<HashedChunk[]>
  /** Whether a document is not to be read again after this holder of its lease has gone without a word. */
  hasFailed(lostHolder: string): boolean
}

export type IngestionSettings = {
  /** Names this process in leases. */
  name: string
  /** How long a lease lasts without renewal: the longest a source waits after its holder died. */
  leaseSeconds: number
  /** Begun so often without an end, a source is given up. */
  maxAttempts: number
  /** Texts per embedding request. */
  embedBatchSize: number
  embedTimeoutMs: number
  /** Whether pages of PDFs are wanted as images, once their text is there. Absent: no. */
  rendersPages?: boolean
}

/** What every job of the ingestion gets from outside. */
export type IngestionContext = {
  ledger: Ledger
  store: ObjectStore
  /** The configured one: for what has no vectors yet. */
  embedder: Embedder
  /** Whoever can embed with the model of this name, or null. */
  embedderFor: (model: string) => Embedder | null
  /** Whoever answers what strategies of knowledge bases ask at indexing. */
  chat: ChatProvider
  settings: IngestionSettings
  workshop: Workshop
  log: Log
}

/** One delivery of a job by the queue. */
export type Delivery = {
  /** The only thing a job carries: the id of what it is about. */
  id: string
  jobId: string
  /** Whose it is, where the queue says. */
  tenantId?: string | undefined
  /** Aborts when the queue takes the job away or the process stops. */
  signal: AbortSignal
  /** The latest moment of the next delivery, should this one fail; null when it is the last. */
  retryAt: () => Date | null
}
