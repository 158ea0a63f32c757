import { randomBytes } from 'node:crypto'
import type { SupabaseClient } from '@supabase/supabase-js'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { objectStoreFromEnv } from '../../supabase/functions/_shared/object-store.ts'
import { chunkPages, DEFAULT_CHUNK_OPTIONS } from '../../supabase/functions/_shared/ingestion/chunk/chunk.ts'
import { eventually } from '../support/eventually.ts'
import { useStack } from '../support/stack.ts'
import { flateBomb, plainPdf } from './bombs.ts'
import { FIXTURES, openDocuments } from './documents.ts'
import {
  chunkRows,
  extractionOf,
  hurryQueues,
  indexedRow,
  indexingOf,
  knowledgeBaseOf,
  sourceRow,
  spawnWorker,
  upload,
  type WorkerUnderTest,
} from './ingestion-support.ts'
import { startStubEmbeddings, type StubEmbeddings } from './stub-embeddings.ts'

const stack = useStack()
const documents = openDocuments(FIXTURES)!
let user: SupabaseClient
let knowledgeBaseId: string
let stub: StubEmbeddings
let stubEnv: Record<string, string>
const workers: WorkerUnderTest[] = []
/** The worker of the tests that need nothing special of theirs, until another is started. */
let common: { worker: WorkerUnderTest; env: Record<string, string> } | undefined
const endCommon = async () => {
  await common?.worker.kill()
  common = undefined
}
const start = async (env: Record<string, string> = {}) => {
  await endCommon()
  const worker = await spawnWorker(stack, env)
  workers.push(worker)
  return worker
}
const startCommon = async (env: Record<string, string>) => {
  if (common?.env !== env) {
    await endCommon()
    common = { worker: await spawnWorker(stack, env), env }
  }
  return common.worker
}
const OFFLINE: Record<string, string> = {}

beforeAll(async () => {
  await hurryQueues(stack)
  // They would be embedded, too.
  await stack.db.exec('delete from public.memories')
  user = await stack.signIn('owner@harbor.example')
  knowledgeBaseId = await knowledgeBaseOf(user)
  stub = await startStubEmbeddings()
  stubEnv = { OPENAI_BASE_URL: stub.url, EMBEDDING_MODEL: 'stub-8' }
})
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.kill()))
  stub.answer([])
  stub.embedded.length = 0
  // The worker of the next test embeds with its own model again.
  await stack.db.exec('update ai.knowledge_bases set embedding_model = null')
})
afterAll(async () => {
  await endCommon()
  await stub.stop()
})

/** Text that no other test has uploaded, long enough for `chunks` chunks or so. */
const freshText = (chunks: number): Uint8Array => {
  const mark = randomBytes(6).toString('hex')
  const sentence = (index: number) => `In document ${mark} this is sentence number ${index}, which says nothing else.`
  return new TextEncoder().encode(Array.from({ length: chunks * 20 }, (_, index) => sentence(index)).join(' '))
}

describe('a document in', () => {
  test.each([
    'py-pdf/multicolumn.pdf',
    'markitdown/test_with_comment.docx',
    'markitdown/test_blog.html',
    'markitdown/test_mskanji.csv',
    'r2r/xlsx.xlsx',
  ])('%s becomes pages, then chunks with exact places', async (file) => {
    await startCommon(OFFLINE)
    const { id, indexedSourceId } = await upload(stack, user, file.split('/')[1] as string, documents.read(file), {
      knowledgeBaseId,
    })
    expect(await indexingOf(stack, indexedSourceId)).toMatchObject({
      index_status: 'indexed',
      embedding_model: 'bulkhead-hash-384',
      attempts: 1,
      error_code: null,
    })
    const source = await sourceRow(stack, id)
    const pages = await stack.db.query<{ page_number: number; text: string }>(
      'select page_number, text from ai.source_pages where source_id = $1 order by page_number',
      [id],
    )
    expect(source).toMatchObject({
      extraction_status: 'extracted',
      page_count: pages.length,
      attempts: 1,
      lease_token: null,
    })
    expect(pages.map((page) => page.page_number)).toEqual(pages.map((_, index) => index + 1))

    const chunks = await chunkRows(stack, id)
    const text = pages.map((page) => page.text).join('\n\n')
    for (const chunk of chunks) expect(text.slice(chunk.start_char, chunk.end_char)).toBe(chunk.text)
    const expected = chunkPages(pages, DEFAULT_CHUNK_OPTIONS)
    expect(chunks.map(({ text: body, meta }) => ({ body, meta }))).toEqual(
      expected.map(({ text: body, meta }) => ({ body, meta })),
    )
    const [vectors] = await stack.db.query<{ count: number }>(
      'select count(*)::int as count from private.search_vectors join ai.chunks on chunks.id = item_id where chunks.source_id = $1',
      [id],
    )
    expect(vectors?.count).toBe(chunks.length)
  })

  test('the chunk size of the knowledge base is used, and indexing again replaces the chunks', async () => {
    await startCommon(OFFLINE)
    const { id, indexedSourceId } = await upload(stack, user, 'sizes.txt', freshText(10), { knowledgeBaseId })
    await indexingOf(stack, indexedSourceId)
    const before = await chunkRows(stack, id)
    await stack.db.query(
      `update ai.knowledge_bases set indexing_config = '{"chunk_size": 100, "overlap": 0}' where id = $1`,
      [knowledgeBaseId],
    )
    try {
      await stack.db.query(`update ai.indexed_sources set index_status = 'pending', indexed_at = null where id = $1`, [
        indexedSourceId,
      ])
      const { error } = await stack.service
        .schema('ai')
        .rpc('enqueue', { queue: 'index_source', payload: { id: indexedSourceId } })
      expect(error).toBeNull()
      await indexingOf(stack, indexedSourceId)
      const after = await chunkRows(stack, id)
      expect(after.length).toBeGreaterThan(before.length * 3)
      expect(after.map((chunk) => chunk.chunk_index)).toEqual(after.map((_, index) => index))
    } finally {
      await stack.db.query(`update ai.knowledge_bases set indexing_config = '{}' where id = $1`, [knowledgeBaseId])
    }
  })

  test('deleting a source removes its bytes', async () => {
    await startCommon(OFFLINE)
    const { id, storagePath } = await upload(stack, user, 'gone.txt', freshText(1))
    await extractionOf(stack, id)
    const store = objectStoreFromEnv(stack.stack.env)
    expect(await store.head(storagePath)).not.toBeNull()
    const { error } = await user.schema('ai').from('sources').delete().eq('id', id)
    expect(error).toBeNull()
    await eventually(async () => expect(await store.head(storagePath)).toBeNull())
    // The second removal is due when no upload link can be used any more.
    await eventually(async () => {
      const waiting = await stack.db.query<{ later: boolean }>(
        `select job.start_after > now() as later
         from private.object_removals join pgboss.job on job.data ->> 'id' = object_removals.id::text
         where object_removals.storage_path = $1`,
        [storagePath],
      )
      expect(waiting).toEqual([{ later: true }])
    })
  })
})

describe('a document that yields no text says why', () => {
  const cases: [string, string, string][] = [
    ['onyx/encrypted.pdf', 'failed', 'encrypted_document'],
    ['onyx/shredded_strips.pdf', 'attention_required', 'no_text_layer'],
    ['pdfjs/REDHAT-1531897-0.pdf', 'failed', 'corrupt_document'],
    ['markitdown/test.epub', 'failed', 'unsupported_type'],
  ]
  const ids: string[] = []
  test.each(cases)('%s: %s, %s', async (file, status, reason) => {
    await startCommon(OFFLINE)
    const { id } = await upload(stack, user, file.split('/')[1] as string, documents.read(file), { knowledgeBaseId })
    ids.push(id)
    const row = await extractionOf(stack, id)
    expect(row).toMatchObject({
      extraction_status: status,
      reason_code: reason,
      attempts: 1,
      next_retry_at: null,
      lease_token: null,
    })
    expect(row.error_code).toMatch(/^(permanent|no_content)$/)
    expect(row.error_message).toMatch(/^[A-Z].+\.$/)
  })

  test('and is not read once more, nor indexed', async () => {
    const worker = await startCommon(OFFLINE)
    expect(ids).toHaveLength(cases.length)
    await new Promise((resolve) => setTimeout(resolve, 2_500))
    for (const id of ids) {
      const begun = worker.lines.filter((line) => line.event === 'extraction_started' && line['source_id'] === id)
      expect(begun).toHaveLength(1)
    }
    const indexed = await stack.db.query(
      `select 1 from ai.indexed_sources where source_id = any ($1) and index_status = 'indexed'`,
      [ids],
    )
    expect(indexed).toEqual([])
  })

  test('the limits of the installation hold, and the worker goes on', async () => {
    const worker = await start({ WORKER_EXTRACT_MEMORY_MB: '300', WORKER_MAX_BYTES: '2000000', WORKER_MAX_PAGES: '20' })
    const bomb = await upload(stack, user, 'bomb.pdf', flateBomb(400))
    const long = await upload(stack, user, 'long.pdf', plainPdf(30))
    const large = await upload(stack, user, 'large.txt', new TextEncoder().encode('large '.repeat(400_000)))
    const good = await upload(stack, user, 'good.txt', freshText(1))
    expect(await extractionOf(stack, bomb.id)).toMatchObject({
      extraction_status: 'failed',
      reason_code: 'limit_exceeded',
    })
    expect(await extractionOf(stack, long.id)).toMatchObject({
      extraction_status: 'failed',
      reason_code: 'limit_exceeded',
    })
    expect(await extractionOf(stack, large.id)).toMatchObject({ extraction_status: 'failed', reason_code: 'too_large' })
    expect(await extractionOf(stack, good.id)).toMatchObject({ extraction_status: 'extracted' })
    expect(worker.lines.map(({ event }) => event)).not.toContain('worker_stopped')
  })

  test('bytes that are not the announced ones, or none, are not read', async () => {
    await startCommon(OFFLINE)
    const announced = freshText(1)
    const exchanged = announced.slice().fill(0x41, 0, 10)
    const other = await upload(stack, user, 'other.txt', announced, { stored: exchanged })
    const longer = await upload(stack, user, 'longer.txt', freshText(1), { stored: freshText(2) })
    const missing = await upload(stack, user, 'missing.txt', freshText(1), { stored: null })
    expect(await extractionOf(stack, other.id)).toMatchObject({
      extraction_status: 'failed',
      reason_code: 'hash_mismatch',
    })
    expect(await extractionOf(stack, longer.id)).toMatchObject({
      extraction_status: 'failed',
      reason_code: 'hash_mismatch',
    })
    expect(await extractionOf(stack, missing.id)).toMatchObject({
      extraction_status: 'failed',
      reason_code: 'object_missing',
    })
    expect(
      await stack.db.query('select 1 from ai.source_pages where source_id = any ($1)', [
        [other.id, longer.id, missing.id],
      ]),
    ).toEqual([])
  })
})

/** How often a worker has begun to index a source. The row counts only since it last got further. */
const begunBy = ({ lines }: WorkerUnderTest, indexedSourceId: string | null): number =>
  lines.filter((line) => line.event === 'indexing_started' && line['indexed_source_id'] === indexedSourceId).length

describe('a provider that fails', () => {
  test('for a while: the reason and the next attempt are shown, then it is indexed', async () => {
    stub.answer([503, 503, 503, 503, 503, 503])
    const worker = await startCommon(stubEnv)
    const { id, indexedSourceId } = await upload(stack, user, 'retried.txt', freshText(3), { knowledgeBaseId })
    const waiting = await eventually(async () => {
      const row = await indexedRow(stack, indexedSourceId)
      expect(row).toMatchObject({
        index_status: 'pending',
        error_code: 'transient',
        reason_code: 'service_unavailable',
      })
      return row
    })
    expect(new Date(waiting.next_retry_at as string).getTime()).toBeGreaterThan(new Date(waiting.created_at).getTime())
    const row = await indexingOf(stack, indexedSourceId)
    expect(row).toMatchObject({
      index_status: 'indexed',
      error_code: null,
      error_message: null,
      next_retry_at: null,
      embedding_model: 'stub-8',
    })
    expect(begunBy(worker, indexedSourceId)).toBeGreaterThan(1)
    expect((await chunkRows(stack, id)).length).toBe(row.stats['chunk_count'])
  })

  test('by refusing the key: no retry', async () => {
    stub.answer([], 401)
    await startCommon(stubEnv)
    const before = stub.requests
    const { indexedSourceId } = await upload(stack, user, 'refused.txt', freshText(1), { knowledgeBaseId })
    expect(await indexingOf(stack, indexedSourceId)).toMatchObject({
      index_status: 'failed',
      error_code: 'permanent',
      reason_code: 'provider_refused',
      attempts: 1,
    })
    expect(stub.requests).toBeGreaterThan(before)
  })

  test('forever: a dead letter, with the reason of the last attempt; a retry by a person starts anew', async () => {
    await hurryQueues(stack, 1)
    stub.answer([], 429)
    const worker = await startCommon(stubEnv)
    const { id, indexedSourceId } = await upload(stack, user, 'given-up.txt', freshText(1), { knowledgeBaseId })
    const givenUp = await indexingOf(stack, indexedSourceId, 45_000)
    await hurryQueues(stack)
    expect(givenUp).toMatchObject({
      index_status: 'failed',
      error_code: 'rate_limited',
      reason_code: 'dead_letter',
      attempts: 2,
      next_retry_at: null,
    })
    // Lines of the worker's log arrive after what they tell of.
    await eventually(() =>
      expect(worker.lines.some(({ event, marked }) => event === 'dead_letter' && marked === true)).toBe(true),
    )
    expect(await chunkRows(stack, id)).toEqual([])

    stub.answer([])
    const again = await user
      .schema('ai')
      .rpc('add_source_to_knowledge_base', { knowledge_base_id: knowledgeBaseId, source_id: id })
    expect(again.error).toBeNull()
    expect(await indexingOf(stack, indexedSourceId)).toMatchObject({ index_status: 'indexed', error_code: null })
  })

  test('by not answering: a timeout, retried', async () => {
    stub.answer(['hang'])
    const worker = await start({ ...stubEnv, WORKER_EMBED_TIMEOUT_MS: '800' })
    const { indexedSourceId } = await upload(stack, user, 'slow.txt', freshText(1), { knowledgeBaseId })
    await eventually(async () =>
      expect(await indexedRow(stack, indexedSourceId)).toMatchObject({
        index_status: 'pending',
        error_code: 'timeout',
      }),
    )
    expect(await indexingOf(stack, indexedSourceId)).toMatchObject({ index_status: 'indexed' })
    expect(begunBy(worker, indexedSourceId)).toBe(2)
  })
})

describe('the process', () => {
  test('SIGTERM: what runs is handed back with a reason, and the next worker finishes it', async () => {
    stub.answer(['hang'])
    const before = stub.requests
    const first = await start(stubEnv)
    const { indexedSourceId } = await upload(stack, user, 'handed-back.txt', freshText(2), { knowledgeBaseId })
    await eventually(() => expect(stub.requests).toBeGreaterThan(before))
    await eventually(async () =>
      expect(await indexedRow(stack, indexedSourceId)).toMatchObject({ index_status: 'indexing' }),
    )
    expect(await first.terminate()).toBe(0)
    expect(await indexedRow(stack, indexedSourceId)).toMatchObject({
      index_status: 'pending',
      error_code: 'transient',
      reason_code: 'worker_stopped',
    })
    const second = await start(stubEnv)
    expect(await indexingOf(stack, indexedSourceId)).toMatchObject({ index_status: 'indexed' })
    expect([begunBy(first, indexedSourceId), begunBy(second, indexedSourceId)]).toEqual([1, 1])
  })

  test('two workers share the work: every source once', async () => {
    const both = await Promise.all([start({ WORKER_NAME: 'one' }), start({ WORKER_NAME: 'two' })])
    const sources = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        upload(stack, user, `shared-${index}.txt`, freshText(2), { knowledgeBaseId }),
      ),
    )
    for (const { indexedSourceId } of sources)
      expect(await indexingOf(stack, indexedSourceId)).toMatchObject({ index_status: 'indexed', attempts: 1 })
    await eventually(() => {
      const finished = both.flatMap(({ lines }) => lines).filter(({ event }) => event === 'indexing_finished')
      expect(finished.map((line) => line['indexed_source_id']).sort()).toEqual(
        sources.map((source) => source.indexedSourceId).sort(),
      )
    })
  })

  test('work whose job was lost is found by the sweep', async () => {
    const { id, indexedSourceId } = await upload(stack, user, 'lost.txt', freshText(1), { knowledgeBaseId })
    await stack.db.query(`delete from pgboss.job where data ->> 'id' = $1`, [id])
    const worker = await start()
    expect(await indexingOf(stack, indexedSourceId)).toMatchObject({ index_status: 'indexed' })
    expect(worker.lines.some((line) => line.event === 'work_requeued' && line['id'] === id)).toBe(true)
  })

  test('a source that keeps killing its worker is given up', async () => {
    const { id } = await upload(stack, user, 'killer.txt', freshText(1))
    await stack.db.query('update ai.sources set attempts = 3 where id = $1', [id])
    await start({ WORKER_MAX_ATTEMPTS: '3' })
    expect(await extractionOf(stack, id)).toMatchObject({ extraction_status: 'failed', reason_code: 'dead_letter' })
  })

  test('a malformed job is put aside and harms nobody', async () => {
    const worker = await startCommon(OFFLINE)
    for (const payload of [{}, { id: 7 }, { id: "'; drop table ai.sources; --" }]) {
      await stack.service.schema('ai').rpc('enqueue', { queue: 'extract_source', payload })
    }
    await eventually(() => expect(worker.lines.filter(({ event }) => event === 'malformed_job')).toHaveLength(3))
    const { id } = await upload(stack, user, 'after.txt', freshText(1))
    expect(await extractionOf(stack, id)).toMatchObject({ extraction_status: 'extracted' })
  })

  test('logs hold ids and durations, never text, names or keys', async () => {
    stub.answer([401])
    const worker = await start(stubEnv)
    const text = freshText(2)
    const { id, indexedSourceId } = await upload(stack, user, 'secret-merger-plan.txt', text, { knowledgeBaseId })
    await indexingOf(stack, indexedSourceId)
    expect(await worker.terminate()).toBe(0)
    const output = worker.output()
    expect(output).toContain(id)
    expect(worker.lines.find(({ event }) => event === 'extraction_finished')).toMatchObject({
      source_id: id,
      page_count: expect.any(Number),
      duration_ms: expect.any(Number),
    })
    const mark = /document (\w+)/.exec(new TextDecoder().decode(text))?.[1] as string
    for (const secret of [
      mark,
      'sentence number',
      'merger',
      stack.keys.secret,
      stack.keys.serviceRole,
      stack.keys.s3.secretAccessKey,
    ]) {
      expect(output).not.toContain(secret)
    }
  })
})
