import { beforeAll, describe, expect, it } from 'vitest'
import { useFunctionsStack } from '../support/functions-stack.ts'
import { serviceCaller, uploadAndIndex } from '../support/http.ts'
import { CALLERS, FLOW_ENV } from './callers.ts'

const stack = useFunctionsStack({ worker: true, userEnv: FLOW_ENV })
let sourceId = ''

beforeAll(async () => {
  const text = '# Demurrage\n\nDemurrage is charged after five days at forty euro per day.\n'
  sourceId = (await uploadAndIndex(serviceCaller(stack), 'demurrage.md', text))['id']
})

describe.each(CALLERS)('F3 knowledge base, %s', (_name, tenantHeaders) => {
  it('creates one, adds a source, waits until it is indexed, and searches', async () => {
    const baseUrl = `${stack.url}/functions/v1/api`
    const H = {
      apikey: stack.keys.secret,
      Authorization: `Bearer ${stack.keys.secret}`,
      'Content-Type': 'application/json',
      ...tenantHeaders,
    }
    const post = (path: string, body: object) =>
      fetch(`${baseUrl}${path}`, { method: 'POST', headers: H, body: JSON.stringify(body) })
    const created = await post('/knowledge-bases', { name: 'Tariffs', description: 'What it costs' })
    expect(created.status).toBe(201)
    const kb = (await created.json()).id

    const added = await post(`/knowledge-bases/${kb}/sources`, { source_id: sourceId })
    expect(added.status).toBe(201)
    expect(await added.json()).toMatchObject({
      id: expect.any(String),
      knowledge_base_id: kb,
      source_id: sourceId,
      source_name: 'demurrage.md',
      index_status: 'pending',
      task_id: expect.any(String),
    })

    let status = ''
    for (let tries = 0; tries < 100 && status !== 'indexed'; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 100))
      const { items } = await (await fetch(`${baseUrl}/knowledge-bases/${kb}/sources`, { headers: H })).json()
      status = items[0].index_status
    }
    expect(status).toBe('indexed')
    const shown = await (await fetch(`${baseUrl}/knowledge-bases/${kb}`, { headers: H })).json()
    for (const indexed of shown.indexed_sources) {
      expect(indexed).toMatchObject({ source_id: sourceId, index_status: 'indexed' })
    }
    expect(shown.source_counts).toMatchObject({ indexed: 1, total: 1 })
    expect(shown.chunk_count).toBe(1)

    const found = await post(`/knowledge-bases/${kb}/search`, { query: 'When is demurrage charged?', top_k: 5 })
    expect(found.status).toBe(200)
    const { results, query, retrieval_method, total_results } = await found.json()
    expect(typeof results[0].score).toBe('number')
    expect(results[0].text).toContain('forty euro')
    expect(results[0]).toMatchObject({ chunk_id: expect.any(String), source_id: sourceId, meta: { pages: [1] } })
    expect({ query, retrieval_method, total_results }).toEqual({
      query: 'When is demurrage charged?',
      retrieval_method: 'auto',
      total_results: results.length,
    })
  })
})
