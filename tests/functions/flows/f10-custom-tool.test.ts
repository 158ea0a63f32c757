import { describe, expect, it } from 'vitest'
import { verifyToolCall } from '../../../client/verify-tool-call.ts'
import { script } from '../../support/scripted-model/index.ts'
import type { ScriptedModel } from '../../support/scripted-model/index.ts'
import { eventsOf, streamRun } from '../support/agent-run.ts'
import { useModelAndEndpoint } from '../support/model-and-endpoint.ts'
import type { Endpoint } from '../support/endpoint.ts'
import { useFunctionsStack } from '../support/functions-stack.ts'
import { HARBOR, serviceCaller, userCaller } from '../support/http.ts'
import { CALLERS, FLOW_ENV } from './callers.ts'

const userEnv: Record<string, string> = { ...FLOW_ENV }
let model: ScriptedModel
let endpoint: Endpoint
useModelAndEndpoint(userEnv, (both) => void ({ model, endpoint } = both))
const stack = useFunctionsStack({ userEnv })

const SECRET = 'secret-of-the-endpoint'

describe.each(CALLERS)('F10 custom tool, %s', (_name, tenantHeaders) => {
  async function agentWithTool() {
    const backend = serviceCaller(stack, tenantHeaders)
    const tool = await backend.json(201, 'POST', '/api/tools', {
      json: {
        name: 'search_user_articles',
        description: 'Searches the articles that the user has saved.',
        type: 'http',
        input_schema: {
          type: 'object',
          properties: { query: { type: 'string' }, session_token: { type: 'string' } },
          required: ['query', 'session_token'],
        },
        config: { endpoint: `${endpoint.url}/articles`, method: 'POST', headers: { 'x-api-key': SECRET } },
      },
    })
    const agent = await backend.json(201, 'POST', '/api/agents', { json: { name: 'Reader' } })
    await backend.json(201, 'POST', `/api/agents/${agent['id']}/tools`, {
      json: { tool_type: 'custom', tool_name: 'search_user_articles', tool_id: tool['id'] },
    })
    return { backend, agentId: agent['id'] as string, toolId: tool['id'] as string }
  }
  const callIt = () =>
    model.play(
      script([
        { toolCalls: [{ name: 'search_user_articles', arguments: { query: 'quays' } }] },
        { text: 'That is what there is.' },
      ]),
    )

  it('gets the arguments, a session token the model never saw, and who asks, signed for this call', async () => {
    const { agentId, toolId, backend } = await agentWithTool()
    const person = await userCaller(stack, 'member@harbor.example')
    const jwks = await (await fetch(`${stack.url}/auth/v1/.well-known/jwks.json`)).json()
    let verified: Awaited<ReturnType<typeof verifyToolCall>> | undefined
    endpoint.received.length = 0
    endpoint.answerWith(async ({ headers, text }) => {
      verified = await verifyToolCall(
        new Request(`${endpoint.url}/articles`, {
          method: 'POST',
          headers: headers as Record<string, string>,
          body: text,
        }),
        { jwks, issuer: `${stack.url}/auth/v1`, audience: endpoint.url },
      )
      return { json: { results: ['The quay of Antwerp'], echo: JSON.parse(text).session_token } }
    })
    callIt()
    const run = await streamRun(person, agentId, { message: 'What did I save?' })
    const [request] = endpoint.received
    const sent = JSON.parse(request!.text)
    expect(sent).toMatchObject({ query: 'quays', session_token: expect.stringMatching(/^ey/) })
    expect(request!.headers['x-api-key']).toBe(SECRET)
    expect(verified).toMatchObject({
      tenantId: HARBOR,
      agentId,
      runId: run.complete['run_id'],
      tool: 'search_user_articles',
    })
    expect(verified!.userId).toMatch(/^a0000000-/)
    expect(eventsOf(run, 'tool_result')[0]!['result']).toContain('The quay of Antwerp')

    // Credentials are nowhere but in that request.
    const seenByModel = JSON.stringify(model.requests.map(({ body }) => body))
    const stored = JSON.stringify(await person.json(200, 'GET', `/api/agents/runs/${run.complete['run_id']}`))
    const shown = JSON.stringify(await backend.json(200, 'GET', `/api/tools/${toolId}`))
    for (const credential of [sent.session_token, request!.headers['x-bulkhead-tool-token'] as string, SECRET]) {
      for (const place of [run.raw, seenByModel, stored, shown]) expect(place).not.toContain(credential)
    }
    expect(JSON.stringify(model.chats().at(-1)!.body['tools'])).not.toContain('session_token')
  })

  it('that answers 401 is an error for the model, and the run goes on', async () => {
    const { agentId, backend } = await agentWithTool()
    endpoint.answerWith(() => ({ status: 401, json: { error: 'Who are you?' } }))
    callIt()
    const run = await streamRun(backend, agentId, { message: 'What is saved?' })
    expect(eventsOf(run, 'tool_result')[0]!['result']).toMatch(/401.*Who are you/)
    expect(run.complete).toMatchObject({ status: 'completed', content: 'That is what there is.' })
  })

  it('is not called with arguments that do not fit', async () => {
    const { agentId, backend } = await agentWithTool()
    endpoint.received.length = 0
    model.play(
      script([
        { toolCalls: [{ name: 'search_user_articles', arguments: { query: 7 } }] },
        { toolCalls: [{ name: 'search_user_articles', arguments: { query: 'x', session_token: 'mine' } }] },
        { text: 'I gave up.' },
      ]),
    )
    const run = await streamRun(backend, agentId, { message: 'Try.' })
    expect(endpoint.received).toEqual([])
    expect(eventsOf(run, 'tool_result').map(({ result }) => result)).toEqual([
      expect.stringMatching(/query/),
      expect.stringMatching(/session_token/),
    ])
    expect(run.complete['status']).toBe('completed')
  })
})
