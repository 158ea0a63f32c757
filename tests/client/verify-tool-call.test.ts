// What people paste into their backend: every way to lie to it, on Node and on Deno.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { ToolCallError, createMemoryBurn, verifyToolCall } from '../../client/verify-tool-call.ts'
import type { VerifyToolCallOptions } from '../../client/verify-tool-call.ts'
import { denoBinary } from '../../local/functions/deno-command.ts'
import { createToolTokens, sha256 } from '../../supabase/functions/_shared/tool-tokens.ts'
import { USER_ID, createTestProject } from '../functions/support/tokens.ts'
import type { TestProject } from '../functions/support/tokens.ts'
import { AUDIENCE, BODY, ISSUER, TENANT, callOf, refusedCalls } from './support/tool-calls.ts'
import type { GivenCall } from './support/tool-calls.ts'

let project: TestProject
let refused: Awaited<ReturnType<typeof refusedCalls>>
beforeAll(async () => {
  project = await createTestProject(ISSUER)
  refused = await refusedCalls(project)
})

const verify = ({ headers, body, options }: GivenCall, more: Partial<VerifyToolCallOptions> = {}) =>
  verifyToolCall({ headers, body }, { ...options, jwks: JSON.parse(project.jwks), ...more })
const codeOf = (verified: Promise<unknown>) =>
  verified.then(
    () => 'verified',
    (error: unknown) => (error instanceof ToolCallError ? error.code : String(error)),
  )

describe('a call that Bulkhead makes', () => {
  const expected = {
    userId: USER_ID,
    tenantId: TENANT,
    agentId: '44444444-4444-4444-8444-444444444444',
    runId: 'run_1',
    callId: 'call_1',
    tool: 'search_articles',
    arguments: JSON.parse(BODY),
  }

  it('tells for whom it is made', async () => {
    expect(await verify(await callOf(project))).toEqual(expected)
  })

  it('may come as a Request, or as what frameworks have of one', async () => {
    const bytes = async (change: (call: GivenCall) => Parameters<typeof verifyToolCall>[0]) => {
      const call = await callOf(project)
      return verifyToolCall(change(call), { ...call.options, jwks: JSON.parse(project.jwks) })
    }
    const url = 'https://tools.example.com/search'
    expect(await bytes(({ headers, body }) => new Request(url, { method: 'POST', headers, body }))).toEqual(expected)
    expect(await bytes(({ headers, body }) => ({ headers: new Headers(headers), body }))).toEqual(expected)
    const shouting = ({ headers, body }: GivenCall) => ({
      headers: { 'X-Bulkhead-Tool-Token': headers['x-bulkhead-tool-token'] },
      body: Buffer.from(body),
    })
    expect(await bytes(shouting)).toEqual(expected)
  })

  it('may carry the token in the body, as session_token', async () => {
    const body = JSON.stringify({ query: 'x', nested: { b: 1, a: [1.5, null] } })
    const { headers, options } = await callOf(project, {}, body)
    const sent = JSON.stringify({ ...JSON.parse(body), session_token: headers['x-bulkhead-tool-token'] })
    const call = await verify({ headers: {}, body: sent, options }, { tokenFrom: 'session_token' })
    expect(call).toEqual({ ...expected, arguments: JSON.parse(body) })
  })

  it('gives no credential away among its arguments', async () => {
    const call = await callOf(project, {}, JSON.stringify({ query: 'x', session_token: 'canary' }))
    expect((await verify(call)).arguments).toEqual({ query: 'x' })
  })

  it('is verified with the keys that the project publishes, which are asked for once', async () => {
    let requests = 0
    const server = createServer((_request, response) => {
      requests++
      response.setHeader('content-type', 'application/json')
      response.end(project.jwks)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const jwksUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`
    try {
      for (let i = 0; i < 2; i++) {
        const { headers, body, options } = await callOf(project)
        expect(await verifyToolCall({ headers, body }, { ...options, jwksUrl })).toEqual(expected)
      }
    } finally {
      await new Promise((resolve) => server.close(resolve))
    }
    expect(requests).toBe(1)
  })
})

describe('refused is', () => {
  it('everything else, each for its reason, without quoting token or body', async () => {
    const met: [string, string][] = []
    for (const [name, , call] of refused) {
      const error = await verify(call).catch((thrown: unknown) => thrown)
      met.push([name, error instanceof ToolCallError ? error.code : String(error)])
      expect(error, name).toMatchObject({ status: 401 })
      expect((error as Error).message, name).not.toMatch(/eyJ|query/)
    }
    expect(met).toEqual(refused.map(([name, code]) => [name, code]))
  })

  it('T07: a token that was used before, also when both come at once', async () => {
    const call = await callOf(project)
    const codes = await Promise.all([codeOf(verify(call)), codeOf(verify(call)), codeOf(verify(call))])
    expect(codes.toSorted()).toEqual(['token_used', 'token_used', 'verified'])
  })

  it('T07: a token that another process has used, where they remember together', async () => {
    const used = new Set<string>()
    const burn: VerifyToolCallOptions['burn'] = async (jti) => !used.has(jti) && Boolean(used.add(jti))
    const call = await callOf(project)
    expect(await codeOf(verify(call, { burn }))).toBe('verified')
    expect(await codeOf(verify(call, { burn }))).toBe('token_used')
  })

  it('no token for the fault of another call: one that is refused uses nothing up', async () => {
    const call = await callOf(project)
    expect(await codeOf(verify({ ...call, body: '{"query":"other"}' }))).toBe('body_mismatch')
    expect(await codeOf(verify(call, { tool: 'other' }))).toBe('token_tool')
    expect(await codeOf(verify(call))).toBe('verified')
  })

  it('a call whose use cannot be remembered, or whose keys cannot be read', async () => {
    const burn = () => Promise.reject(new Error('the database is away'))
    await expect(verify(await callOf(project), { burn })).rejects.toMatchObject({ code: 'burn_failed', status: 500 })
    const { headers, body, options } = await callOf(project)
    const away = verifyToolCall({ headers, body }, { ...options, jwksUrl: 'http://127.0.0.1:9/jwks.json' })
    await expect(away).rejects.toMatchObject({ code: 'keys_unavailable', status: 503 })
    await expect(verifyToolCall({ headers, body }, options)).rejects.toThrow(TypeError)
  })
})

describe('the memory of one process', () => {
  const at = (seconds: number) => new Date(Date.now() + seconds * 1000)

  it('forgets what has expired, and refuses rather than forget what has not', async () => {
    const burn = createMemoryBurn(2)
    expect(await burn('expired', at(-1))).toBe(true)
    expect(await burn('a', at(60))).toBe(true)
    expect(await burn('b', at(60))).toBe(true)
    await expect(burn('c', at(60))).rejects.toThrow(/remembered/)
    expect(await burn('a', at(60))).toBe(false)
  })
})

describe('on Deno', () => {
  const root = fileURLToPath(new URL('../..', import.meta.url))
  const EDGE_DENO = `${root}node_modules/deno-edge-linux-x64/deno`

  it.for([
    ['the installed one', denoBinary()],
    ['2.1.4, which hosted functions run on', EDGE_DENO],
  ])('(%s) the same calls are verified and refused', async ([, deno = ''], { skip }) => {
    if (!existsSync(deno)) skip(`${deno} is not there; it exists for linux-x64 only`)
    const good = await callOf(project)
    const calls = [good, good, ...refused.map(([, , call]) => call)]
    const given = JSON.stringify({ calls, jwks: JSON.parse(project.jwks) })
    const child = `${root}tests/client/support/verify-in-child.ts`
    const { stdout } = await promisify(execFile)(
      deno,
      ['run', '--no-prompt', '--cached-only', '--no-lock', '--node-modules-dir=manual', child, given],
      { cwd: root, env: { ...process.env, DENO_NO_UPDATE_CHECK: '1', NO_COLOR: '1' } },
    )
    const expected = [`verified for ${USER_ID}`, 'token_used', ...refused.map(([, code]) => code)]
    expect(JSON.parse(stdout)).toEqual(expected)
  })
})

it('the hash is over bytes: tokens are made for exactly what is sent', async () => {
  const body = '{"query":"é"}'
  const tokens = createToolTokens(JSON.stringify(project.privateJwk), ISSUER)
  const token = await tokens.mint({
    tenantId: TENANT,
    userId: USER_ID,
    agentId: 'a',
    runId: 'r',
    callId: 'c',
    tool: 't',
    audience: AUDIENCE,
    argumentsHash: await sha256(new TextEncoder().encode(body)),
  })
  const headers = { 'x-bulkhead-tool-token': token }
  const options = { jwks: JSON.parse(project.jwks), issuer: ISSUER, audience: AUDIENCE }
  // The same letter, composed otherwise.
  const other = verifyToolCall({ headers, body: body.normalize('NFD') }, options)
  await expect(other).rejects.toMatchObject({ code: 'body_mismatch' })
  expect((await verifyToolCall({ headers, body: Buffer.from(body) }, options)).arguments).toEqual({ query: 'é' })
})
