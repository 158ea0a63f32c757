import { randomBytes } from 'node:crypto'
import type { SupabaseClient } from '@supabase/supabase-js'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { childrenOf } from '../support/child-processes.ts'
import { eventually } from '../support/eventually.ts'
import { useStack } from '../support/stack.ts'
import { plainPdf } from './bombs.ts'
import { startGate, type Gate } from './gate.ts'
import {
  chunkRows,
  extractionOf,
  hurryQueues,
  indexingOf,
  knowledgeBaseOf,
  sourceRow,
  spawnWorker,
  upload,
  type WorkerUnderTest,
} from './ingestion-support.ts'
import { killCases } from './kill-points.ts'
import { startStubEmbeddings, type StubEmbeddings } from './stub-embeddings.ts'

// The worker is killed with SIGKILL at every write it makes, before the database has it and after, when only the answer is
// lost. Whatever the point, another worker finishes the source once. WORKER_KILL_POINTS=all is each write both before and
// after; without it that is the writes that finish something, and each other one is cut off before or after.

const stack = useStack()
let user: SupabaseClient
let knowledgeBaseId: string
let stub: StubEmbeddings
let gate: Gate
const workers: WorkerUnderTest[] = []
const BATCH = '4'

const start = async (env: Record<string, string> = {}) => {
  const provider = { OPENAI_BASE_URL: stub.url, EMBEDDING_MODEL: 'stub-8', WORKER_EMBED_BATCH_SIZE: BATCH }
  const worker = await spawnWorker(stack, { ...provider, ...env })
  workers.push(worker)
  return worker
}
/** A worker whose calls to the database pass the gate. */
const startGated = () => start({ SUPABASE_URL: gate.url })
/** The worker that has finished what another was killed over: the next to be killed, because each start takes a second. */
let survivor: WorkerUnderTest | undefined
/** A worker that waits for work. */
const takeSurvivor = async () => {
  const worker = survivor ?? (await startGated())
  survivor = undefined
  return worker
}

beforeAll(async () => {
  await hurryQueues(stack)
  // They would be embedded, too.
  await stack.db.exec('delete from public.memories')
  user = await stack.signIn('owner@harbor.example')
  knowledgeBaseId = await knowledgeBaseOf(user)
  stub = await startStubEmbeddings()
  gate = await startGate(stack.url)
})
afterEach(async () => {
  const others = workers.splice(0).filter((worker) => worker !== survivor)
  if (survivor) workers.push(survivor)
  await Promise.all(others.map((worker) => worker.kill()))
  stub.answer([])
  stub.embedded.length = 0
})
afterAll(async () => {
  await survivor?.kill()
  await gate.stop()
  await stub.stop()
})

const PAGES = 60

/** A PDF of 60 pages that no other test has uploaded: three groups of pages are stored, several batches are embedded. */
function freshPdf(): Uint8Array {
  const bytes = plainPdf(PAGES)
  const mark = new TextEncoder().encode(`\n% ${randomBytes(8).toString('hex')}\n`)
  const whole = new Uint8Array(bytes.length + mark.length)
  whole.set(bytes)
  whole.set(mark, bytes.length)
  return whole
}

/** The source is complete, exact and there once. */
async function expectFinishedOnce(id: string, indexedSourceId: string | null): Promise<void> {
  const indexed = await indexingOf(stack, indexedSourceId, 60_000)
  expect(indexed).toMatchObject({ index_status: 'indexed', error_code: null, error_message: null, next_retry_at: null })
  expect(await sourceRow(stack, id)).toMatchObject({
    extraction_status: 'extracted',
    page_count: PAGES,
    lease_token: null,
  })
  const pages = await stack.db.query<{ page_number: number; text: string }>(
    'select page_number, text from ai.source_pages where source_id = $1 order by page_number',
    [id],
  )
  expect(pages.map(({ text }) => text)).toEqual(
    Array.from({ length: PAGES }, (_, index) => `This is page number ${index + 1} of a long document.`),
  )

  const chunks = await chunkRows(stack, id)
  expect(chunks).toHaveLength(indexed.stats['chunk_count'] as number)
  expect(chunks.map((chunk) => chunk.chunk_index)).toEqual(chunks.map((_, index) => index))
  expect(new Set(chunks.map((chunk) => chunk.text)).size).toBe(chunks.length)
  const text = pages.map((page) => page.text).join('\n\n')
  for (const chunk of chunks) expect(text.slice(chunk.start_char, chunk.end_char)).toBe(chunk.text)
  const [leftovers] = await stack.db.query<{ staged: number; indexed: number }>(
    `select
       (select count(*)::int from private.staged_chunks where indexed_source_id = $1) as staged,
       (select count(*)::int from private.search_vectors join ai.chunks on chunks.id = item_id where indexed_source_id = $1) as indexed`,
    [indexedSourceId],
  )
  expect(leftovers).toEqual({ staged: 0, indexed: chunks.length })
}

/** Nobody can find a source that is not indexed. */
async function expectNothingSearchable(id: string): Promise<void> {
  const { data, error } = await user.schema('ai').from('chunks').select('id').eq('source_id', id)
  expect(error).toBeNull()
  expect(data).toEqual([])
}

describe('kill -9 of the worker, and another one', () => {
  beforeAll(async () => {
    // Small chunks, so that there are several batches.
    await stack.db.query(
      `update ai.knowledge_bases set indexing_config = '{"chunk_size": 60, "overlap": 10}' where id = $1`,
      [knowledgeBaseId],
    )
  })

  const cases = killCases([
    { name: 'claim_extraction', when: 'as it takes the source', nth: 1, written: [true] },
    { name: 'save_source_pages', when: 'with the first pages', nth: 1, written: [false] },
    { name: 'save_source_pages', when: 'between pages', nth: 2, written: [true] },
    { name: 'finish_extraction', when: 'before the extraction is finished', nth: 1, written: [false, true] },
    { name: 'claim_indexing', when: 'as it takes the indexing', nth: 1, written: [true] },
    { name: 'read_pages', when: 'while it reads the pages', nth: 1, written: [false], isRead: true },
    { name: 'stage_chunks', when: 'with the first batch', nth: 1, written: [false] },
    { name: 'stage_chunks', when: 'between batches', nth: 2, written: [true] },
    { name: 'finish_indexing', when: 'before the swap', nth: 1, written: [false, true] },
  ])
  for (const { name, when, nth, written, isRead } of cases) {
    const what = isRead ? '' : written ? ' (written, answer lost)' : ' (not written)'
    test(`${when}: ${name}${what}`, { timeout: 90_000 }, async () => {
      const doomed = await takeSurvivor()
      const stopped = gate.hold(name, nth)
      const { id, indexedSourceId } = await upload(stack, user, 'killed.pdf', freshPdf(), { knowledgeBaseId })
      const held = await stopped
      if (written) await held.letThrough()
      if (!(name === 'finish_indexing' && written)) await expectNothingSearchable(id)
      await doomed.kill()
      const another = await startGated()
      await expectFinishedOnce(id, indexedSourceId)
      survivor = another
    })
  }

  test('while the document is being read', { timeout: 90_000 }, async () => {
    const doomed = await takeSurvivor()
    const slow = plainPdf(1_000)
    const { id } = await upload(stack, user, 'slow.pdf', slow)
    const [child] = await eventually(() => {
      const children = childrenOf(doomed.pid)
      if (children.length === 0) throw new Error('not reading yet')
      return children
    })
    expect(await sourceRow(stack, id)).toMatchObject({ extraction_status: 'extracting' })
    await doomed.kill()
    await eventually(() => expect(() => process.kill(child as number, 0)).toThrow('ESRCH'), 5_000)
    const another = await startGated()
    expect(await extractionOf(stack, id, 60_000)).toMatchObject({ extraction_status: 'extracted', page_count: 1_000 })
    const [pages] = await stack.db.query<{ count: number }>(
      'select count(*)::int as count from ai.source_pages where source_id = $1',
      [id],
    )
    expect(pages?.count).toBe(1_000)
    survivor = another
  })

  test('while it waits for the model: what was embedded before is used again', { timeout: 90_000 }, async () => {
    stub.answer(['ok', 'ok', 'hang'])
    const doomed = await takeSurvivor()
    const { id, indexedSourceId } = await upload(stack, user, 'embedding.pdf', freshPdf(), { knowledgeBaseId })
    await eventually(() => expect(stub.requests).toBeGreaterThanOrEqual(3))
    await eventually(async () => {
      const [staged] = await stack.db.query<{ count: number }>(
        'select count(*)::int as count from private.staged_chunks where indexed_source_id = $1',
        [indexedSourceId],
      )
      expect(staged?.count).toBe(2 * Number(BATCH))
    })
    await expectNothingSearchable(id)
    await doomed.kill()
    const another = await startGated()
    await expectFinishedOnce(id, indexedSourceId)
    const texts = stub.embedded.flat()
    expect(new Set(texts).size).toBe(texts.length)
    survivor = another
  })

  test('of a slow worker that comes back to life: its writes are refused', { timeout: 90_000 }, async () => {
    const frozen = await takeSurvivor()
    const stopped = gate.hold('save_source_pages', 2)
    const { id, indexedSourceId } = await upload(stack, user, 'frozen.pdf', freshPdf(), { knowledgeBaseId })
    const held = await stopped
    process.kill(frozen.pid, 'SIGSTOP')
    await start()
    await expectFinishedOnce(id, indexedSourceId)
    // Its request, long under way, arrives now; then the process itself goes on.
    await held.letThrough()
    process.kill(frozen.pid, 'SIGCONT')
    await new Promise((resolve) => setTimeout(resolve, 2_000))
    await expectFinishedOnce(id, indexedSourceId)
  })
})

describe('kill -9 of a worker that sweeps, and another one', () => {
  let leastSeconds: string
  beforeAll(async () => {
    await survivor?.kill()
    survivor = undefined
    const [were] = await stack.db.query<{ seconds: string }>(
      'select jsonb_object_agg(name, least_seconds)::text as seconds from private.sweeps',
    )
    leastSeconds = were!.seconds
  })
  beforeEach(() =>
    // None is due for hours: all there is to sweep is what a test queues, a little early.
    stack.db.exec(`
      delete from pgboss.job where name = 'sweep';
      update private.sweeps
      set least_seconds = 86400, last_began_at = now() - interval '20 hours', last_ended_at = now() - interval '20 hours'`),
  )
  afterAll(() =>
    stack.db.query('update private.sweeps set least_seconds = ($1::jsonb ->> name)::int, last_began_at = null', [
      leastSeconds,
    ]),
  )

  test.each([
    ['not written', false],
    ['written, answer lost', true],
  ])('the job is tried again: run_sweep (%s)', { timeout: 150_000 }, async (_, written) => {
    const [queued] = await stack.db.query<{ id: string }>(
      `select private.enqueue('sweep', jsonb_build_object('id', id), now(), id::text) as id
       from private.sweeps where name = 'expire_approvals'`,
    )
    const now = async () => (await stack.db.query<{ at: string }>('select clock_timestamp()::text as at'))[0]!.at
    const job = async () =>
      (await stack.db.query('select state, retry_count from pgboss.job where id = $1', [queued!.id]))[0]
    const sweptSince = (time: string) =>
      stack.db.query('select name from private.sweeps where last_began_at > $1 and last_ended_at >= last_began_at', [
        time,
      ])
    const swept = [{ name: 'expire_approvals' }]

    const [beginning, stopped] = [await now(), gate.hold('run_sweep')]
    const doomed = await startGated()
    const held = await stopped
    if (written) await held.letThrough()
    await doomed.kill()
    expect(await sweptSince(beginning)).toEqual(written ? swept : [])
    expect(await job()).toEqual({ state: 'active', retry_count: 0 })

    const death = await now()
    await startGated()
    // As if the time had passed after which a worker that gave no sign of life is taken for dead.
    await stack.db.query(
      `update pgboss.job set heartbeat_on = coalesce(heartbeat_on, started_on) - make_interval(secs => heartbeat_seconds + 1) where id = $1`,
      [queued!.id],
    )
    await eventually(async () => expect(await job()).toEqual({ state: 'completed', retry_count: 1 }), 60_000)
    // What was done is not done again so soon.
    expect(await sweptSince(death)).toEqual(written ? [] : swept)
  })
})
