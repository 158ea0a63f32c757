import type { SupabaseClient } from '@supabase/supabase-js'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { useStack } from '../support/stack.ts'
import { startGate, type Gate } from './gate.ts'
import { spawnWorker, type WorkerUnderTest } from './ingestion-support.ts'
import { HARBOR, OWNER } from './search-support.ts'
import { startStubEmbeddings, type StubEmbeddings } from './stub-embeddings.ts'

const stack = useStack()
let user: SupabaseClient
let stub: StubEmbeddings
let gate: Gate
const workers: WorkerUnderTest[] = []
const start = async (env: Record<string, string> = {}) => {
  const worker = await spawnWorker(stack, { OPENAI_BASE_URL: stub.url, EMBEDDING_MODEL: 'stub-8', ...env })
  workers.push(worker)
  return worker
}

beforeAll(async () => {
  user = await stack.signIn('owner@harbor.example')
  stub = await startStubEmbeddings()
  gate = await startGate(stack.url)
  await stack.db.exec('delete from public.memories')
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

async function remember(body: string): Promise<string> {
  const { data, error } = await user.from('memories').insert({ tenant_id: HARBOR, body }).select('id').single()
  if (error) throw new Error(JSON.stringify(error))
  return (data as { id: string }).id
}

const modelOf = async (id: string): Promise<string | null | undefined> =>
  (
    await stack.db.query<{ embedding_model: string | null }>(
      'select embedding_model from public.memories where id = $1',
      [id],
    )
  )[0]?.embedding_model

/** The vector of a memory is the one of this text. */
async function expectVectorOf(id: string, text: string, model = 'stub-8'): Promise<void> {
  await eventually(async () => expect(await modelOf(id)).toBe(model))
  const [row] = await stack.db.query<{ distance: number; vectors: number }>(
    `select min(embedding operator(extensions.<=>) $2::text::extensions.halfvec)::float8 as distance, count(*)::int as vectors
     from private.search_vectors where item_id = $1`,
    [id, JSON.stringify(stubVector(text))],
  )
  expect(row?.vectors).toBe(1)
  expect(row?.distance).toBeCloseTo(0, 3)
}

/** As the stub makes it. */
function stubVector(text: string): number[] {
  const vector = Array<number>(8).fill(0.01)
  for (let index = 0; index < text.length; index++) (vector[index % 8] as number) += text.charCodeAt(index) / 1000
  return vector
}

test('a memory is embedded when it is written and when it is changed; the API gives no vector away', async () => {
  await start()
  const id = await remember('Takes the early ferry')
  await expectVectorOf(id, 'Takes the early ferry')
  const { error } = await user.from('memories').update({ body: 'Takes the last ferry' }).eq('id', id)
  expect(error).toBeNull()
  await expectVectorOf(id, 'Takes the last ferry')

  const { data } = await user.from('memories').select().eq('id', id)
  expect(data).toMatchObject([
    { body: 'Takes the last ferry', embedding: { memory_id: id, embedding_model: 'stub-8' } },
  ])
  const found = await user.schema('ai').rpc('search_memories', {
    query: 'ferry',
    query_embedding: JSON.stringify(stubVector('Takes the last ferry')),
    embedding_model: 'stub-8',
  })
  expect(found.error).toBeNull()
  expect(found.data).toMatchObject([{ memory_id: id, body: 'Takes the last ferry', user_id: OWNER, score: 1 }])
  // Both texts were embedded, and are usage of whom the memory belongs to: a quarter of their characters.
  const used = await user
    .schema('ai')
    .from('usage_entries')
    .select('kind,model,user_id,total_tokens')
    .order('created_at')
  const entry = { kind: 'embedding', model: 'stub-8', user_id: OWNER }
  expect(used.data).toMatchObject([
    { ...entry, total_tokens: 6 },
    { ...entry, total_tokens: 5 },
  ])
})

test("the guide's statement runs as it stands, with the parameters of a driver", async () => {
  await start()
  const id = await remember('Wants the window seat')
  await expectVectorOf(id, 'Wants the window seat')
  const guided = (tenantId: string) =>
    stack.db.asCaller({ role: 'authenticated', claims: { sub: OWNER, role: 'authenticated' } }, (tx) =>
      tx.query<{ id: string; score: number }>(
        `SELECT id, body, (1 - (embedding <=> $1)) * 0.7 + similarity(body, $2) * 0.3 AS score
         FROM memories WHERE tenant_id = $3 ORDER BY score DESC LIMIT 5`,
        [JSON.stringify(stubVector('Wants the window seat')), 'Wants the window seat', tenantId],
      ),
    )
  const [best] = await guided(HARBOR)
  expect(best?.id).toBe(id)
  expect(best?.score).toBeCloseTo(1, 3)
  expect(await guided('22222222-2222-4222-8222-222222222222')).toEqual([])
})

test('a vector that arrives after its text was changed is not stored', async () => {
  await start({ SUPABASE_URL: gate.url })
  const stopped = gate.hold('store_memory_vector')
  const id = await remember('Speaks Danish')
  const held = await stopped
  const { error } = await user.from('memories').update({ body: 'Speaks Dutch' }).eq('id', id)
  expect(error).toBeNull()
  await held.letThrough()
  expect(await modelOf(id)).toBeNull()
  await start()
  await expectVectorOf(id, 'Speaks Dutch')
})

test('nor is one whose memory was deleted', async () => {
  await start({ SUPABASE_URL: gate.url })
  const stopped = gate.hold('store_memory_vector')
  const id = await remember('Owes a favour')
  const held = await stopped
  const { error } = await user.from('memories').delete().eq('id', id)
  expect(error).toBeNull()
  await held.letThrough()
  expect(await stack.db.query('select 1 from private.search_vectors where item_id = $1', [id])).toEqual([])
})

test('a worker killed before it stored leaves the memory to another', async () => {
  await stack.db.exec(`update pgboss.queue set heartbeat_seconds = 2, retry_delay = 1 where name = 'embed_memory'`)
  const doomed = await start({ SUPABASE_URL: gate.url })
  const stopped = gate.hold('store_memory_vector')
  const id = await remember('Never flies')
  await stopped
  await doomed.kill()
  await start()
  await expectVectorOf(id, 'Never flies')
}, 60_000)

test('a worker with another model embeds with the one that memories are searched by, or not at all', async () => {
  const silent = await start({ EMBEDDING_MODEL: 'bulkhead-hash-384' })
  const id = await remember('Collects stamps')
  await expectVectorOf(id, 'Collects stamps')
  await silent.kill()

  const worker = await spawnWorker(stack)
  workers.push(worker)
  const other = await remember('Collects coins')
  await eventually(() =>
    expect(worker.lines).toContainEqual(
      expect.objectContaining({ event: 'work_failed', memory_id: other, reason_code: 'model_unavailable' }),
    ),
  )
  expect(await modelOf(other)).toBeNull()
})

test('an admin has all memories embedded anew; they change over together', async () => {
  const worker = await start()
  const id = await remember('Reads maps')
  await expectVectorOf(id, 'Reads maps')
  const { error } = await user.schema('ai').rpc('reembed_memories', { embedding_model: 'bulkhead-hash-384' })
  expect(error).toBeNull()
  await eventually(() =>
    expect(worker.lines).toContainEqual(
      expect.objectContaining({ event: 'reembedding_finished', outcome: 'switched' }),
    ),
  )
  const models = await stack.db.query(
    `select distinct memories.embedding_model, tenants.memory_embedding_model, tenants.next_memory_embedding_model
     from public.memories join public.tenants on tenants.id = memories.tenant_id where tenant_id = $1`,
    [HARBOR],
  )
  expect(models).toEqual([
    {
      embedding_model: 'bulkhead-hash-384',
      memory_embedding_model: 'bulkhead-hash-384',
      next_memory_embedding_model: null,
    },
  ])
  const late = await remember('Draws maps')
  await eventually(async () => expect(await modelOf(late)).toBe('bulkhead-hash-384'))
}, 60_000)
