import { afterAll, beforeAll, expect, it } from 'vitest'
import { startApi } from '../functions/support/api-app.ts'
import { addSource } from '../functions/support/indexed-documents.ts'
import { userCaller } from '../functions/support/http.ts'
import type { FunctionsCaller, Json } from '../functions/support/http.ts'
import { eventually } from '../support/eventually.ts'
import { promptOf, startScriptedModel } from '../support/scripted-model/index.ts'
import type { ScriptedModel } from '../support/scripted-model/index.ts'
import { useStack } from '../support/stack.ts'
import { spawnWorker, type WorkerUnderTest } from './ingestion-support.ts'

const userEnv: Record<string, string> = {}
let model: ScriptedModel
beforeAll(async () => {
  model = await startScriptedModel()
  Object.assign(userEnv, model.env)
})
const stack = useStack({ userEnv })

const MEMBER = 'member@harbor.example'
const FIELDS = [{ name: 'quay', description: 'Number of the quay.', type: 'number' }]
const workers: WorkerUnderTest[] = []
let member: FunctionsCaller
const start = async () => {
  const worker = await spawnWorker(stack)
  workers.push(worker)
  return worker
}

beforeAll(async () => {
  await stack.db.query(
    `update pgboss.queue set heartbeat_seconds = 2, retry_delay = 1, retry_delay_max = 1, retry_limit = 1
     where name like 'enrich_knowledge_base%'`,
  )
  member = startApi(stack).as(await userCaller(stack, MEMBER))
})
afterAll(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.kill()))
  await model.stop()
})

/** A knowledge base whose documents each name another quay. */
async function makeBase(documents: number): Promise<string> {
  const { id } = await member.json(201, 'POST', '/api/knowledge-bases', { json: { name: 'Quays' } })
  for (let quay = 1; quay <= documents; quay++) {
    await addSource(stack, id, { name: `quay-${quay}.md`, text: `The ship lies at quay ${quay}.`, owner: MEMBER })
  }
  return id
}
const put = (base: string) =>
  member.json(201, 'PUT', `/api/knowledge-bases/${base}/enrichment`, { json: { fields: FIELDS } })
const configOf = async (base: string): Promise<Json> =>
  (await member.json(200, 'GET', `/api/knowledge-bases/${base}/enrichment`))['config']
const quayIn = (prompt: string) => Number(/lies at quay (\d+)/.exec(prompt)?.[1])
/** As long as a busy machine may take. */
const LONG = 60_000
/** How often the model was asked about each quay since so many requests. */
const askedSince = (count: number): Record<number, number> => {
  const counts: Record<number, number> = {}
  for (const { body } of model.chats().slice(count)) {
    const quay = quayIn(promptOf({ messages: body['messages'] }))
    counts[quay] = (counts[quay] ?? 0) + 1
  }
  return counts
}
const quaysOf = async (base: string): Promise<number[]> => {
  const { results } = await member.json(200, 'GET', `/api/knowledge-bases/${base}/enrichment/results`)
  return Object.values(results as Record<string, { quay: number }>)
    .map(({ quay }) => quay)
    .toSorted((a, b) => a - b)
}

it(
  'goes on where a killed worker stopped, and asks about nothing that is stored again',
  async () => {
    const base = await makeBase(6)
    const before = model.chats().length
    let isHanging = true
    model.play(async (input) => {
      const quay = quayIn(promptOf(input))
      if (quay === 3 && isHanging) await new Promise(() => {})
      return { text: JSON.stringify({ quay }) }
    })
    const doomed = await start()
    await put(base)
    await eventually(async () => expect(await quaysOf(base)).toEqual([1, 2, 4]), LONG)
    await doomed.kill()
    isHanging = false
    const second = await start()
    await eventually(async () => expect(await configOf(base)).toMatchObject({ status: 'completed' }), LONG)
    expect(await quaysOf(base)).toEqual([1, 2, 3, 4, 5, 6])
    expect(askedSince(before)).toEqual({ 1: 1, 2: 1, 3: 2, 4: 1, 5: 1, 6: 1 })
    // The call that was cut off counts as its prompt; nothing stays reserved.
    const [ledger] = await stack.db.query(
      `select (select count(*)::int from private.token_reservations) as open,
            (select count(*)::int from ai.usage_entries where kind = 'enrichment') as calls`,
    )
    expect(ledger).toEqual({ open: 0, calls: 7 })
    const logged = doomed.output() + second.output()
    expect(logged).toContain('enrichment_finished')
    expect(logged).not.toMatch(/lies at quay|Number of the quay|quay-\d/)
  },
  3 * LONG,
)

// By the worker that is left, as is what follows.
it(
  'is given up when the model stays away, and put back by the operator',
  async () => {
    const base = await makeBase(1)
    model.play(() => ({ status: 503 }))
    await put(base)
    const failed = await eventually(async () => {
      const config = await configOf(base)
      expect(config).toMatchObject({ status: 'failed', reason_code: 'dead_letter' })
      return config
    }, LONG)
    expect(failed['error_message']).toContain('We try again')
    const dead = await stack.service.schema('ai').rpc('queue_health')
    expect(dead.data.find(({ queue }: Json) => queue === 'enrich_knowledge_base')).toMatchObject({ dead: 1 })
    model.play(() => ({ text: '{"quay": 1}' }))
    const redriven = await stack.service.schema('ai').rpc('redrive_dead_letters', { queue: 'enrich_knowledge_base' })
    expect(redriven).toMatchObject({ data: 1, error: null })
    await eventually(async () => expect(await configOf(base)).toMatchObject({ status: 'completed' }), LONG)
  },
  3 * LONG,
)

it(
  'ends at once when the provider refuses for good',
  async () => {
    const base = await makeBase(1)
    model.play(() => ({ status: 404, error: { message: 'No such model: secret-deployment.' } }))
    await put(base)
    const config = await eventually(async () => {
      const now = await configOf(base)
      expect(now).toMatchObject({ status: 'failed', reason_code: 'provider_refused' })
      return now
    }, LONG)
    expect(config['error_message']).not.toContain('secret-deployment')
  },
  3 * LONG,
)
