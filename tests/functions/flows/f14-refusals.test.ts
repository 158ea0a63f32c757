import { describe, expect, it } from 'vitest'
import { KEEPALIVE_MS, createSseChannel } from '../../../supabase/functions/_shared/sse.ts'
import { script } from '../../support/scripted-model/index.ts'
import { streamRun } from '../support/agent-run.ts'
import { useModel } from '../../support/scripted-model/use-model.ts'
import { useFunctionsStack } from '../support/functions-stack.ts'
import { ABSENT, caller, fileForm, serviceCaller, userCaller } from '../support/http.ts'
import { CALLERS, FLOW_ENV } from './callers.ts'

const userEnv: Record<string, string> = { ...FLOW_ENV }
const model = useModel(userEnv)
const stack = useFunctionsStack({ userEnv })

describe.each(CALLERS)('F14 refusals, %s', (name, tenantHeaders) => {
  const backend = () => serviceCaller(stack, tenantHeaders)
  const agent = async () => (await backend().json(200, 'GET', '/api/agents'))['agents'][0].id as string

  it('of callers nobody knows', async () => {
    await caller(stack, { apikey: stack.keys.anon }).json(401, 'GET', '/api/agents')
    const anon = caller(stack, { apikey: stack.keys.anon, authorization: `Bearer ${stack.keys.anon}` })
    await anon.json(401, 'GET', '/api/agents')
  })

  it('of requests that make no sense', async () => {
    const id = await agent()
    const run = (json: object) => backend().json(400, 'POST', `/api/agents/${id}/run/stream`, { json })
    expect((await run({ message: '' }))['error']).toBe('message is required')
    expect((await run({ message: 'x', context_override: 'a', context_items: [{ text: 'b' }] }))['error']).toMatch(
      /^Only one of/,
    )
    await backend().json(400, 'POST', `/api/agents/${id}/run`, {
      json: { message: 'x', runtime_knowledge_bases: [{ id: ABSENT }] },
    })
    expect((await run({ message: 'x', runtime_knowledge_bases: [{ id: ABSENT, top: 3 }] }))['error']).toMatch(/top/)
    expect((await run({ message: 'x', runtime_knowledge_bases: [{ id: ABSENT }] }))['error']).toMatch(/not found/)
  })

  it('of a source whose text is not there yet', async () => {
    // Nobody extracts here.
    const body = fileForm('waiting.md', `# Waiting ${name}`)
    const source = await backend().json(201, 'POST', '/api/sources/upload', { body })
    const base = await backend().json(201, 'POST', '/api/knowledge-bases', { json: { name: 'Waits' } })
    const refusal = await backend().json(400, 'POST', `/api/knowledge-bases/${base['id']}/sources`, {
      json: { source_id: source['id'] },
    })
    expect(refusal['error']).toBe('Source must be extracted first (status: pending)')
  })

  it('to stay silent for longer than thirty seconds', async () => {
    expect(KEEPALIVE_MS).toBeLessThanOrEqual(30_000)
    const channel = createSseChannel({ keepaliveMs: 20 })
    const { value } = await channel.stream.getReader().read()
    expect(new TextDecoder().decode(value)).toBe(': keepalive\n\n')
    channel.close()
  })

  it('of what is not there, or another’s', async () => {
    const id = await agent()
    const runs = (path: string, json: object) => backend().json(404, 'POST', path, { json })
    await runs(`/api/agents/${ABSENT}/run/stream`, { message: 'x' })
    await runs(`/api/agents/${id}/run/stream`, { message: 'x', context_handler_id: ABSENT })
    const foreigner = await userCaller(stack, 'member@meridian.example')
    await foreigner.json(404, 'POST', `/api/agents/${id}/run/stream`, { json: { message: 'x' } })
    model.play(script([{ text: 'Hello.' }]))
    const own = await streamRun(backend(), id, { message: 'x' })
    await foreigner.json(404, 'GET', `/api/agents/runs/${own.complete['run_id']}`)
    const person = await userCaller(stack, 'member@harbor.example')
    await person.json(404, 'GET', `/api/agents/runs/${own.complete['run_id']}`)
    await person.json(404, 'POST', `/api/agents/${id}/run/stream`, {
      json: { message: 'x', session_id: own.complete['session_id'] },
    })
  })

  it('of a model that goes in circles', async () => {
    const { id } = await backend().json(201, 'POST', '/api/agents', { json: { name: 'Dizzy' } })
    await backend().json(201, 'POST', `/api/agents/${id}/tools`, {
      json: { tool_name: 'database_query', config_override: { schemas: { public: ['memories'] } } },
    })
    const again = { toolCalls: [{ name: 'database_query', arguments: '{"query":"select body from memories"}' }] }
    model.play(script([again, again, again, again]))
    const run = await streamRun(backend(), id, { message: 'Go.' })
    expect(run.complete).toMatchObject({
      status: 'failed',
      error: 'Doom loop detected: 3 identical tool calls in a row',
    })
    expect(run.order.filter((kind) => kind === 'tool_call')).toHaveLength(3)
    expect(run.order.filter((kind) => kind === 'tool_result')).toHaveLength(3)
  })
})
