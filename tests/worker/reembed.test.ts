import { randomBytes } from 'node:crypto'
import type { SupabaseClient } from '@supabase/supabase-js'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { useStack } from '../support/stack.ts'
import { startGate, type Gate } from './gate.ts'
import { hurryQueues, indexingOf, spawnWorker, upload, type WorkerUnderTest } from './ingestion-support.ts'
import { killCases } from './kill-points.ts'
import { HARBOR, MERIDIAN } from './search-support.ts'
import { startStubEmbeddings, type StubEmbeddings } from './stub-embeddings.ts'

const stack = useStack()
const OFFLINE = 'bulkhead-hash-384'
let user: SupabaseClient
let stub: StubEmbeddings
let gate: Gate
const workers: WorkerUnderTest[] = []
const start = async (env: Record<string, string> = {}) => {
  const provider = { OPENAI_BASE_URL: stub.url, EMBEDDING_MODEL: OFFLINE, WORKER_EMBED_BATCH_SIZE: '4' }
  const worker = await spawnWorker(stack, { ...provider, ...env })
  workers.push(worker)
  return worker
}

beforeAll(async () => {
  await hurryQueues(stack)
  await stack.db.query(
    `update pgboss.queue set heartbeat_seconds = 2, retry_delay = 1, retry_delay_max = 2 where name = 'reembed_knowledge_base'`,
  )
  // Memories have a test of their own.
  await stack.db.exec('delete from public.memories; delete from pgboss.job')
  user = await stack.signIn('owner@harbor.example')
  stub = await startStubEmbeddings()
  gate = await startGate(stack.url)
})
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.kill()))
  stub.answer([])
  stub.embedded.length = 0
})
afterAll(async () => {
  await gate.stop()
  await stub.stop()
})

const rpc = async <T>(name: string, args: Record<string, unknown>): Promise<T> => {
  const { data, error } = await user.schema('ai').rpc(name, args)
  if (error) throw new Error(`${error.code} ${error.message}`)
  return data as T
}

/** A text with headings that no other test has uploaded, for a dozen small chunks or so. */
const freshText = (): Uint8Array => {
  const mark = randomBytes(6).toString('hex')
  const section = (index: number) =>
    `# Part ${index} of ${mark}\n\n${Array.from({ length: 12 }, (_, at) => `Sentence ${at} of part ${index} says nothing.`).join(' ')}`
  return new TextEncoder().encode(Array.from({ length: 6 }, (_, index) => section(index)).join('\n\n'))
}

/** A knowledge base with one document in it, indexed with the offline model. */
async function makeIndexedBase(): Promise<string> {
  const { data, error } = await user
    .schema('ai')
    .from('knowledge_bases')
    .insert({
      tenant_id: HARBOR,
      name: randomBytes(6).toString('hex'),
      indexing_config: { chunk_size: 60, overlap: 0 },
    })
    .select('id')
    .single()
  if (error) throw new Error(error.message)
  const { id } = data as { id: string }
  await addDocument(id)
  return id
}

async function addDocument(knowledgeBaseId: string): Promise<string | null> {
  const { indexedSourceId } = await upload(stack, user, 'parts.md', freshText(), { knowledgeBaseId })
  await indexingOf(stack, indexedSourceId)
  return indexedSourceId
}

type Counts = {
  embedding_model: string | null
  next_embedding_model: string | null
  chunks: number
  offline: number
  stub: number
}
async function countsOf(knowledgeBaseId: string): Promise<Counts> {
  const [row] = await stack.db.query<Counts>(
    `select
       bases.embedding_model, bases.next_embedding_model,
       (select count(*)::int from ai.chunks where knowledge_base_id = bases.id) as chunks,
       (select count(*)::int from private.search_vectors join ai.chunks on chunks.id = item_id
        join private.vector_sets on vector_sets.id = vector_set_id
        where knowledge_base_id = bases.id and vector_sets.embedding_model = $2) as offline,
       (select count(*)::int from private.search_vectors join ai.chunks on chunks.id = item_id
        join private.vector_sets on vector_sets.id = vector_set_id
        where knowledge_base_id = bases.id and vector_sets.embedding_model = 'stub-8') as stub
     from ai.knowledge_bases as bases where bases.id = $1`,
    [knowledgeBaseId, OFFLINE],
  )
  return row as Counts
}

type Progress = { status: string; done_count: number; total_count: number; error_message: string | null }
const progressOf = async (knowledgeBaseId: string): Promise<Progress> =>
  (await rpc<Progress[]>('reembedding_progress', { knowledge_base_id: knowledgeBaseId }))[0] as Progress

const reembed = (knowledgeBaseId: string, model = 'stub-8', more: Record<string, unknown> = {}) =>
  rpc<null>('reembed_knowledge_base', { knowledge_base_id: knowledgeBaseId, embedding_model: model, ...more })

/** Everything has a vector of the new model, search compares those, and the old ones are still there. */
async function expectSwitched(knowledgeBaseId: string): Promise<Counts> {
  await eventually(async () => expect(await progressOf(knowledgeBaseId)).toMatchObject({ status: 'complete' }), 60_000)
  const counts = await countsOf(knowledgeBaseId)
  expect(counts.chunks).toBeGreaterThan(8)
  expect(counts).toEqual({
    embedding_model: 'stub-8',
    next_embedding_model: null,
    chunks: counts.chunks,
    offline: counts.chunks,
    stub: counts.chunks,
  })
  expect(await progressOf(knowledgeBaseId)).toMatchObject({ done_count: counts.chunks, total_count: counts.chunks })
  return counts
}

test('a knowledge base is embedded anew and switched over; what is embedded is what was embedded first', async () => {
  await start()
  const base = await makeIndexedBase()
  await reembed(base)
  await expectSwitched(base)
  // The same texts, headings above them and all: indexing once more with the new model asks for no others.
  const texts = stub.embedded.flat().toSorted()
  stub.embedded.length = 0
  const [source] = await stack.db.query<{ source_id: string }>(
    'select source_id from ai.indexed_sources where knowledge_base_id = $1',
    [base],
  )
  await rpc('add_source_to_knowledge_base', { knowledge_base_id: base, source_id: source?.source_id })
  await eventually(() => expect(stub.embedded.flat().toSorted()).toEqual(texts), 30_000)
}, 60_000)

test('documents that come meanwhile are embedded with both; there is a way back', async () => {
  await start()
  const base = await makeIndexedBase()
  stub.answer(['hang'])
  await reembed(base)
  await eventually(() => expect(stub.requests).toBeGreaterThan(0))
  const late = await addDocument(base)
  expect(await countsOf(base)).toMatchObject({ embedding_model: OFFLINE, next_embedding_model: 'stub-8' })
  await Promise.all(workers.splice(0).map((worker) => worker.kill()))
  await start()
  await expectSwitched(base)
  const [indexed] = await stack.db.query('select embedding_model from ai.indexed_sources where id = $1', [late])
  expect(indexed).toEqual({ embedding_model: 'stub-8' })

  await rpc('switch_embedding_model', { knowledge_base_id: base, embedding_model: OFFLINE })
  expect(await countsOf(base)).toMatchObject({ embedding_model: OFFLINE })
  await rpc('switch_embedding_model', { knowledge_base_id: base, embedding_model: 'stub-8' })
  // Indexed with the model in use, not with the worker's own; so the way back is longer now.
  await addDocument(base)
  const counts = await countsOf(base)
  expect(counts.stub).toBe(counts.chunks)
  expect(counts.offline).toBeLessThan(counts.chunks)
  await expect(rpc('switch_embedding_model', { knowledge_base_id: base, embedding_model: OFFLINE })).rejects.toThrow(
    'PT409',
  )
}, 90_000)

test('without a switch of its own it waits for a person, and keeps up with new documents', async () => {
  await start()
  const base = await makeIndexedBase()
  await reembed(base, 'stub-8', { switch_when_complete: false })
  await eventually(async () => expect(await progressOf(base)).toMatchObject({ status: 'complete' }), 30_000)
  await addDocument(base)
  await eventually(async () => {
    const counts = await countsOf(base)
    expect(counts.stub).toBe(counts.chunks)
  }, 30_000)
  expect(await countsOf(base)).toMatchObject({ embedding_model: OFFLINE, next_embedding_model: 'stub-8' })
  await eventually(async () => expect(await progressOf(base)).toMatchObject({ status: 'complete' }), 30_000)
  await rpc('switch_embedding_model', { knowledge_base_id: base, embedding_model: 'stub-8' })
  await expectSwitched(base)
}, 60_000)

test('when nobody has the model, that is said, and search stays as it is', async () => {
  await start({ OPENAI_BASE_URL: '' })
  const base = await makeIndexedBase()
  await reembed(base, 'nobody-has-it')
  await eventually(async () => expect(await progressOf(base)).toMatchObject({ status: 'failed' }), 30_000)
  expect(await progressOf(base)).toMatchObject({
    done_count: 0,
    error_message: expect.stringContaining('Nobody here can embed with nobody-has-it.'),
  })
  expect(await countsOf(base)).toMatchObject({ embedding_model: OFFLINE })
  await rpc('discard_embedding_model', { knowledge_base_id: base, embedding_model: 'nobody-has-it' })
  expect(await countsOf(base)).toMatchObject({ next_embedding_model: null })
}, 60_000)

test('one that takes long keeps another tenant waiting no longer than its own', async () => {
  await start()
  const base = await makeIndexedBase()
  stub.answer([], 'hang')
  const asked = stub.requests
  await reembed(base)
  await eventually(() => expect(stub.requests).toBeGreaterThan(asked))
  const other = await stack.signIn('owner@meridian.example')
  const made = await other
    .schema('ai')
    .from('knowledge_bases')
    .insert({ tenant_id: MERIDIAN, name: 'Empty' })
    .select('id')
  const theirs = { knowledge_base_id: made.data?.[0]?.id as string }
  const { error } = await other.schema('ai').rpc('reembed_knowledge_base', { ...theirs, embedding_model: 'stub-8' })
  expect(error).toBeNull()
  await eventually(async () => {
    const { data } = await other.schema('ai').rpc('reembedding_progress', theirs)
    expect(data).toMatchObject([{ status: 'complete' }])
  })
  expect(await progressOf(base)).toMatchObject({ status: 'running', done_count: 0 })
}, 60_000)

test('a document for a knowledge base whose model nobody has is refused with the reason, not mixed in', async () => {
  await start()
  const base = await makeIndexedBase()
  await stack.db.query(`update ai.knowledge_bases set embedding_model = 'nobody-has-it' where id = $1`, [base])
  await Promise.all(workers.splice(0).map((worker) => worker.kill()))
  await start({ OPENAI_BASE_URL: '' })
  const { indexedSourceId } = await upload(stack, user, 'late.md', freshText(), { knowledgeBaseId: base })
  expect(await indexingOf(stack, indexedSourceId)).toMatchObject({
    index_status: 'failed',
    error_code: 'permanent',
    reason_code: 'model_unavailable',
    error_message: expect.stringContaining('nobody-has-it'),
  })
}, 60_000)

test('a switch while a document is being indexed: it is embedded again with the model in use then', async () => {
  await start()
  const base = await makeIndexedBase()
  await reembed(base)
  await expectSwitched(base)
  await Promise.all(workers.splice(0).map((worker) => worker.kill()))
  await start({ SUPABASE_URL: gate.url })
  const stopped = gate.hold('finish_indexing')
  const { indexedSourceId } = await upload(stack, user, 'between.md', freshText(), { knowledgeBaseId: base })
  await stopped
  await rpc('switch_embedding_model', { knowledge_base_id: base, embedding_model: OFFLINE })
  await Promise.all(workers.splice(0).map((worker) => worker.kill()))
  await start()
  expect(await indexingOf(stack, indexedSourceId)).toMatchObject({ index_status: 'indexed', embedding_model: OFFLINE })
  const counts = await countsOf(base)
  expect(counts.offline).toBe(counts.chunks)
}, 90_000)

describe('kill -9 of the worker, and another one', () => {
  const cases = killCases([
    { name: 'claim_reembedding', nth: 1, written: [true] },
    { name: 'read_unembedded', nth: 1, written: [false], isRead: true },
    { name: 'store_reembedded', nth: 1, written: [false] },
    { name: 'store_reembedded', nth: 2, written: [true] },
    { name: 'finish_reembedding', nth: 1, written: [false, true] },
  ])
  /** One for each case, all indexed by one worker. */
  const bases: string[] = []
  /** The worker that has finished a case dies in the next: each start takes a second. */
  let survivor: WorkerUnderTest | undefined
  const startGated = () => start({ SUPABASE_URL: gate.url })
  beforeAll(async () => {
    survivor = await startGated()
    workers.splice(0)
    for (const _ of cases) bases.push(await makeIndexedBase())
  })
  afterAll(() => survivor?.kill())

  for (const [number, { name, nth, written }] of cases.entries()) {
    test(`at ${name} ${nth}${written ? ' (written, answer lost)' : ''}`, { timeout: 90_000 }, async () => {
      const base = bases[number] as string
      const doomed = survivor ?? (await startGated())
      survivor = undefined
      workers.push(doomed)
      // What was embedded to index them is not counted.
      stub.embedded.length = 0
      const stopped = gate.hold(name, nth)
      await reembed(base)
      const held = await stopped
      if (written) await held.letThrough()
      if (!(name === 'finish_reembedding' && written)) {
        expect(await countsOf(base)).toMatchObject({ embedding_model: OFFLINE })
      }
      await doomed.kill()
      const another = await startGated()
      const { chunks } = await expectSwitched(base)
      // Nothing that was stored is embedded again: at most the batch whose storing was cut off.
      const isRepeated = name === 'store_reembedded' && !written
      expect(stub.embedded.flat().length).toBe(chunks + (isRepeated ? 4 : 0))
      workers.splice(workers.indexOf(another), 1)
      survivor = another
    })
  }
})
