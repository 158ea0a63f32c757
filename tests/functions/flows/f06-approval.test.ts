import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { script } from '../../support/scripted-model/index.ts'
import { eventsOf, streamRun } from '../support/agent-run.ts'
import { useModel } from '../../support/scripted-model/use-model.ts'
import { useFunctionsStack } from '../support/functions-stack.ts'
import { HARBOR, serviceCaller, userCaller } from '../support/http.ts'
import type { FunctionsCaller } from '../support/http.ts'
import { CALLERS, FLOW_ENV } from './callers.ts'

const userEnv: Record<string, string> = { ...FLOW_ENV }
const model = useModel(userEnv)
const stack = useFunctionsStack({ userEnv })

const QUERY = { query: 'select body from memories' }

async function gatedAgent(backend: FunctionsCaller): Promise<string> {
  const { id } = await backend.json(201, 'POST', '/api/agents', { json: { name: 'Careful' } })
  await backend.json(201, 'POST', `/api/agents/${id}/tools`, {
    json: { tool_name: 'database_query', config_override: { schemas: { public: ['memories'] } } },
  })
  const hook = await backend.json(201, 'POST', `/api/agents/${id}/hooks`, {
    json: { event: 'PreToolUse', type: 'approval', matcher: 'database_query', config: { message: 'May it look?' } },
  })
  expect(hook['id']).toEqual(expect.any(String))
  return id as string
}

describe.each(CALLERS)('F6 approval, %s', (_name, tenantHeaders) => {
  it.each([true, false])('waits, and goes on when it is answered with %s', async (approved) => {
    const backend = serviceCaller(stack, tenantHeaders)
    const agentId = await gatedAgent(backend)
    model.play(
      script([{ toolCalls: [{ name: 'database_query', arguments: QUERY }] }, { text: 'That is all I can say.' }]),
    )
    const run = await streamRun(backend, agentId, { message: 'Look it up.' }, async (event) => {
      if (event['event'] !== 'approval_requested') return
      expect(event).toMatchObject({ tool_name: 'database_query', tool_input: QUERY, message: 'May it look?' })
      const answer = await backend.json(200, 'POST', `/api/agents/runs/${event['run_id']}/approve`, {
        json: { approved, reason: 'because' },
      })
      expect(answer['status']).toBe('resumed')
    })
    expect(run.order.indexOf('tool_call')).toBeLessThan(run.order.indexOf('approval_requested'))
    const [result] = eventsOf(run, 'tool_result')
    if (approved) expect(result!['result']).not.toMatch(/Denied/)
    else {
      const { hooks } = await backend.json(200, 'GET', `/api/agents/${agentId}/hooks`)
      expect(result).toMatchObject({
        is_error: true,
        result: `Blocked by the PreToolUse hook ${hooks[0].id}: Denied by user: because`,
      })
    }
    expect(run.complete).toMatchObject({ status: 'completed', content: 'That is all I can say.' })
  })
})

describe.each(CALLERS)('F6 a hook, %s', (_name, tenantHeaders) => {
  it('of type http is answered with its id, event and type', async () => {
    const backend = serviceCaller(stack, tenantHeaders)
    const { id } = await backend.json(201, 'POST', '/api/agents', { json: { name: 'Watched' } })
    const hook = await backend.json(201, 'POST', `/api/agents/${id}/hooks`, {
      json: { event: 'PostToolUse', type: 'http', config: { url: 'https://hooks.example/after' } },
    })
    expect(hook).toMatchObject({ id: expect.any(String), agent_id: id, event: 'PostToolUse', type: 'http' })
    const { hooks } = await backend.json(200, 'GET', `/api/agents/${id}/hooks`)
    expect(hooks).toEqual([hook])
    expect(await backend.json(200, 'DELETE', `/api/agents/${id}/hooks/${hook['id']}`)).toEqual({ deleted: true })
  })
})

describe('whose approval it is', () => {
  it('the person’s own or an admin’s; for everybody else there is nothing to approve', async () => {
    const agentId = await gatedAgent(serviceCaller(stack, { 'x-tenant-id': HARBOR }))
    const person = await userCaller(stack, 'member@harbor.example')
    const others = await Promise.all(
      ['viewer@harbor.example', 'member@meridian.example', 'owner@meridian.example', 'outsider@bulkhead.example'].map(
        (email) => userCaller(stack, email),
      ),
    )
    const admin = await userCaller(stack, 'admin@harbor.example')
    model.play(script([{ toolCalls: [{ name: 'database_query', arguments: QUERY }] }, { text: 'Done.' }]))
    const run = await streamRun(person, agentId, { message: 'Look it up.' }, async (event) => {
      if (event['event'] !== 'approval_requested') return
      const path = `/api/agents/runs/${event['run_id']}/approve`
      for (const other of others) await other.json(404, 'POST', path, { json: { approved: true } })
      await person.json(404, 'POST', `/api/agents/runs/run_${randomUUID().replaceAll('-', '').slice(0, 12)}/approve`, {
        json: { approved: true },
      })
      await person.json(400, 'POST', path, { json: { approved: 'yes' } })
      await admin.json(200, 'POST', path, { json: { approved: true } })
      // Single use: it has been decided.
      await admin.json(404, 'POST', path, { json: { approved: false } })
    })
    expect(eventsOf(run, 'tool_result')[0]!['result']).not.toMatch(/Denied/)
    expect(run.complete['status']).toBe('completed')
  })
})
