import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { AppError } from '../../supabase/functions/_shared/errors.ts'
import type { Embedder } from '../../supabase/functions/_shared/providers/index.ts'
import { chunkPages, DEFAULT_CHUNK_OPTIONS } from '../../supabase/functions/_shared/ingestion/chunk/chunk.ts'
import { hashChunk } from '../../supabase/functions/_shared/ingestion/chunk/hash.ts'
import { workerSettings } from '../../worker/config.ts'
import { corrupt, ExtractionFailure } from '../../supabase/functions/_shared/ingestion/extract/failure.ts'
import { classify, PermanentError, WorkerStoppedError } from '../../supabase/functions/_shared/ingestion/failures.ts'
import { batches, embedBatch } from '../../supabase/functions/_shared/ingestion/jobs/embed-chunks.ts'
import { retryTime } from '../../worker/queue.ts'

const failed = (fields: object, cause?: unknown) => Object.assign(new Error('x', { cause }), fields)
const provider = (status: number) => new AppError('upstream_failed', 'refused', { cause: failed({ status }) })

describe('failures are sorted into final ones and those that waiting may cure', () => {
  const cases: [string, unknown, string, string, string][] = [
    [
      'a scanned PDF',
      new ExtractionFailure('no_text_layer', 'No text.'),
      'attention_required',
      'no_content',
      'no_text_layer',
    ],
    ['an empty file', new ExtractionFailure('empty_document', 'No text.'), 'failed', 'no_content', 'empty_document'],
    ['a damaged file', corrupt('PDF'), 'failed', 'permanent', 'corrupt_document'],
    ['bytes exchanged', new PermanentError('hash_mismatch', 'Other bytes.'), 'failed', 'permanent', 'hash_mismatch'],
    ['a stop', new WorkerStoppedError('stop'), 'pending', 'transient', 'worker_stopped'],
    ['a wrong key', provider(401), 'failed', 'permanent', 'provider_refused'],
    ['a broken provider', provider(503), 'pending', 'transient', 'service_unavailable'],
    ['a busy provider', new AppError('rate_limited', 'slow down'), 'pending', 'rate_limited', 'rate_limited'],
    ['a slow provider', new AppError('upstream_timeout', 'slow'), 'pending', 'timeout', 'timeout'],
    ['an unreachable provider', new AppError('upstream_failed', 'gone'), 'pending', 'transient', 'service_unavailable'],
    ['an unreachable database', new AppError('unavailable', 'gone'), 'pending', 'transient', 'service_unavailable'],
    ['no connection', failed({}, failed({ code: 'ECONNREFUSED' })), 'pending', 'transient', 'service_unavailable'],
    [
      'fetch without a connection',
      new TypeError('fetch failed', { cause: failed({ code: 'ECONNRESET' }) }),
      'pending',
      'transient',
      'service_unavailable',
    ],
    ['a timeout', new DOMException('too long', 'TimeoutError'), 'pending', 'timeout', 'timeout'],
    [
      'storage that is down',
      failed({ $metadata: { httpStatusCode: 503 } }),
      'pending',
      'transient',
      'service_unavailable',
    ],
    ['storage that refuses', failed({ $metadata: { httpStatusCode: 403 } }), 'failed', 'permanent', 'provider_refused'],
    ['a mistake of ours', new TypeError('x is not a function'), 'failed', 'internal', 'internal'],
    ['anything else', new Error('?'), 'pending', 'transient', 'unexpected_error'],
  ]
  test.each(cases)('%s', (_, error, status, errorCode, reasonCode) => {
    expect(classify(error)).toMatchObject({
      status,
      errorCode,
      reasonCode,
      message: expect.stringMatching(/^[A-Z].*\.$/),
    })
  })
})

describe('the time of the next attempt', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'] }))
  afterEach(() => void vi.useRealTimers())
  const job = { retryLimit: 4, retryDelay: 2, retryBackoff: true, retryDelayMax: 10 }
  const seconds = (retryCount: number, more = {}) =>
    ((retryTime({ ...job, retryCount, ...more })?.getTime() ?? NaN) - Date.now()) / 1000

  test('doubles up to the most the queue allows, and there is none after the last', () => {
    expect([0, 1, 2, 3].map((count) => seconds(count))).toEqual([4, 8, 10, 10])
    expect(retryTime({ ...job, retryCount: 4 })).toBeNull()
  })

  test('is constant without backoff', () => {
    expect(seconds(2, { retryBackoff: false })).toBe(2)
  })
})

describe('embedding', () => {
  const chunks = chunkPages([{ page_number: 1, text: 'A sentence here. '.repeat(800) }], DEFAULT_CHUNK_OPTIONS).map(
    hashChunk,
  )
  const embedder = (vectors: (texts: string[]) => number[][], dimensions = 2): Embedder => ({
    model: 'test',
    dimensions,
    embed: (texts) => Promise.resolve(vectors(texts)),
  })
  const signal = new AbortController().signal

  test('requests are bounded in number and in tokens', () => {
    expect(batches(chunks, 3).map((batch) => batch.length)).toEqual([3, 3, 3, chunks.length - 9])
    const heavy = chunks.map((chunk) => ({ ...chunk, tokens: 60_000 }))
    expect(batches(heavy, 64).map((batch) => batch.length)).toEqual(chunks.map(() => 1))
    expect(batches([], 64)).toEqual([])
  })

  test('each chunk gets its vector, and the text embedded is not stored', async () => {
    const staged = await embedBatch(
      embedder((texts) => texts.map((_, index) => [index, 1])),
      chunks.slice(0, 3),
      signal,
    )
    expect(staged.map((chunk) => chunk.embedding)).toEqual([
      [0, 1],
      [1, 1],
      [2, 1],
    ])
    expect(staged[0]).not.toHaveProperty('embedded')
    expect(staged[0]).toHaveProperty('content_hash', chunks[0]?.content_hash)
  })

  test.each([
    ['too few vectors', embedder(() => [[1, 1]])],
    ['vectors of another length', embedder((texts) => texts.map(() => [1, 1, 1]))],
    ['vectors of different lengths', embedder((texts) => texts.map((_, index) => Array<number>(index + 1).fill(1)), 0)],
    ['numbers that are none', embedder((texts) => texts.map(() => [NaN, 1]))],
  ])('%s are refused', async (_, broken) => {
    await expect(embedBatch(broken, chunks.slice(0, 2), signal)).rejects.toMatchObject({
      reasonCode: 'embedding_invalid',
    })
  })

  test('the hash of a chunk covers its place and its heading', () => {
    const [chunk] = chunks
    const hashes = [
      chunk!,
      { ...chunk!, start_char: 1 },
      { ...chunk!, embedded: 'x' },
      { ...chunk!, meta: { pages: [2], heading_path: [] } },
    ].map((each) => hashChunk(each).content_hash)
    expect(new Set(hashes).size).toBe(4)
  })
})

describe('settings', () => {
  test('come from the environment, with defaults', () => {
    expect(workerSettings({ DATABASE_URL: 'postgres://x' })).toMatchObject({
      concurrency: 2,
      leaseSeconds: 30,
      runAdaptive: true,
      limits: { maxPages: 5000 },
    })
    expect(
      workerSettings({ SUPABASE_DB_URL: 'postgres://y', WORKER_LEASE_SECONDS: '3', WORKER_MAX_PAGES: '7' }),
    ).toMatchObject({
      databaseUrl: 'postgres://y',
      leaseSeconds: 3,
      limits: { maxPages: 7 },
    })
    expect(workerSettings({ DATABASE_URL: 'x', WORKER_RUN_ADAPTIVE: 'off' }).runAdaptive).toBe(false)
  })

  test('that are missing or malformed are named', () => {
    expect(() => workerSettings({})).toThrow('DATABASE_URL')
    expect(() => workerSettings({ DATABASE_URL: 'x', WORKER_LEASE_SECONDS: 'soon' })).toThrow('WORKER_LEASE_SECONDS')
    expect(() => workerSettings({ DATABASE_URL: 'x', WORKER_CONCURRENCY: '0' })).toThrow('WORKER_CONCURRENCY')
    expect(() => workerSettings({ DATABASE_URL: 'x', WORKER_RUN_ADAPTIVE: 'maybe' })).toThrow('WORKER_RUN_ADAPTIVE')
  })
})
