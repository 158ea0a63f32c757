import { beforeAll, describe, expect, it } from 'vitest'
import { openApiDocument } from '../../supabase/functions/api/openapi.ts'
import { useFunctionsStack } from './support/functions-stack.ts'
import { userCaller } from './support/http.ts'
import type { FunctionsCaller, Json } from './support/http.ts'

/** The routes that need the world outside, as they are wired for a deployment. */
const stack = useFunctionsStack()
let admin: FunctionsCaller
beforeAll(async () => {
  admin = await userCaller(stack, 'admin@harbor.example')
})

describe('the deployed function api', () => {
  it('serves its document to everybody', async () => {
    const response = await fetch(`${stack.url}/functions/v1/api/openapi.json`)
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual(openApiDocument())
  })

  it('seals headers of tools', async () => {
    const made = await admin.json(201, 'POST', '/api/tools', {
      json: {
        name: 'search_user_articles',
        description: 'Searches saved articles.',
        type: 'http',
        input_schema: { type: 'object', properties: { query: { type: 'string' } } },
        config: { endpoint: 'https://articles.example/search', headers: { authorization: 'canary-1' } },
      },
    })
    expect(made).toMatchObject({ id: expect.any(String), config: { headers: { authorization: '***' } } })
    const [row] = await stack.db.query<Json>('select secret_headers from ai.tools where id = $1', [made['id']])
    expect(row?.['secret_headers']).toMatch(/^v1\./)
  })

  it('asks MCP servers and fetches pages by the egress rules', async () => {
    const agent = await admin.json(201, 'POST', '/api/agents', { json: { name: 'Clerk' } })
    const path = `/api/agents/${agent['id']}/mcp-servers`
    const made = await admin.json(201, 'POST', path, {
      json: { name: 'inner', url: `${stack.url}/mcp`, headers: { authorization: 'canary-2' } },
    })
    expect(made).toMatchObject({ id: expect.any(String), tool_count: null, headers: { authorization: '***' } })
    expect(made['warnings']).toEqual([expect.stringContaining('could not be listed')])
    const live = await admin.send('GET', `${path}/${made['id']}/tools`)
    expect(live.status).toBeGreaterThanOrEqual(400)
    expect(await live.text()).not.toContain('canary')
    const inside = `${stack.url}/functions/v1/api/health`
    for (const json of [
      { mode: 'urls', urls: [inside] },
      { mode: 'crawl', url: inside },
      { mode: 'sitemap', url: inside },
    ]) {
      const refused = await admin.json(400, 'POST', '/api/sources/import-url', { json })
      expect(refused).toMatchObject({ code: 'invalid_request', error: 'This host may not be contacted.' })
    }
  })
})
