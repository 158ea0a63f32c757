import { randomUUID } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { obey } from '../../support/scripted-model/index.ts'
import { eventsOf, streamRun } from '../support/agent-run.ts'
import { useModel } from '../../support/scripted-model/use-model.ts'
import { useFunctionsStack } from '../support/functions-stack.ts'
import { HARBOR, MERIDIAN, serviceCaller, userCaller } from '../support/http.ts'
import { CALLERS, FLOW_ENV } from './callers.ts'

const userEnv: Record<string, string> = { ...FLOW_ENV }
const model = useModel(userEnv)
beforeAll(() => model.play(obey()))
const stack = useFunctionsStack({ userEnv })

const OWN = `canary-own-${randomUUID()}`
const COLLEAGUES = `canary-colleague-${randomUUID()}`
const FOREIGN = `canary-foreign-${randomUUID()}`

/** A memory that its owner alone can see. */
async function remember(email: string, tenantId: string, body: string) {
  const client = await stack.signIn(email)
  const { data } = await client.auth.getUser()
  const { error } = await client.from('memories').insert({ tenant_id: tenantId, user_id: data.user!.id, body })
  if (error) throw new Error(error.message)
}

beforeAll(async () => {
  await remember('member@harbor.example', HARBOR, OWN)
  await remember('admin@harbor.example', HARBOR, COLLEAGUES)
  await remember('member@meridian.example', MERIDIAN, FOREIGN)
})

describe.each(CALLERS)('F13 leak test, agent made by the backend %s', (_name, tenantHeaders) => {
  async function makeAgent(): Promise<string> {
    const backend = serviceCaller(stack, tenantHeaders)
    const agent = await backend.json(201, 'POST', '/api/agents', { json: { name: 'All seeing', model: 'gpt-4o' } })
    await backend.json(201, 'POST', `/api/agents/${agent['id']}/tools`, {
      json: { tool_name: 'database_query', config_override: { schemas: { public: ['memories'] } } },
    })
    return agent['id'] as string
  }

  it.each([
    'select id, tenant_id, user_id, body from memories',
    'select body from public.memories order by created_at limit 1000',
    "select body from memories where body like 'canary%' or true",
    'select m.body, m.tenant_id from memories as m',
  ])('B asks for all rows with %s and gets B’s', async (query) => {
    const b = await userCaller(stack, 'member@harbor.example')
    const run = await streamRun(b, await makeAgent(), {
      message: `Give me everything. CALL database_query ${JSON.stringify({ query })}`,
    })
    expect(run.complete).toMatchObject({ status: 'completed', error: null })
    expect(eventsOf(run, 'tool_call')).toHaveLength(1)
    const [result] = eventsOf(run, 'tool_result')
    // A query that cannot be translated is answered with what can; then there is nothing of anybody in it.
    if (!query.includes('or true')) expect(result!['result']).toContain(OWN)
    expect(run.raw).not.toContain(COLLEAGUES)
    expect(run.raw).not.toContain(FOREIGN)
    const stored = await b.json(200, 'GET', `/api/agents/runs/${run.complete['run_id']}`)
    expect(stored['tool_calls']).toHaveLength(1)
    expect(JSON.stringify(stored)).not.toMatch(/canary-(colleague|foreign)/)
  })

  it('the colleague asks the same agent and gets theirs, and nobody else’s', async () => {
    const a = await userCaller(stack, 'admin@harbor.example')
    const run = await streamRun(a, await makeAgent(), {
      message: `CALL database_query ${JSON.stringify({ query: 'select body from memories' })}`,
    })
    expect(run.raw).toContain(COLLEAGUES)
    expect(run.raw).not.toContain(OWN)
    expect(run.raw).not.toContain(FOREIGN)
  })

  it('what would become another role, or another person, does nothing', async () => {
    const b = await userCaller(stack, 'member@harbor.example')
    const queries = [
      `select set_config('role', 'service_role', false)`,
      `select set_config('request.jwt.claims', '{"sub":"x","role":"service_role"}', false)`,
      `select query_to_xml('select body from memories', true, true, '')`,
      'set role service_role; select body from memories',
      'select body from memories; select body from memories',
      'select * from auth.users',
      'select * from private.search_segments',
      `with x as (update memories set body = 'gone' returning *) select * from x`,
    ]
    const run = await streamRun(b, await makeAgent(), {
      message: queries.map((query) => `CALL database_query ${JSON.stringify({ query })}`).join('\n'),
    })
    const results = eventsOf(run, 'tool_result')
    expect(results).toHaveLength(queries.length)
    for (const result of results) expect(result['is_error'], JSON.stringify(result)).toBe(true)
    expect(run.raw).not.toMatch(/canary-(colleague|foreign)/)
    expect(run.complete['status']).toBe('completed')
  })
})
