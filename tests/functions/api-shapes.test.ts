import { beforeAll, describe, expect, it } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { useStack } from '../support/stack.ts'
import { startApi } from './support/api-app.ts'
import { fileForm, userCaller } from './support/http.ts'
import type { FunctionsCaller, Json } from './support/http.ts'

/** `json` compares each answer with the OpenAPI document; here those that no other test of the app asks for. */
const stack = useStack({ worker: true })
let member: FunctionsCaller
beforeAll(async () => {
  member = startApi(stack).as(await userCaller(stack, 'member@harbor.example'))
})

describe('answers are as the OpenAPI document says', () => {
  it('about agents, runs and sessions', async () => {
    const agent = await member.json(201, 'POST', '/api/agents', { json: { name: 'Clerk' } })
    await member.json(200, 'PATCH', `/api/agents/${agent['id']}`, { json: { settings: { max_steps: 3 } } })
    await member.json(200, 'GET', `/api/agents/${agent['id']}`)
    const made = await member.json(200, 'POST', `/api/agents/${agent['id']}/run`, { json: { message: 'Hello' } })
    await member.json(200, 'GET', `/api/agents/runs/${made['run_id']}`)
    const session = `/api/sessions/${made['session_id']}`
    await member.json(200, 'GET', session)
    await member.json(200, 'GET', `${session}/messages`)
    await member.json(200, 'GET', `${session}/runs`)
    await member.json(200, 'GET', `${session}/runs/${made['run_id']}/retrieved-context`)
    expect(await member.json(200, 'GET', '/api/agents')).toMatchObject({ total: expect.any(Number) })
    await member.json(200, 'DELETE', session)
    await member.json(200, 'DELETE', `/api/agents/${agent['id']}`)
  })

  it('about sources and knowledge bases', async () => {
    const { id } = await member.json(201, 'POST', '/api/sources/upload', {
      body: fileForm('tides.md', '# Tides\n\nHigh tide is at noon.\n'),
    })
    await eventually(async () => {
      expect((await member.json(200, 'GET', `/api/sources/${id}`))['extraction_status']).toBe('extracted')
    }, 20_000)
    await member.json(200, 'PATCH', `/api/sources/${id}`, { json: { metadata: { area: 'b' } } })
    await member.json(200, 'GET', `/api/sources/${id}/page-texts`)
    await member.json(200, 'GET', `/api/sources/${id}/page-texts?page=1`)
    await member.json(200, 'GET', '/api/sources?sort=name&order=asc&status=extracted')
    const base = await member.json(201, 'POST', '/api/knowledge-bases', { json: { name: 'Port' } })
    const path = `/api/knowledge-bases/${base['id']}`
    const added = await member.json(201, 'POST', `${path}/sources`, { json: { source_id: id } })
    await eventually(async () => {
      const { indexed_sources } = await member.json(200, 'GET', path)
      expect(indexed_sources.map((entry: Json) => entry['index_status'])).toEqual(['indexed'])
    }, 20_000)
    await member.json(200, 'GET', `${path}/sources`)
    const found = await member.json(200, 'POST', `${path}/search`, { json: { query: 'When is high tide?', top_k: 5 } })
    expect(found['results'][0]).toMatchObject({ source_id: id, score: expect.any(Number), text: expect.any(String) })
    await member.json(200, 'PATCH', path, { json: { description: 'Tides' } })
    await member.json(200, 'GET', '/api/knowledge-bases')
    await member.json(200, 'DELETE', `${path}/sources/${added['id']}`)
    await member.json(200, 'DELETE', path)
    await member.json(200, 'DELETE', `/api/sources/${id}`)
  })
})
