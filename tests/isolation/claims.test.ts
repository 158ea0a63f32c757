// P09 and P11: what a token says beyond who it is changes nothing, and no request leaves a trace of its caller for the next.
import { decodeJwt } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { useStack } from '../support/stack.ts'
import { TENANT } from './support/world.ts'

const stack = useStack()
const PEOPLE = ['member@harbor.example', 'member@meridian.example', 'both@bulkhead.example'] as const
let tokens: string[]
const now = () => Math.floor(Date.now() / 1000)

const rest = (token: string, path: string, init: RequestInit = {}) =>
  fetch(`${stack.url}/rest/v1/${path}`, {
    ...init,
    headers: {
      apikey: stack.keys.publishable,
      authorization: `Bearer ${token}`,
      'accept-profile': 'ai',
      'content-profile': 'ai',
      'content-type': 'application/json',
    },
  })
/** The tenants whose agents the holder of a token sees, or the status of a refusal. */
const tenantsSeen = async (token: string): Promise<string[] | number> => {
  const response = await rest(token, 'agents?select=tenant_id')
  if (response.status !== 200) return response.status
  return [...new Set(((await response.json()) as { tenant_id: string }[]).map((row) => row.tenant_id))].toSorted()
}
const SEEN = [[TENANT.a], [TENANT.b], [TENANT.a, TENANT.b].toSorted()]

beforeAll(async () => {
  tokens = []
  for (const email of PEOPLE) {
    const { data } = await (await stack.signIn(email)).auth.getSession()
    tokens.push(data.session!.access_token)
  }
})

describe('P09 claims grant nothing', () => {
  it('everybody sees the tenants they are in', async () => {
    expect(await Promise.all(tokens.map(tenantsSeen))).toEqual(SEEN)
  })

  it('user_metadata, which people write themselves, says nothing', async () => {
    const client = await stack.signIn(PEOPLE[0])
    const forged = { tenant_id: TENANT.b, role: 'service_role', app_metadata: { tenant_id: TENANT.b } }
    expect((await client.auth.updateUser({ data: forged })).error).toBeNull()
    const { data } = await client.auth.refreshSession()
    const token = data.session!.access_token
    expect(decodeJwt(token)).toMatchObject({ role: 'authenticated', user_metadata: { tenant_id: TENANT.b } })
    expect(await tenantsSeen(token)).toEqual([TENANT.a])
  })

  it.each([
    ['another tenant in app_metadata', { app_metadata: { tenant_id: TENANT.b } }],
    ['another tenant at the top', { tenant_id: TENANT.b }],
    ['no tenant at all', { tenant_id: 'none' }],
  ])('a stale claim leaves nothing to see, and widens nothing: %s', async (_name, more) => {
    const token = await stack.stack.tokens.sign({ ...decodeJwt(tokens[0]!), ...more })
    const seen = await tenantsSeen(token)
    expect(Array.isArray(seen) ? seen : []).toEqual([])
  })

  it('the tenant that was in the claim counts as long as the membership does', async () => {
    const token = await stack.stack.tokens.sign({ ...decodeJwt(tokens[2]!), app_metadata: { tenant_id: TENANT.b } })
    expect(await tenantsSeen(token)).toEqual([TENANT.b])
  })

  it.each([
    ['a role of the tenant', { app_metadata: { role: 'owner', roles: ['admin'] } }],
    ['a role in a claim of its own', { tenant_role: 'owner', user_role: 'admin' }],
  ])('a role in a claim is no role: %s', async (_name, more) => {
    const viewer = await stack.signIn('viewer@harbor.example')
    const { data } = await viewer.auth.getSession()
    const token = await stack.stack.tokens.sign({ ...decodeJwt(data.session!.access_token), ...more })
    expect(await tenantsSeen(token)).toEqual([TENANT.a])
    const body = JSON.stringify({ tenant_id: TENANT.a, name: 'Made by a claim' })
    expect((await rest(token, 'agents', { method: 'POST', body })).status).toBe(403)
  })

  it.each([
    ['a subject that is nobody', { sub: crypto.randomUUID() }],
    ['a subject that is no uuid', { sub: 'admin' }],
    ['no subject', { sub: undefined }],
    ['an anonymous sign-in', { sub: crypto.randomUUID(), is_anonymous: true }],
  ])('%s sees nothing', async (_name, more) => {
    const seen = await tenantsSeen(await stack.stack.tokens.sign({ ...decodeJwt(tokens[0]!), ...more }))
    expect(Array.isArray(seen) ? seen : []).toEqual([])
    expect(typeof seen === 'number' ? seen : 200).toBeLessThan(500)
  })

  it('an expired token is refused', async () => {
    const token = await stack.stack.tokens.sign({ ...decodeJwt(tokens[0]!), iat: now() - 100, exp: now() - 50 })
    expect(await tenantsSeen(token)).toBe(401)
  })
})

describe('P11 nothing of a caller is left in a connection', () => {
  it('1,000 interleaved requests, every fifth of which fails midway: nobody ever sees what another may', async () => {
    const wrong: unknown[] = []
    let failed = 0
    let next = 0
    const work = async () => {
      for (let number = next++; number < 1000; number = next++) {
        const who = number % PEOPLE.length
        if (number % 5 === 4) {
          // Ends in an error after the claims were set.
          const body = JSON.stringify({ agent_id: crypto.randomUUID(), message: 'x' })
          const { status } = await rest(tokens[who]!, 'rpc/start_run', { method: 'POST', body })
          if (status === 404) failed++
          else wrong.push({ number, status })
        } else {
          const seen = await tenantsSeen(tokens[who]!)
          if (JSON.stringify(seen) !== JSON.stringify(SEEN[who])) wrong.push({ number, who, seen })
        }
      }
    }
    await Promise.all(Array.from({ length: 8 }, work))
    expect(wrong).toEqual([])
    expect(failed).toBe(200)
    // And nothing is left for somebody who is not signed in.
    const response = await fetch(`${stack.url}/rest/v1/agents?select=id`, {
      headers: { apikey: stack.keys.publishable, 'accept-profile': 'ai' },
    })
    expect(response.status === 200 ? await response.json() : []).toEqual([])
  })
})
