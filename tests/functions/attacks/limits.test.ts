import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { eventually } from '../../support/eventually.ts'
import { script } from '../../support/scripted-model/index.ts'
import { eventsOf, streamRun } from '../support/agent-run.ts'
import { useModel } from '../../support/scripted-model/use-model.ts'
import { useFunctionsStack } from '../support/functions-stack.ts'
import { HARBOR, MERIDIAN, caller, fileForm, serviceCaller, userCaller } from '../support/http.ts'
import type { FunctionsCaller, Json } from '../support/http.ts'

// Rows of the attack catalogue about spending what is not one's own, asking without end, and asking again.

const PER_MINUTE = 20
const userEnv: Record<string, string> = { RATE_LIMIT_PER_MINUTE: String(PER_MINUTE) }
const model = useModel(userEnv)
const stack = useFunctionsStack({ userEnv })

const backend = () => serviceCaller(stack, { 'x-tenant-id': HARBOR })
const newAgent = async (): Promise<string> => {
  const { id } = await backend().json(201, 'POST', '/api/agents', { json: { name: `Agent ${randomUUID()}` } })
  return id as string
}

/** A model that uses every token it is allowed, and answers when it is told to. */
function playGreedy(before?: () => Promise<unknown>): void {
  model.play(({ number }) => {
    const granted = Number(model.requests.find((request) => request.number === number)!.body['max_tokens'])
    const usage = { prompt_tokens: 1, completion_tokens: granted, total_tokens: granted + 1 }
    return { text: 'All of it.', usage, ...(before ? { before } : {}) }
  })
}

async function budget(scope: string, period: string, maxTokens: number, subject?: string): Promise<string> {
  const admin = (await stack.signIn('admin@harbor.example')).schema('ai')
  const args = { scope, period, max_tokens: maxTokens, subject_id: subject ?? null }
  const { data, error } = await admin.rpc('set_budget', args)
  if (error) throw new Error(error.message)
  return (data as Json)['id']
}
async function dropBudget(id: string): Promise<void> {
  const { error } = await (await stack.signIn('admin@harbor.example')).schema('ai').rpc('delete_budget', {
    budget_id: id,
  })
  if (error) throw new Error(error.message)
}

async function counted(budgetId: string): Promise<{ used: number; reserved: number }> {
  const [row] = await stack.db.query<{ used: number; reserved: number }>(
    'select used_tokens::int as used, reserved_tokens::int as reserved from private.budget_counters where budget_id = $1',
    [budgetId],
  )
  return row ?? { used: 0, reserved: 0 }
}

describe('X01 denial of wallet', () => {
  it('runs that start together use what a budget has, and not a token more', async () => {
    const agentId = await newAgent()
    const id = await budget('agent', 'total', 3000, agentId)
    playGreedy()
    const runs = await Promise.all(
      Array.from({ length: 12 }, () =>
        backend().send('POST', `/api/agents/${agentId}/run`, { json: { message: 'x', timeout_seconds: 20 } }),
      ),
    )
    const answers: [number, Json][] = await Promise.all(
      runs.map(async (response): Promise<[number, Json]> => [response.status, await response.json()]),
    )
    const done = answers.filter(([status, { status: how }]) => status === 200 && how === 'completed')
    const refused = answers.filter(([, { code }]) => code === 'insufficient_credits' || code === 'budget_exceeded')
    expect(done.length).toBeGreaterThan(0)
    expect(refused.length).toBeGreaterThan(0)
    expect(done.length + refused.length).toBe(12)
    const { used, reserved } = await counted(id)
    expect(used).toBeLessThanOrEqual(3000)
    expect(reserved).toBe(0)
    await dropBudget(id)
  })

  it('no run begins without a token left, and the answer says so as its clients expect', async () => {
    const agentId = await newAgent()
    const id = await budget('agent', 'month', 0, agentId)
    const before = model.requests.length
    for (const path of ['run', 'run/stream']) {
      const answer = await backend().json(402, 'POST', `/api/agents/${agentId}/${path}`, { json: { message: 'x' } })
      expect(answer).toMatchObject({ error: 'insufficient_credits', code: 'insufficient_credits', balance: 0 })
      expect(answer['estimated_cost']).toBeGreaterThan(0)
      expect(Date.parse(answer['renews_at'])).toBeGreaterThan(0)
    }
    expect(model.requests.length).toBe(before)
    await dropBudget(id)
    model.play(script([{ text: 'Again.' }]))
    const answer = await backend().json(200, 'POST', `/api/agents/${agentId}/run`, { json: { message: 'x' } })
    expect(answer).toMatchObject({ status: 'completed', content: 'Again.' })
  })

  it('a long prompt and a large max_tokens buy nothing', async () => {
    const agentId = await newAgent()
    await backend().json(200, 'PATCH', `/api/agents/${agentId}`, { json: { settings: { max_tokens: 1_000_000 } } })
    const id = await budget('agent', 'total', 500, agentId)
    playGreedy()
    const before = model.requests.length
    const long = { message: 'word '.repeat(2000) }
    const refused = await backend().json(200, 'POST', `/api/agents/${agentId}/run`, { json: long })
    expect(refused).toMatchObject({ status: 'failed', code: 'budget_exceeded' })
    expect(model.requests.length).toBe(before)
    const answer = await backend().json(200, 'POST', `/api/agents/${agentId}/run`, { json: { message: 'x' } })
    expect(answer['status']).toBe('completed')
    expect(model.requests.at(-1)!.body['max_tokens']).toBeLessThan(500)
    expect((await counted(id)).used).toBeLessThanOrEqual(500)
    await dropBudget(id)
  })

  it('a loop of tools ends when the budget of the run does', async () => {
    const agentId = await newAgent()
    await backend().json(201, 'POST', `/api/agents/${agentId}/tools`, { json: { tool_name: 'storage_read' } })
    const id = await budget('run', 'total', 20_000)
    let calls = 0
    model.play(() => {
      calls += 1
      return {
        toolCalls: [{ name: 'storage_read', arguments: { source_id: randomUUID() } }],
        usage: { prompt_tokens: 3000, completion_tokens: 1000, total_tokens: 4000 },
      }
    })
    const run = await streamRun(await userCaller(stack, 'member@harbor.example'), agentId, { message: 'go on' })
    expect(run.complete).toMatchObject({ status: 'failed' })
    expect(eventsOf(run, 'error').map(({ code }) => code)).toEqual(['budget_exceeded'])
    expect(calls).toBeGreaterThan(1)
    expect(calls).toBeLessThanOrEqual(5)
    await dropBudget(id)
  })

  it('what a run that was cancelled had sent is paid for', async () => {
    const agentId = await newAgent()
    const id = await budget('agent', 'total', 10_000, agentId)
    let answerNow = () => {}
    const mayAnswer = new Promise<void>((resolve) => (answerNow = resolve))
    playGreedy(() => mayAnswer)
    const message = 'word '.repeat(1000)
    const asked = model.requests.length
    const running = backend().send('POST', `/api/agents/${agentId}/run/stream`, { json: { message } })
    const runId = (await running).headers.get('x-run-id')
    await eventually(async () => expect(model.requests.length).toBe(asked + 1), 10_000)
    await backend().json(200, 'POST', `/api/agents/runs/${runId}/cancel`, { json: {} })
    await (await running).text()
    answerNow()
    await eventually(async () => {
      const { used, reserved } = await counted(id)
      expect(reserved).toBe(0)
      expect(used).toBeGreaterThanOrEqual(1000)
    }, 10_000)
    await dropBudget(id)
  })
})

describe('Q07 a request that is sent again', () => {
  const keyed = (key: string = randomUUID()) => ({ 'idempotency-key': key })

  it('has one effect, and gets the first answer', async () => {
    const member = await userCaller(stack, 'member@harbor.example')
    const headers = keyed()
    const json = { name: `Once ${headers['idempotency-key']}` }
    const first = await member.json(201, 'POST', '/api/agents', { json, headers })
    const again = await member.send('POST', '/api/agents', { json, headers })
    expect(again.status).toBe(201)
    expect(again.headers.get('idempotency-replayed')).toBe('true')
    expect(await again.json()).toEqual(first)
    const { agents } = await member.json(200, 'GET', '/api/agents')
    expect(agents.filter(({ name }: Json) => name === json.name)).toHaveLength(1)
  })

  it('with another body is refused', async () => {
    const member = await userCaller(stack, 'member@harbor.example')
    const headers = keyed()
    await member.json(201, 'POST', '/api/agents', { json: { name: 'One' }, headers })
    const refused = await member.json(409, 'POST', '/api/agents', { json: { name: 'Two' }, headers })
    expect(refused['code']).toBe('idempotency_conflict')
    for (const key of ['', 'with a space', 'x'.repeat(256)]) {
      const bad = await member.json(400, 'POST', '/api/agents', { json: { name: 'N' }, headers: keyed(key) })
      expect(bad['code']).toBe('invalid_request')
    }
  })

  it('in another tenant, or by somebody else, is another request', async () => {
    const json = { name: 'Shared name' }
    const headers = keyed()
    const both = await userCaller(stack, 'both@bulkhead.example', headers)
    const member = await userCaller(stack, 'member@harbor.example', headers)
    const sent = (tenant: string) => ({ json, headers: { 'x-tenant-id': tenant } })
    const created = [
      await both.json(201, 'POST', '/api/agents', sent(HARBOR)),
      await both.json(201, 'POST', '/api/agents', sent(MERIDIAN)),
      await member.json(201, 'POST', '/api/agents', sent(HARBOR)),
      await serviceCaller(stack, headers).json(201, 'POST', '/api/agents', sent(HARBOR)),
    ]
    expect(new Set(created.map(({ id }) => id)).size).toBe(4)
    expect(await both.json(201, 'POST', '/api/agents', sent(MERIDIAN))).toEqual(created[1])
  })

  it('while its twin is under way has one effect, too', async () => {
    const agentId = await newAgent()
    let answerNow = () => {}
    const mayAnswer = new Promise<void>((resolve) => (answerNow = resolve))
    model.play(script([{ text: 'Only once.', before: () => mayAnswer }]))
    const headers = keyed()
    const sent = { json: { message: 'x' }, headers }
    const asked = model.requests.length
    const first = backend().send('POST', `/api/agents/${agentId}/run`, sent)
    await eventually(async () => expect(model.requests.length).toBe(asked + 1), 10_000)
    const twin = await backend().send('POST', `/api/agents/${agentId}/run`, sent)
    expect(twin.status).toBe(409)
    expect(Number(twin.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(await twin.json()).toMatchObject({ code: 'conflict' })
    answerNow()
    const answer = await (await first).json()
    expect(answer).toMatchObject({ status: 'completed', content: 'Only once.' })
    expect(await backend().json(200, 'POST', `/api/agents/${agentId}/run`, sent)).toEqual(answer)
    expect(model.requests.length).toBe(asked + 1)
  })

  it('to begin a stream leads to the log of the run that the first one began', async () => {
    const agentId = await newAgent()
    model.play(script([{ text: 'Streamed once.' }]))
    const headers = keyed()
    const path = `/api/agents/${agentId}/run/stream`
    const first = await backend().send('POST', path, { json: { message: 'x' }, headers })
    const runId = first.headers.get('x-run-id')
    expect(await first.text()).toContain('Streamed')
    const again = await backend().send('POST', path, { json: { message: 'x' }, headers })
    expect(again.redirected).toBe(true)
    expect(new URL(again.url).pathname).toBe(`/functions/v1/api/agents/runs/${runId}/stream`)
    const text = await again.text()
    expect(text).toContain('"complete"')
    expect(text).toContain(runId)
  })

  it('of a form counts by its fields', async () => {
    const member = await userCaller(stack, 'member@harbor.example')
    const headers = keyed()
    const text = `Tariff ${randomUUID()}`
    const first = await member.json(201, 'POST', '/sources', { body: fileForm('a.txt', text), headers })
    const again = await member.json(201, 'POST', '/sources', { body: fileForm('a.txt', text), headers })
    expect(again).toEqual(first)
    const other = await member.json(409, 'POST', '/sources', { body: fileForm('a.txt', `${text}!`), headers })
    expect(other['code']).toBe('idempotency_conflict')
  })

  it('that was refused may be sent again with the same key', async () => {
    const agentId = await newAgent()
    const id = await budget('agent', 'month', 0, agentId)
    const headers = keyed()
    const sent = { json: { message: 'x' }, headers }
    await backend().json(402, 'POST', `/api/agents/${agentId}/run`, sent)
    await dropBudget(id)
    model.play(script([{ text: 'Now.' }]))
    expect(await backend().json(200, 'POST', `/api/agents/${agentId}/run`, sent)).toMatchObject({ content: 'Now.' })
  })
})

/** Asks until it is refused; twice the limit is more than two minutes hold. */
async function askUntilRefused(ask: () => Promise<Response>): Promise<Response> {
  for (let i = 0; i <= 2 * PER_MINUTE; i++) {
    const response = await ask()
    if (response.status === 429) return response
    await response.body?.cancel()
  }
  throw new Error('Nobody was refused.')
}

describe('X02 requests without end', () => {
  const list = (who: FunctionsCaller, more: Record<string, string> = {}) =>
    who.send('GET', '/api/agents', { headers: more })

  it('are refused on every route of the person and tenant, and on nobody else’s', async () => {
    const person = await userCaller(stack, 'viewer@harbor.example')
    const neighbour = await userCaller(stack, 'owner@harbor.example')
    const stranger = await userCaller(stack, 'member@meridian.example')
    const routes: [string, string, object | undefined][] = [
      ['GET', '/api/agents', undefined],
      ['GET', '/sources', undefined],
      ['POST', '/search', { query: 'x' }],
      ['POST', '/chat', { message: 'x' }],
      ['POST', '/mcp', { jsonrpc: '2.0', id: 1, method: 'ping' }],
      ['GET', '/api/no/such/route', undefined],
    ]
    // Asked again as a whole if the minute has ended between emptying the bucket and looking.
    await eventually(async () => {
      const refused = await askUntilRefused(() => list(person))
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
      const { request_id: _, ...body } = (await refused.json()) as Json
      expect(body).toMatchObject({ error: 'Too many requests.', code: 'rate_limited' })
      for (const [method, path, json] of routes) {
        const response = await person.send(method, path, json ? { json } : {})
        await response.body?.cancel()
        expect(response.status, `${method} ${path}`).toBe(429)
      }
    }, 20_000)
    expect((await list(neighbour)).status).toBe(200)
    expect((await list(stranger)).status).toBe(200)
    expect((await list(backend())).status).toBe(200)
  })

  it('are counted in each tenant of a person by itself, and naming tenants one is not in gives no more', async () => {
    const both = await userCaller(stack, 'both@bulkhead.example')
    await eventually(async () => {
      await askUntilRefused(() => list(both, { 'x-tenant-id': HARBOR }))
      expect((await list(both, { 'x-tenant-id': MERIDIAN })).status).toBe(200)
    }, 20_000)
    await askUntilRefused(() => list(both, { 'x-tenant-id': randomUUID() }))
  })

  it('of who does not say who they are come out of the bucket of their address', async () => {
    const from = (address: string) =>
      caller(stack, { apikey: stack.keys.publishable, authorization: 'Bearer x.y.z', 'x-forwarded-for': address })
    await askUntilRefused(() => list(from('198.51.100.7, 192.0.2.1')))
    expect((await list(from('192.0.2.1, 198.51.100.9'))).status).toBe(401)
  })
})
