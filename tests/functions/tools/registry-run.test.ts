import { afterAll, beforeAll, expect, it } from 'vitest'
import { script, startScriptedModel } from '../../support/scripted-model/index.ts'
import type { ScriptedModel } from '../../support/scripted-model/index.ts'
import { eventsOf, streamRun } from '../support/agent-run.ts'
import { startEndpoint } from '../support/endpoint.ts'
import type { Endpoint } from '../support/endpoint.ts'
import { useFunctionsStack } from '../support/functions-stack.ts'
import { userCaller } from '../support/http.ts'
import type { Json } from '../support/http.ts'

const userEnv: Record<string, string> = {}
let model: ScriptedModel
let endpoint: Endpoint
beforeAll(async () => {
  model = await startScriptedModel()
  endpoint = await startEndpoint()
  endpoint.answerWith(() => ({ json: { results: [] } }))
  Object.assign(userEnv, model.env, { BULKHEAD_EGRESS_ALLOW_HOSTS: endpoint.host })
})
const stack = useFunctionsStack({ userEnv })
afterAll(async () => {
  await model.stop()
  await endpoint.stop()
})

it('what is not offered is told in `warnings`; a custom tool that was deleted is gone from the next run', async () => {
  const admin = await userCaller(stack, 'admin@harbor.example')
  const schema = { type: 'object', properties: { query: { type: 'string' } } }
  const json = {
    name: 'look_up',
    type: 'http',
    description: 'x',
    input_schema: schema,
    config: { endpoint: endpoint.url },
  }
  const { id: toolId } = await admin.json(201, 'POST', '/api/tools', { json })
  const { id } = await admin.json(201, 'POST', '/api/agents', { json: { name: 'Handy' } })
  const assign = (sent: object) => admin.json(201, 'POST', `/api/agents/${id}/tools`, { json: sent })
  await assign({ tool_type: 'custom', tool_name: 'look_up', tool_id: toolId })
  await assign({ tool_name: 'storage_read', config_override: { bucket: 'reports' } })
  await assign({ tool_name: 'web_search' })
  const member = await userCaller(stack, 'member@harbor.example')
  const offered = async () => {
    model.play(script([{ toolCalls: [{ name: 'look_up', arguments: { query: 'x' } }] }, { text: 'Done.' }]))
    const run = await streamRun(member, id, { message: 'x' })
    const tools: Json[] = model.chats().at(-2)!.body['tools']
    return { run, tools: tools.map((tool) => tool['function']), names: tools.map((tool) => tool['function'].name) }
  }
  const before = await offered()
  expect(before.names).toEqual(['look_up', 'storage_read'])
  expect(Object.keys(before.tools[1].parameters.properties)).toEqual(['operation', 'path'])
  expect(eventsOf(before.run, 'tool_result')).toMatchObject([{ result: '{"results":[]}', is_error: false }])
  expect(before.run.complete['warnings']).toEqual(['The tool "web_search" is not offered: it is not configured here.'])
  expect(endpoint.received).toHaveLength(1)
  expect((await admin.send('DELETE', `/api/tools/${toolId}`)).ok).toBe(true)
  const after = await offered()
  expect(after.names).toEqual(['storage_read'])
  // The model calls it all the same.
  expect(eventsOf(after.run, 'tool_result')).toMatchObject([{ is_error: true }])
  expect(endpoint.received).toHaveLength(1)
})
