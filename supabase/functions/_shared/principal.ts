import { decodeJwt } from 'jose'
import type { Caller, Deps } from './context.ts'
import { runLost } from './runs.ts'
import type { StartedRun } from './runs.ts'
import type { Principal } from './tools/types.ts'

/** Seconds a token must still be good for; a request made with it may take that long. */
const FRESH_SECONDS = 30

const expiryOf = (token: string): number => {
  try {
    return decodeJwt(token).exp ?? 0
  } catch {
    return 0
  }
}

/** A caller, and when their token ends, in seconds since 1970. */
type Held = { caller: Caller; expiresAt: number }

const isFresh = (held: Held | null): held is Held =>
  held !== null && held.expiresAt - Date.now() / 1000 >= FRESH_SECONDS

/**
 * The principal of a run: who it acts for, and the only way of its tools to data. For reading, the caller's own token serves
 * while it is fresh. After that, and for writing always, one is minted for the same person and tenant, which says that the
 * agent acts (RFC 8693): only while the lease is held, and only if the person is in the tenant still.
 * @param caller who started the run, narrowed to its tenant.
 */
export function createPrincipal(deps: Deps, caller: Caller, run: StartedRun, agentId: string): Principal {
  const narrowed: Caller = { ...caller, tenantId: run.tenant_id }
  const own: Held = { caller: narrowed, expiresAt: expiryOf(caller.token) }
  let delegated: Held | null = null
  let minting: Promise<Held> | null = null

  async function mint(): Promise<Held> {
    const subject = await deps.ledger.delegateRun(run.id, run.lease_token)
    if (subject === null) throw runLost()
    const { token, expiresAt } = await deps.delegation.mint({
      sub: subject.sub,
      tenantId: subject.tenant_id,
      act: { sub: 'agent', agent_id: agentId, run_id: run.run_id },
    })
    return { caller: { ...narrowed, token }, expiresAt }
  }

  async function actingCaller(): Promise<Caller> {
    if (!isFresh(delegated)) {
      // Several tools may ask at once; one token does for all.
      minting ??= mint().finally(() => (minting = null))
      delegated = await minting
    }
    return delegated.caller
  }

  const freshCaller = (): Promise<Caller> => (isFresh(own) ? Promise.resolve(own.caller) : actingCaller())

  return {
    tenantId: run.tenant_id,
    userId: caller.userId,
    agentId,
    runId: run.run_id,
    runUuid: run.id,
    caller: freshCaller,
    actingCaller,
    db: async () => deps.clientFor(await freshCaller()),
    actingDb: async () => deps.clientFor(await actingCaller()),
  }
}
