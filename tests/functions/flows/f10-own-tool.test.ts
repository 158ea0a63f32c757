import { expect, it } from 'vitest'
import { script } from '../../support/scripted-model/index.ts'
import { eventsOf, streamRun } from '../support/agent-run.ts'
import { useModel } from '../../support/scripted-model/use-model.ts'
import { useFunctionsStack } from '../support/functions-stack.ts'
import { HARBOR, serviceCaller, userCaller } from '../support/http.ts'

const userEnv: Record<string, string> = {}
const model = useModel(userEnv)
const stack = useFunctionsStack({ userEnv })

async function agentCalling(endpoint: string): Promise<string> {
  const backend = serviceCaller(stack, { 'x-tenant-id': HARBOR })
  const tool = await backend.json(201, 'POST', '/api/tools', {
    json: {
      name: 'search_saved_articles',
      description: 'Searches what the user has saved.',
      type: 'http',
      input_schema: { type: 'object', properties: { query: { type: 'string' } }, required: ['query'] },
      config: { endpoint },
    },
  })
  const agent = await backend.json(201, 'POST', '/api/agents', { json: { name: 'Reader' } })
  await backend.json(201, 'POST', `/api/agents/${agent['id']}/tools`, {
    json: { tool_type: 'custom', tool_name: 'search_saved_articles', tool_id: tool['id'] },
  })
  return agent['id'] as string
}

const callIt = () =>
  model.play(
    script([{ toolCalls: [{ name: 'search_saved_articles', arguments: { query: 'quays' } }] }, { text: 'Done.' }]),
  )

it('F10 the example endpoint finds what the asking person has saved, and a colleague’s agent does not', async () => {
  const member = await stack.signIn('member@harbor.example')
  const { data } = await member.auth.getUser()
  const body = 'Article: the quays of Antwerp'
  const { error } = await member.from('memories').insert({ tenant_id: HARBOR, user_id: data.user!.id, body })
  expect(error).toBeNull()
  const agentId = await agentCalling(`${stack.url}/functions/v1/tools/search-saved-articles`)
  callIt()
  const own = await streamRun(await userCaller(stack, 'member@harbor.example'), agentId, { message: 'What is saved?' })
  expect(eventsOf(own, 'tool_result')[0]!['result']).toContain(body)
  callIt()
  const others = await streamRun(await userCaller(stack, 'admin@harbor.example'), agentId, { message: 'And for me?' })
  expect(eventsOf(others, 'tool_result')[0]!['is_error']).toBeFalsy()
  expect(eventsOf(others, 'tool_result')[0]!['result']).not.toContain(body)
})

it('N01 nothing else of the project can be an endpoint', async () => {
  for (const path of ['/rest/v1/memories', '/functions/v1/tools/../api/agents', '/functions/v1/api/agents']) {
    const backend = serviceCaller(stack, { 'x-tenant-id': HARBOR })
    const response = await backend.send('POST', '/api/tools', {
      json: {
        name: 'inside',
        description: 'Reaches in.',
        type: 'http',
        input_schema: { type: 'object', properties: {} },
        config: { endpoint: `${stack.url}${path}` },
      },
    })
    if (response.status !== 201) continue
    const { id } = await response.json()
    const agent = await backend.json(201, 'POST', '/api/agents', { json: { name: 'Reacher' } })
    await backend.json(201, 'POST', `/api/agents/${agent['id']}/tools`, {
      json: { tool_type: 'custom', tool_name: 'inside', tool_id: id },
    })
    model.play(script([{ toolCalls: [{ name: 'inside', arguments: {} }] }, { text: 'Done.' }]))
    const run = await streamRun(backend, agent['id'], { message: 'Go.' })
    expect(eventsOf(run, 'tool_result')[0], path).toMatchObject({ is_error: true })
    await backend.json(200, 'DELETE', `/api/tools/${id}`)
  }
})
