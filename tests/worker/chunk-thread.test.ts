import { describe, expect, test } from 'vitest'
import type { Ledger } from '../../supabase/functions/_shared/ledger.ts'
import {
  chunkPages,
  DEFAULT_CHUNK_OPTIONS,
  MAX_CHUNKS,
} from '../../supabase/functions/_shared/ingestion/chunk/chunk.ts'
import { hashChunk } from '../../supabase/functions/_shared/ingestion/chunk/hash.ts'
import { chunkInThread } from '../../worker/chunk/run.ts'
import { workerSettings } from '../../worker/config.ts'
import { DEFAULT_LIMITS } from '../../supabase/functions/_shared/ingestion/extract/limits.ts'
import { indexSource } from '../../supabase/functions/_shared/ingestion/jobs/index-source.ts'
import type { JobContext } from '../../worker/jobs/context.ts'
import { createIsolatedWorkshop } from '../../worker/workshop.ts'
import { withLease } from '../../supabase/functions/_shared/ingestion/lease.ts'

const GENEROUS = 60_000
const never = new AbortController().signal
const pages = (text: string) => [{ page_number: 1, text }]
/** Five megabytes that take seconds: very many small paragraphs. */
const large = pages('- a\n'.repeat(1_250_000))

/** Runs work beside a timer and counts how often that fires until the work is done. */
async function ticksDuring(work: Promise<unknown>): Promise<number> {
  let ticks = 0
  const timer = setInterval(() => ticks++, 5)
  try {
    await work
    return ticks
  } finally {
    clearInterval(timer)
  }
}

describe('chunking in a thread of its own', { timeout: GENEROUS }, () => {
  test('gives what chunking in this thread gives', async () => {
    const document = pages('# One\n\nA sentence that says little. '.repeat(5_000))
    const there = await chunkInThread(document, DEFAULT_CHUNK_OPTIONS, DEFAULT_LIMITS, never)
    expect(there).toEqual(chunkPages(document, DEFAULT_CHUNK_OPTIONS).map(hashChunk))
    expect(there.length).toBeGreaterThan(100)
    expect(await chunkInThread(pages(' '), DEFAULT_CHUNK_OPTIONS, DEFAULT_LIMITS, never)).toEqual([])
  })

  test('timers keep firing while a large document is chunked', async () => {
    const work = chunkInThread(large, DEFAULT_CHUNK_OPTIONS, DEFAULT_LIMITS, never)
    expect(await ticksDuring(work)).toBeGreaterThan(20)
    expect((await work).length).toBeGreaterThan(1_000)
  })

  test('the lease is renewed while a large document is chunked', async () => {
    let renewals = 0
    const ledger: Pick<Ledger, 'renewLease'> = { renewLease: () => Promise.resolve(++renewals > 0) }
    const lease = { kind: 'indexing' as const, id: 'x', token: 'y', seconds: 0.03 }
    await withLease(ledger, lease, never, (signal) =>
      chunkInThread(large, DEFAULT_CHUNK_OPTIONS, DEFAULT_LIMITS, signal),
    )
    expect(renewals).toBeGreaterThan(10)
  })

  test('it has the time that extraction has', async () => {
    await expect(
      chunkInThread(large, DEFAULT_CHUNK_OPTIONS, { ...DEFAULT_LIMITS, timeoutMs: 300 }, never),
    ).rejects.toMatchObject({ reason: 'limit_exceeded', message: expect.stringContaining('seconds') })
  })

  test('it has the memory that extraction has, and the process survives it', async () => {
    await expect(
      chunkInThread(large, DEFAULT_CHUNK_OPTIONS, { ...DEFAULT_LIMITS, memoryMb: 64 }, never),
    ).rejects.toMatchObject({ reason: 'limit_exceeded', message: expect.stringContaining('64 MB of memory') })
  })

  test('a document has at most so many chunks', async () => {
    const text = '字'.repeat(50 * 101)
    const options = { chunkSize: 50, overlap: 0 }
    expect(await chunkInThread(pages(text), options, { ...DEFAULT_LIMITS, maxChunks: 101 }, never)).toHaveLength(101)
    await expect(
      chunkInThread(pages(text), options, { ...DEFAULT_LIMITS, maxChunks: 100 }, never),
    ).rejects.toMatchObject({ reason: 'limit_exceeded', message: expect.stringContaining('more than 100 passages') })
    expect(() => chunkPages(pages('字'.repeat(50 * (MAX_CHUNKS + 1))), options)).toThrow('more than 50,000 passages')
  })

  test('aborting ends it', async () => {
    const stop = new AbortController()
    const work = chunkInThread(large, DEFAULT_CHUNK_OPTIONS, DEFAULT_LIMITS, stop.signal)
    setTimeout(() => stop.abort(new Error('stopped')), 100)
    await expect(work).rejects.toThrow('stopped')
    await expect(chunkInThread(large, DEFAULT_CHUNK_OPTIONS, DEFAULT_LIMITS, stop.signal)).rejects.toThrow('stopped')
  })
})

test('a source that takes too long to chunk fails with limit_exceeded', { timeout: GENEROUS }, async () => {
  const failures: unknown[] = []
  const ledger = {
    claimIndexing: () =>
      Promise.resolve({
        lease_token: 't',
        indexed_source_id: 'i',
        page_count: 1,
        attempts: 1,
        indexing_config: {},
        embedding_model: null,
      }),
    readPages: () => Promise.resolve(large),
    renewLease: () => Promise.resolve(true),
    failIndexing: (id: string, token: string, failure: object) => {
      failures.push({ id, token, ...failure })
      return Promise.resolve(true)
    },
  } as unknown as Ledger
  const settings = workerSettings({ DATABASE_URL: 'postgres://x', WORKER_EXTRACT_TIMEOUT_MS: '300' })
  const log = { info: () => undefined, error: () => undefined }
  const embedder = { model: 'm', dimensions: 1, embed: () => Promise.reject(new Error('not to be called')) }
  const workshop = createIsolatedWorkshop({ get: () => Promise.reject(new Error('not to be called')) }, settings.limits)
  await indexSource({ ledger, settings, log, embedder, workshop } as unknown as JobContext, {
    id: 'i',
    jobId: 'j',
    signal: never,
    retryAt: () => new Date(),
  })
  expect(failures).toEqual([
    expect.objectContaining({
      id: 'i',
      token: 't',
      status: 'failed',
      errorCode: 'permanent',
      reasonCode: 'limit_exceeded',
    }),
  ])
})
