import { Validator } from '@cfworker/json-schema'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { verifyToolCall } from '../../../client/verify-tool-call.ts'
import { createEgress } from '../../../supabase/functions/_shared/egress/index.ts'
import { createSecretBox, secretHost } from '../../../supabase/functions/_shared/secrets.ts'
import { createToolTokens } from '../../../supabase/functions/_shared/tool-tokens.ts'
import { createCustomTool } from '../../../supabase/functions/_shared/tools/custom-http.ts'
import type { CustomToolRow } from '../../../supabase/functions/_shared/tools/custom-http.ts'
import { egressFetchOf } from '../../../supabase/functions/_shared/tools/outside.ts'
import { USER_ID, createTestProject } from '../support/tokens.ts'
import type { TestProject } from '../support/tokens.ts'
import { AGENT, OTHER_TENANT, TENANT, callContext, startEndpoint, text } from './custom-support.ts'
import type { Endpoint, Received } from './custom-support.ts'

const ISSUER = 'https://project.example/auth/v1'
const TOOL_ID = '5a5a5a5a-0000-4000-8000-000000000001'
const CANARY = 'sk-canary/4f7a "quoted"+1'
const SCHEMA = { type: 'object', properties: { query: { type: 'string' } }, required: ['query'] }
const WITH_SESSION_TOKEN = {
  type: 'object',
  properties: { query: { type: 'string' }, session_token: { type: 'string', description: 'from your instructions' } },
  required: ['query', 'session_token'],
}

let project: TestProject
let endpoint: Endpoint
let elsewhere: Endpoint
let userToken = ''
const secrets = createSecretBox('a key of at least thirty-two characters')
beforeAll(async () => {
  project = await createTestProject(ISSUER)
  userToken = await project.sign()
  endpoint = await startEndpoint()
  elsewhere = await startEndpoint()
})
afterAll(() => Promise.all([endpoint.stop(), elsewhere.stop()]))
beforeEach(() => {
  endpoint.requests.length = elsewhere.requests.length = 0
  endpoint.answer(text('ok'))
})

/** Everything that a model, a person or an operator gets to see of the calls of a test. */
const seen: string[] = []
afterEach(() => {
  const all = seen.splice(0).join('\n')
  const sent = endpoint.requests.flatMap(({ headers, body }) => [
    String(headers['x-bulkhead-tool-token'] ?? ''),
    String((body === '' ? {} : JSON.parse(body)).session_token ?? ''),
  ])
  // What a token is worth is its signature.
  const tokens = [userToken, ...sent]
    .flatMap((token) => [token, token.split('.')[2] ?? ''])
    .filter((part) => part !== '')
  for (const credential of [CANARY, JSON.stringify(CANARY).slice(1, -1), 'sk-canary', ...tokens]) {
    expect(all).not.toContain(credential)
  }
})

function toolOf(change: Partial<CustomToolRow> = {}, signingJwk: string | null = JSON.stringify(project.privateJwk)) {
  const row: CustomToolRow = {
    tool_id: TOOL_ID,
    name: 'search_articles',
    description: 'Searches articles.',
    input_schema: SCHEMA,
    secret_headers: null,
    ...change,
    config: { endpoint: `${endpoint.url}/search`, ...change.config },
  }
  const egress = egressFetchOf(createEgress({ allowHosts: [endpoint.host, elsewhere.host] }))
  return createCustomTool(row, { egress, secrets, tokens: createToolTokens(signingJwk, ISSUER) })
}

async function call(
  tool: ReturnType<typeof toolOf>,
  args: Record<string, unknown> = { query: 'x' },
  change: Parameters<typeof callContext>[2] = {},
) {
  const context = callContext(USER_ID, userToken, change)
  const result = await tool.execute(args, context).finally(() => seen.push(...context.logged))
  seen.push(JSON.stringify(result), result.text)
  return result
}

const sealed = (headers: Record<string, string>, host = secretHost(endpoint.url), tenantId = TENANT) =>
  secrets.seal(headers, { tenantId, kind: 'tool', id: TOOL_ID, host })
const options = () => ({ jwks: JSON.parse(project.jwks), issuer: ISSUER, audience: new URL(endpoint.url).origin })
const only = (): Received => {
  expect(endpoint.requests).toHaveLength(1)
  return endpoint.requests[0] as Received
}

describe('a call', () => {
  it('posts the arguments as JSON and gives the model what comes back', async () => {
    endpoint.answer(text('{"results":[]}'))
    const args = { query: 'Grüße 👋', nested: { b: [1.5, null, true], a: '' } }
    expect(await call(toolOf(), args)).toEqual({ text: '{"results":[]}' })
    const { method, path, headers, body } = only()
    expect([method, path, headers['content-type']]).toEqual(['POST', '/search', 'application/json'])
    expect(JSON.parse(body)).toEqual(args)
    expect(headers).not.toHaveProperty('authorization')
  })

  it.each(['GET', 'PUT', 'PATCH', 'DELETE'])(
    'uses the method %s where the tool says so, with the same body',
    async (method) => {
      await call(toolOf({ config: { method } }))
      expect(only()).toMatchObject({ method, body: '{"query":"x"}' })
    },
  )

  it('says for whom it is made, in a token for this very call', async () => {
    await call(toolOf(), { query: 'x' }, { callId: 'call_7', runId: 'run_7' })
    const { headers, body } = only()
    expect(await verifyToolCall({ headers, body }, { ...options(), tool: 'search_articles' })).toEqual({
      userId: USER_ID,
      tenantId: TENANT,
      agentId: AGENT,
      runId: 'run_7',
      callId: 'call_7',
      tool: 'search_articles',
      arguments: { query: 'x' },
    })
    await expect(verifyToolCall({ headers, body }, options())).rejects.toMatchObject({ code: 'token_used' })
  })

  it('names run and call, the same whenever the call is made again; a key that an admin has set stays', async () => {
    for (const callId of ['call_7', 'call_7', 'call_8'])
      await call(toolOf(), { query: 'x' }, { callId, runId: 'run_7' })
    await call(toolOf({ secret_headers: await sealed({ 'Idempotency-Key': 'theirs' }) }))
    expect(endpoint.requests.map(({ headers }) => headers['idempotency-key'])).toEqual([
      ...['run_7:call_7', 'run_7:call_7', 'run_7:call_8'],
      'theirs',
    ])
  })

  it('may be made again if it only reads, or as its config says', () => {
    const asked = [
      {},
      { method: 'GET' },
      { retry_safe: true },
      { method: 'GET', retry_safe: false },
      { retry_safe: 'true' },
    ]
    expect(asked.map((config) => toolOf({ config }).isRetrySafe)).toEqual([false, true, true, false, false])
  })

  it('carries the secret headers', async () => {
    const headers = { 'X-Api-Key': CANARY, authorization: 'Bearer sk-canary' }
    await call(toolOf({ secret_headers: await sealed(headers) }))
    expect(only().headers).toMatchObject({ 'x-api-key': CANARY, authorization: 'Bearer sk-canary' })
  })

  it('carries a token under which the agent acts for the person only where the tool says exactly that', async () => {
    for (const forward_user_jwt of [undefined, false, 'true', 1]) await call(toolOf({ config: { forward_user_jwt } }))
    expect(endpoint.requests.map(({ headers }) => headers.authorization)).toEqual(Array(4).fill(undefined))
    await call(toolOf({ config: { forward_user_jwt: true } }))
    expect(endpoint.requests.at(-1)?.headers.authorization).toBe(`Bearer ${userToken}`)
  })

  it('may run beside others if it only reads, and says what it does to the run', () => {
    expect(toolOf()).toMatchObject({ kind: 'custom', isConcurrencySafe: false })
    expect(toolOf().effects).toEqual(['reads_untrusted', 'writes', 'egress'])
    expect(toolOf({ config: { method: 'GET' } })).toMatchObject({ isConcurrencySafe: true })
    expect(toolOf({ config: { method: 'GET' } }).effects).toEqual(['reads_untrusted', 'egress'])
  })

  it('logs ids and the status, and nothing of what was said', async () => {
    endpoint.answer(text('the canary answer'))
    const context = callContext(USER_ID, userToken)
    await toolOf().execute({ query: 'the canary question' }, context)
    expect(context.logged.map((line) => JSON.parse(line))).toEqual([
      {
        event: 'custom_tool_called',
        tool_id: TOOL_ID,
        call_id: 'call_1',
        duration_ms: expect.any(Number),
        status: 200,
      },
    ])
  })
})

describe('an answer', () => {
  it.each([400, 401, 403, 404, 429, 500, 503])(
    'F10: with status %i is an error that the model reads',
    async (status) => {
      endpoint.answer(text('{"error":"Session expired"}', status))
      expect(await call(toolOf())).toEqual({ text: `HTTP ${status}: {"error":"Session expired"}`, isError: true })
    },
  )

  it('without a body is said to be one', async () => {
    endpoint.answer(text('', 502))
    expect(await call(toolOf())).toEqual({ text: 'The tool answered with HTTP 502.', isError: true })
    endpoint.answer((_request, response) => void response.writeHead(204).end())
    expect(await call(toolOf())).toEqual({ text: '' })
  })

  it('is cut at 10,000 characters, between characters, also as an error', async () => {
    endpoint.answer(text(`${'a'.repeat(9_999)}👋${'b'.repeat(500_000)}`))
    expect((await call(toolOf())).text).toBe('a'.repeat(9_999))
    endpoint.answer(text('世'.repeat(500_000), 500))
    expect((await call(toolOf())).text).toBe(`HTTP 500: ${'世'.repeat(10_000)}`)
  })

  it('is text that can be stored', async () => {
    endpoint.answer((_request, response) => void response.end(Buffer.from([0x61, 0x00, 0xff, 0x62])))
    expect((await call(toolOf())).text).toBe('a\ufffd\ufffdb')
  })

  it('that leads elsewhere is not followed: nobody else gets the credentials', async () => {
    endpoint.answer((_request, response) => void response.writeHead(307, { location: `${elsewhere.url}/steal` }).end())
    const secret_headers = await sealed({ 'x-api-key': CANARY })
    expect(await call(toolOf({ secret_headers }))).toEqual({ text: 'The tool answered with HTTP 307.', isError: true })
    expect(elsewhere.requests).toHaveLength(0)
  })
})

describe('a call that fails', () => {
  it('is an error when nobody is there', async () => {
    const gone = await startEndpoint()
    await gone.stop()
    const result = await call(toolOf({ config: { endpoint: gone.url } }))
    expect(result).toMatchObject({ isError: true })
    expect(result.text).not.toContain(gone.host)
  })

  it('is an error when the guard refuses the address', async () => {
    expect(await call(toolOf({ config: { endpoint: 'http://169.254.169.254/latest/meta-data' } }))).toMatchObject({
      isError: true,
    })
  })

  it('is an error when the endpoint takes longer than the tool may', async () => {
    endpoint.answer(() => new Promise(() => {}))
    expect(await call(toolOf({ config: { timeout_seconds: 0.2 } }))).toMatchObject({ isError: true })
  })

  it('is an error without a signing key, and nothing is sent', async () => {
    const result = await call(toolOf({}, null))
    expect(result).toMatchObject({ isError: true, text: expect.stringContaining('BULKHEAD_SIGNING_JWK') })
    expect(endpoint.requests).toHaveLength(0)
  })

  it('ends as what it was aborted with when the run is cancelled', async () => {
    const cancelled = new AbortController()
    endpoint.answer(() => cancelled.abort(new Error('cancelled')))
    await expect(call(toolOf(), { query: 'x' }, { signal: cancelled.signal })).rejects.toThrow('cancelled')
  })
})

describe('T13: secrets are for the host they were given for', () => {
  it.each<[string, (headers: Record<string, string>) => Promise<string>]>([
    ['a tool that was pointed at another host', (headers) => sealed(headers, 'api.example.com')],
    ['a row with the ciphertext of another tenant', (headers) => sealed(headers, undefined, OTHER_TENANT)],
    [
      'a row with the ciphertext of an MCP server',
      (headers) =>
        secrets.seal(headers, { tenantId: TENANT, kind: 'mcp_server', id: TOOL_ID, host: secretHost(endpoint.url) }),
    ],
  ])('%s sends nothing at all', async (_case, seal) => {
    const result = await call(toolOf({ secret_headers: await seal({ 'x-api-key': CANARY }) }))
    expect(result).toMatchObject({ isError: true, text: expect.stringContaining('Set them again') })
    expect(endpoint.requests).toHaveLength(0)
  })
})

describe('T05: what the model writes is data', () => {
  it('it is shown no session_token, and may write none', async () => {
    const tool = toolOf({ input_schema: WITH_SESSION_TOKEN })
    expect(JSON.stringify(tool.inputSchema)).not.toContain('session_token')
    expect(tool.inputSchema).toMatchObject({ required: ['query'], additionalProperties: false })
    const result = await call(tool, { query: 'x', session_token: 'eyJ.forged.token' })
    expect(result).toMatchObject({ isError: true, text: expect.stringContaining('session_token') })
    expect(await call(toolOf(), { query: 'x', session_token: 'y' })).toMatchObject({ isError: true })
    expect(endpoint.requests).toHaveLength(0)
  })

  it('session_token is filled in after it has spoken, with a token of its own for this call', async () => {
    const tool = toolOf({ input_schema: WITH_SESSION_TOKEN })
    await call(tool)
    await call(tool)
    const [first, second] = endpoint.requests.map(({ body }) => JSON.parse(body))
    expect(first).toEqual({ query: 'x', session_token: expect.stringMatching(/^eyJ/) })
    expect(first.session_token).not.toBe(second.session_token)
    const { headers, body } = endpoint.requests[0] as Received
    expect(first.session_token).not.toBe(headers['x-bulkhead-tool-token'])
    const verified = await verifyToolCall({ headers: {}, body }, { ...options(), tokenFrom: 'session_token' })
    expect(verified).toMatchObject({ userId: USER_ID, tenantId: TENANT, arguments: { query: 'x' } })
    // The endpoint may as well read the header; both are good once.
    expect(await verifyToolCall({ headers, body }, options())).toMatchObject({ userId: USER_ID })
    const again = verifyToolCall({ headers: {}, body }, { ...options(), tokenFrom: 'session_token' })
    await expect(again).rejects.toMatchObject({ code: 'token_used' })
  })

  it('is filled in as well where only the row says so', async () => {
    await call(toolOf({ config: { session_token: true } }))
    expect(JSON.parse(only().body)).toHaveProperty('session_token')
  })

  it('tenant, user and other fields that the schema does not name are refused before the call', () => {
    const validator = new Validator(toolOf().inputSchema)
    for (const extra of ['tenant_id', 'user_id', 'session_token', '__proto__', 'constructor']) {
      expect(validator.validate(JSON.parse(`{"query":"x","${extra}":"y"}`)).valid, extra).toBe(false)
    }
    expect(validator.validate({ query: 'x' }).valid).toBe(true)
  })

  it('identity in arguments changes nothing: the token names the person of the run', async () => {
    const open = { ...SCHEMA, additionalProperties: true }
    await call(toolOf({ input_schema: open }), { query: 'x', user_id: 'somebody', tenant_id: OTHER_TENANT, sub: 'x' })
    const { headers, body } = only()
    expect(await verifyToolCall({ headers, body }, options())).toMatchObject({ userId: USER_ID, tenantId: TENANT })
  })

  it('__proto__ is no argument, at whatever depth', async () => {
    const args = JSON.parse('{"query":"x","deep":[{"__proto__":{"isAdmin":true}}]}')
    expect(await call(toolOf({ input_schema: { ...SCHEMA, additionalProperties: true } }), args)).toMatchObject({
      isError: true,
    })
    expect(endpoint.requests).toHaveLength(0)
    expect(Object.hasOwn(Object.prototype, 'isAdmin')).toBe(false)
  })
})

// The scan after each test looks for the credentials in all that came back and was logged.
describe('T06: credentials do not come back', () => {
  const everything = ({ headers, body }: Received): string[] => [
    String(headers['x-api-key']),
    String(headers['authorization']),
    String(headers['x-bulkhead-tool-token']),
    String(JSON.parse(body).session_token),
  ]
  const echoing = async () =>
    toolOf({
      input_schema: WITH_SESSION_TOKEN,
      secret_headers: await sealed({ 'x-api-key': CANARY }),
      config: { forward_user_jwt: true },
    })

  it.each<[string, (credential: string) => string]>([
    ['as they are', (credential) => credential],
    ['in JSON', (credential) => JSON.stringify({ credential })],
    ['in JSON with escaped slashes', (credential) => JSON.stringify(credential).replaceAll('/', '\\/')],
    ['in a URL', (credential) => `https://a.example/?t=${encodeURIComponent(credential)}`],
    ['in a form', (credential) => new URLSearchParams({ t: credential }).toString().replaceAll('%27', "'")],
    ['without their scheme', (credential) => credential.replace(/^Bearer /, '')],
  ])('when the endpoint echoes them %s', async (_case, write) => {
    for (const status of [200, 401]) {
      endpoint.answer((request, response) =>
        text(`before ${everything(request).map(write).join(' ')} after`, status)(request, response),
      )
      const { text: shown } = await call(await echoing())
      expect(shown).toMatch(/before .*\*\*\*.* after$/)
    }
  })

  it('in base64 neither', async () => {
    endpoint.answer((request, response) =>
      text(
        everything(request)
          .map((credential) => btoa(credential))
          .join(' '),
      )(request, response),
    )
    const { text: shown } = await call(await echoing())
    expect(shown).toMatch(/^[*=\s]+$/)
  })

  it('when the cut goes through one of them', async () => {
    for (const padding of [9_700, 9_990, 64 * 1024 - 400]) {
      endpoint.answer((request, response) => text('*'.repeat(padding) + everything(request)[2])(request, response))
      const { text: shown } = await call(await echoing())
      expect(shown).not.toMatch(/eyJ/)
    }
  })

  it('when the endpoint repeats them until the cut', async () => {
    endpoint.answer((request, response) => text(`${everything(request)[2]} `.repeat(200))(request, response))
    const { text: shown } = await call(await echoing())
    expect(shown).toMatch(/^(\*\*\*\s?)+$/)
  })
})
