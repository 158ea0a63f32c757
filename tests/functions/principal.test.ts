import { expect, it, vi } from 'vitest'
import { SignJWT } from 'jose'
import type { Caller, Deps } from '../../supabase/functions/_shared/context.ts'
import { AppError } from '../../supabase/functions/_shared/errors.ts'
import { createPrincipal } from '../../supabase/functions/_shared/principal.ts'
import type { StartedRun } from '../../supabase/functions/_shared/runs.ts'

const TENANT = '11111111-1111-4111-8111-111111111111'
const USER = '22222222-2222-4222-8222-222222222222'
const AGENT = '33333333-3333-4333-8333-333333333333'
const run = {
  id: '44444444-4444-4444-8444-444444444444',
  run_id: 'run_0123456789ab',
  tenant_id: TENANT,
  lease_token: '55555555-5555-4555-8555-555555555555',
} as StartedRun

const tokenFor = (seconds: number) =>
  new SignJWT({ role: 'authenticated' })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(USER)
    .setExpirationTime(Math.floor(Date.now() / 1000) + seconds)
    .sign(new TextEncoder().encode('a secret of the test, long enough'))

async function principalWith(seconds: number, delegated: unknown = { sub: USER, tenant_id: TENANT }) {
  const delegateRun = vi.fn(() => (delegated instanceof Error ? Promise.reject(delegated) : Promise.resolve(delegated)))
  let minted = 0
  const mint = vi.fn(() =>
    Promise.resolve({ token: `minted-${++minted}`, expiresAt: Math.floor(Date.now() / 1000) + 300 }),
  )
  const clientFor = vi.fn((caller: Caller) => caller)
  const deps = { ledger: { delegateRun }, delegation: { mint }, clientFor } as unknown as Deps
  const token = await tokenFor(seconds)
  const principal = createPrincipal(deps, { userId: USER, token, tenantId: null }, run, AGENT)
  return { principal, token, delegateRun, mint, clientFor }
}

it('uses the own token while it is fresh, narrowed to the tenant of the run', async () => {
  const { principal, token, mint } = await principalWith(300)
  expect(await principal.caller()).toEqual({ userId: USER, token, tenantId: TENANT })
  expect(mint).not.toHaveBeenCalled()
})

it('mints one for the same person when it is not, that names the agent and the run; one for all who ask at once', async () => {
  const { principal, mint, delegateRun } = await principalWith(20)
  const callers = await Promise.all([principal.caller(), principal.caller(), principal.caller()])
  expect(callers).toEqual(Array(3).fill({ userId: USER, token: 'minted-1', tenantId: TENANT }))
  expect(mint).toHaveBeenCalledExactlyOnceWith({
    sub: USER,
    tenantId: TENANT,
    act: { sub: 'agent', agent_id: AGENT, run_id: run.run_id },
  })
  expect(delegateRun).toHaveBeenCalledExactlyOnceWith(run.id, run.lease_token)
  expect((await principal.caller()).token).toBe('minted-1')
})

it('T12: writes under a token that names the agent, also while the own one is fresh; one for as long as it lasts', async () => {
  const { principal, token, mint } = await principalWith(300)
  const [first, second] = await Promise.all([principal.actingDb(), principal.actingDb()])
  expect([first, second]).toEqual(Array(2).fill({ userId: USER, token: 'minted-1', tenantId: TENANT }))
  expect(mint).toHaveBeenCalledExactlyOnceWith(
    expect.objectContaining({ act: { sub: 'agent', agent_id: AGENT, run_id: run.run_id } }),
  )
  expect(await principal.db()).toMatchObject({ token })
  // And who is given a token itself is given that one.
  expect(await principal.actingCaller()).toEqual({ userId: USER, token: 'minted-1', tenantId: TENANT })
  const gone = await principalWith(300, new AppError('forbidden', 'No longer in the tenant.'))
  await expect(gone.principal.actingDb()).rejects.toMatchObject({ code: 'forbidden' })
})

it('T07: has no token for who has left the tenant, nor for a run whose lease is lost', async () => {
  const gone = await principalWith(-5, new AppError('forbidden', 'No longer in the tenant.'))
  await expect(gone.principal.db()).rejects.toMatchObject({ code: 'forbidden' })
  const lost = await principalWith(-5, null)
  await expect(lost.principal.db()).rejects.toMatchObject({ code: 'conflict' })
  expect([...gone.mint.mock.calls, ...lost.mint.mock.calls]).toEqual([])
})

it('treats a token it cannot read as stale', async () => {
  const { clientFor } = await principalWith(300)
  const delegateRun = vi.fn(() => Promise.resolve({ sub: USER, tenant_id: TENANT }))
  const mint = vi.fn(() => Promise.resolve({ token: 'minted', expiresAt: Date.now() / 1000 + 300 }))
  const deps = { ledger: { delegateRun }, delegation: { mint }, clientFor } as unknown as Deps
  const principal = createPrincipal(deps, { userId: USER, token: 'no.token', tenantId: null }, run, AGENT)
  expect((await principal.caller()).token).toBe('minted')
})
