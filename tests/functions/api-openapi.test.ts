import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ERROR_STATUS } from '../../supabase/functions/_shared/errors.ts'
import type { ErrorCode } from '../../supabase/functions/_shared/errors.ts'
import { createApp } from '../../supabase/functions/api/app.ts'
import type { ApiDeps } from '../../supabase/functions/api/env.ts'
import { openApiDocument } from '../../supabase/functions/api/openapi.ts'
import { ROUTES } from '../../supabase/functions/api/openapi-routes.ts'
import type { Json } from './support/http.ts'

const COPY = new URL('../../docs/openapi.json', import.meta.url)

/** Nothing here is called before a route is, and only the two public ones are. */
const app = createApp({ corsOrigins: [] } as unknown as ApiDeps)
const document: Json = openApiDocument()
const operations = Object.entries(document['paths'] as Record<string, Record<string, Json>>).flatMap(
  ([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ name: `${method.toUpperCase()} ${path}`, operation })),
)

describe('the OpenAPI document', () => {
  it('holds exactly the routes that are mounted', () => {
    const mounted = new Set(
      app.routes
        .filter(({ method }) => method !== 'ALL')
        .map(({ method, path }) => `${method} ${path.replace(/:([a-z_]+)/g, '{$1}').replace(/(.)\/$/, '$1')}`),
    )
    expect(mounted.size).toBeGreaterThan(60)
    expect(operations.map(({ name }) => name).toSorted()).toEqual([...mounted].toSorted())
  })

  it('is served without a token', async () => {
    const response = await app.request('/api/openapi.json')
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual(document)
  })

  it('is the one in docs/openapi.json (else: node scripts/generate-openapi.ts)', () => {
    expect(JSON.parse(readFileSync(COPY, 'utf8'))).toEqual(document)
  })

  it('refers to nothing that is not there', () => {
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(
      ([, reference]) => reference ?? '',
    )
    expect(references.length).toBeGreaterThan(100)
    const missing = references.filter((reference) => {
      const [root, components = '', kind = '', name = ''] = reference.split('/')
      return root !== '#' || document[components]?.[kind]?.[name] === undefined
    })
    expect(missing).toEqual([])
  })

  it('names every operation once, and only statuses that its codes have', () => {
    const ids = operations.map(({ operation }) => operation['operationId'])
    expect(new Set(ids).size).toBe(ids.length)
    for (const { name, operation } of operations) {
      for (const [status, { description }] of Object.entries(operation['responses'] as Record<string, Json>)) {
        for (const code of Object.keys(ERROR_STATUS)) {
          if (status === 'default' || !description.split(', ').includes(code)) continue
          const promised = ROUTES.find(({ method, path }) => `${method.toUpperCase()} /api${path}` === name)?.statuses
          const expected = promised?.[code as ErrorCode] ?? ERROR_STATUS[code as ErrorCode]
          expect(String(expected), `${name} ${code}`).toBe(status)
        }
      }
    }
  })

  it('asks for what requests are refused without', () => {
    const schemaOf = (path: string, method: string) =>
      document['paths'][path][method].requestBody.content['application/json'].schema
    expect(schemaOf('/api/tools', 'post').required).toEqual(['name', 'description', 'type', 'input_schema'])
    expect(schemaOf('/api/agents/{id}/tools', 'post').required).toEqual(['tool_name'])
    expect(schemaOf('/api/agents/runs/{run_id}/approve', 'post').required).toEqual(['approved'])
    expect(schemaOf('/api/agents/{id}/hooks', 'post').properties.event.enum).toContain('PreToolUse')
  })
})
