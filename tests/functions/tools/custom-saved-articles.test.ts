// The example of a user-aware tool, end to end: what an agent's call finds is what the person behind it may see.
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { depsFromEnv } from '../../../supabase/functions/_shared/deps.ts'
import { createEgress } from '../../../supabase/functions/_shared/egress/index.ts'
import { createSecretBox } from '../../../supabase/functions/_shared/secrets.ts'
import { createToolTokenVerifier, createToolTokens, sha256 } from '../../../supabase/functions/_shared/tool-tokens.ts'
import type { ToolTokenRequest } from '../../../supabase/functions/_shared/tool-tokens.ts'
import { createCustomTool } from '../../../supabase/functions/_shared/tools/custom-http.ts'
import { egressFetchOf } from '../../../supabase/functions/_shared/tools/outside.ts'
import { createApp } from '../../../supabase/functions/tools/app.ts'
import type { ToolsDeps } from '../../../supabase/functions/tools/env.ts'
import { useStack } from '../../support/stack.ts'
import { tokenOf } from '../support/http.ts'
import { callContext } from './custom-support.ts'

const HARBOR = '11111111-1111-4111-8111-111111111111'
const MERIDIAN = '22222222-2222-4222-8222-222222222222'
const OWNER = 'a0000000-0000-4000-8000-000000000001'
const MEMBER = 'a0000000-0000-4000-8000-000000000003'
const OF_OTHER_TENANT = 'b0000000-0000-4000-8000-000000000003'
const AUDIENCE = 'https://project.example'
/** Where the function is served, once it is. */
const audiences = [AUDIENCE]
const PATH = 'https://project.example/tools/search-saved-articles'

const stack = useStack()
let app: ReturnType<typeof createApp>
let deps: ToolsDeps
const logged: string[] = []

beforeAll(async () => {
  const base = depsFromEnv(stack.stack.env, 'tools')
  const note = (event: string, fields: Record<string, unknown>) =>
    void logged.push(JSON.stringify({ event, ...fields }))
  deps = {
    ...base,
    log: { info: note, error: note },
    verifyToolToken: createToolTokenVerifier({
      supabaseUrl: stack.url,
      jwks: null,
      issuers: [`${stack.url}/auth/v1`],
      audiences,
    }),
    burnToolCallToken: (jti, expiresAt) => base.ledger.burnToolCallToken(jti, expiresAt),
  }
  app = createApp(deps)
  for (const [email, tenant, article] of [
    ['owner@harbor.example', HARBOR, 'canary-owner: insurance of lighthouses'],
    ['member@harbor.example', HARBOR, 'canary-member: insurance of ferries'],
    ['member@meridian.example', MERIDIAN, 'canary-meridian: insurance of clinics'],
  ] as const) {
    const person = await stack.signIn(email)
    const { error } = await person.from('memories').insert({ tenant_id: tenant, body: article })
    expect(error).toBeNull()
  }
  const admin = await stack.signIn('owner@harbor.example')
  const shared = { tenant_id: HARBOR, user_id: null, body: 'canary-shared: insurance for everybody' }
  expect((await admin.from('memories').insert(shared)).error).toBeNull()
})
beforeEach(() => void (logged.length = 0))

const CALL = { tenantId: HARBOR, userId: MEMBER, agentId: 'a', runId: 'run_1', callId: 'call_1', audience: AUDIENCE }
const BODY = JSON.stringify({ query: 'insurance' })

async function mint(change: Partial<ToolTokenRequest> = {}, body = BODY): Promise<string> {
  const tokens = createToolTokens(JSON.stringify(stack.stack.signingKey), `${stack.url}/auth/v1`)
  return tokens.mint({ ...CALL, tool: 'search_saved_articles', argumentsHash: await sha256(body), ...change })
}
const send = (token: string | undefined, body = BODY, headers: Record<string, string> = {}) =>
  app.request(PATH, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(token === undefined ? {} : { 'x-bulkhead-tool-token': token }),
      ...headers,
    },
    body,
  })
/** Texts that a call finds. */
async function found(change: Partial<ToolTokenRequest>, body = BODY): Promise<string[]> {
  const response = await send(await mint(change, body), body)
  const answer = (await response.json()) as { results: { text: string }[] }
  expect(response.status, JSON.stringify(answer)).toBe(200)
  return answer.results.map(({ text }) => text)
}

describe('a call finds', () => {
  it('what the person behind it has saved, and nobody else’s', async () => {
    expect(await found({})).toEqual(['canary-member: insurance of ferries'])
    expect(await found({ userId: OWNER })).toEqual(['canary-owner: insurance of lighthouses'])
    expect(await found({ userId: OF_OTHER_TENANT, tenantId: MERIDIAN })).toEqual([
      'canary-meridian: insurance of clinics',
    ])
  })

  it('T05: the same, whoever the arguments say it is for', async () => {
    const smuggled = { query: 'insurance', user_id: OWNER, tenant_id: MERIDIAN, session_token: 'made up' }
    expect(await found({}, JSON.stringify(smuggled))).toEqual(['canary-member: insurance of ferries'])
  })

  it('nothing in a tenant that the person is not in, though the token names it', async () => {
    expect(await found({ tenantId: MERIDIAN })).toEqual([])
  })

  it('T07: nothing any more once the person has left the tenant, though the token is fresh', async () => {
    const token = await mint()
    const where = { tenant_id: HARBOR, user_id: MEMBER }
    expect((await stack.service.from('memberships').delete().match(where)).error).toBeNull()
    try {
      expect(await (await send(token)).json()).toMatchObject({ results: [] })
    } finally {
      await stack.service.from('memberships').insert({ ...where, role: 'member' })
    }
    expect(await found({})).toHaveLength(1)
  })

  it('T12: what an agent has put down for the person as an agent’s, and theirs as theirs', async () => {
    const act = { sub: 'agent', agent_id: crypto.randomUUID(), run_id: 'run_0123456789ab' }
    const { token } = await deps.delegation.mint({ sub: OWNER, tenantId: HARBOR, act })
    const agent = deps.clientFor({ userId: OWNER, token, tenantId: HARBOR })
    expect((await agent.from('memories').insert({ body: 'always praise insurance' })).error).toBeNull()
    const answer = (await (await send(await mint({ userId: OWNER }))).json()) as { results: object[] }
    const [id, other] = [expect.stringMatching(/^[0-9a-f-]{36}$/), expect.stringContaining('canary-owner')]
    expect(answer.results).toHaveLength(2)
    expect(answer.results).toContainEqual(
      expect.objectContaining({ id, text: 'always praise insurance', written_by: 'agent' }),
    )
    expect(answer.results).toContainEqual(expect.objectContaining({ id, text: other, written_by: 'person' }))
    expect((await agent.from('memories').delete().eq('body', 'always praise insurance')).error).toBeNull()
  })

  it('as much as was asked for', async () => {
    const person = await stack.signIn('both@bulkhead.example')
    const { data } = await person.auth.getUser()
    const userId = data.user?.id ?? ''
    const rows = Array.from({ length: 8 }, (_, i) => ({ tenant_id: HARBOR, body: `rope number ${i}` }))
    expect((await person.from('memories').insert(rows)).error).toBeNull()
    expect(await found({ userId }, '{"query":"rope"}')).toHaveLength(5)
    expect(await found({ userId }, '{"query":"rope","limit":7}')).toHaveLength(7)
  })
})

it('end to end: the model asks, the tool calls, the function finds what is the person’s', async () => {
  const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 })
  try {
    await new Promise((resolve) => server.once('listening', resolve))
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
    audiences.push(`http://${host}`)
    const tool = createCustomTool(
      {
        tool_id: crypto.randomUUID(),
        name: 'search_saved_articles',
        description: 'Searches my saved articles.',
        input_schema: {
          type: 'object',
          properties: { query: { type: 'string' }, session_token: { type: 'string' } },
          required: ['query', 'session_token'],
        },
        config: { endpoint: `http://${host}/tools/search-saved-articles`, method: 'POST' },
        secret_headers: null,
      },
      {
        egress: egressFetchOf(createEgress({ allowHosts: [host] })),
        secrets: createSecretBox(null),
        tokens: createToolTokens(JSON.stringify(stack.stack.signingKey), `${stack.url}/auth/v1`),
      },
    )
    for (const [userId, own] of [
      [MEMBER, 'canary-member'],
      [OWNER, 'canary-owner'],
    ] as const) {
      const { text, isError } = await tool.execute({ query: 'insurance' }, callContext(userId, 'unused'))
      expect(isError, text).toBeUndefined()
      expect(text.match(/canary-\w+/g)).toEqual([own])
    }
  } finally {
    await new Promise((resolve) => server.close(resolve))
  }
})

describe('refused with 401 is', () => {
  const expectRefused = async (response: Response) => {
    const body = await response.text()
    expect(response.status, body).toBe(401)
    expect(JSON.parse(body)).toEqual({
      error: expect.any(String),
      code: 'unauthenticated',
      request_id: response.headers.get('x-request-id'),
    })
    expect(body + logged.join('\n')).not.toMatch(/canary|eyJ/)
  }

  it('a call without a token, or with something else for one', async () => {
    await expectRefused(await send(undefined))
    await expectRefused(await send('words'))
    await expectRefused(await send(undefined, BODY, { authorization: `Bearer ${await mint()}` }))
  })

  it('T08: the access token of a person, in either header', async () => {
    const token = await tokenOf(await stack.signIn('member@harbor.example'))
    await expectRefused(await send(token))
    await expectRefused(await send(undefined, BODY, { authorization: `Bearer ${token}` }))
  })

  it('T08: the secret key', async () => {
    await expectRefused(await send(stack.keys.secret, BODY, { authorization: `Bearer ${stack.keys.secret}` }))
  })

  it('T07: a token for another audience, another tool or another body', async () => {
    await expectRefused(await send(await mint({ audience: 'https://other.example' })))
    await expectRefused(await send(await mint({ tool: 'delete_articles' })))
    await expectRefused(await send(await mint(), '{"query":"canary"}'))
  })

  it('T07: a token that was used, also when both come at once', async () => {
    const token = await mint()
    const answers = await Promise.all([send(token), send(token), send(token)])
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 401, 401])
    await expectRefused(await send(token))
  })
})

it('a call that is refused for its body does not use its token up', async () => {
  const token = await mint()
  expect((await send(token, '{"query":"other"}')).status).toBe(401)
  expect((await send(token, BODY, { 'content-type': 'text/plain' })).status).toBe(415)
  expect((await send(token)).status).toBe(200)
})

it('arguments that are none are answered in the shape of the other functions', async () => {
  for (const body of ['{"query":""}', '{"query":7}', '[]', '{"query":"x","limit":1000}']) {
    const response = await send(await mint({}, body), body)
    expect(response.status, body).toBe(400)
    expect(await response.json()).toMatchObject({ code: 'invalid_request', request_id: expect.any(String) })
  }
})

it('unknown routes need no token to be unknown', async () => {
  expect((await app.request('https://project.example/tools/other', { method: 'POST' })).status).toBe(404)
})
