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

/**
 * The principal of a run: who it acts for, and the only way of its tools to data. The caller's own token serves while it
 * is fresh. After that one is minted for the same person and tenant, which says that the agent acts (RFC 8693): only while
 * the lease is held, and only if the person is in the tenant still.
 * @param caller who started the run, narrowed to its tenant.
 */
export function createPrincipal(deps: Deps, caller: Caller, run: StartedRun, agentId: string): Principal {
  const narrowed: Caller = { ...caller, tenantId: run.tenant_id }
  let current = { caller: narrowed, expiresAt: expiryOf(caller.token) }
  let minting: Promise<typeof current> | null = null

  async function mint(): Promise<typeof current> {
    const delegated = await deps.ledger.delegateRun(run.id, run.lease_token)
    if (delegated === null) throw runLost()
    const { token, expiresAt } = await deps.delegation.mint({
      sub: delegated.sub,
      tenantId: delegated.tenant_id,
      act: { sub: 'agent', agent_id: agentId, run_id: run.run_id },
    })
    return { caller: { ...narrowed, token }, expiresAt }
  }

  async function freshCaller(): Promise<Caller> {
    if (current.expiresAt - Date.now() / 1000 < FRESH_SECONDS) {
      // Several tools may ask at once; one token does for all.
      minting ??= mint().finally(() => (minting = null))
      current = await minting
    }
    return current.caller
  }

  return {
    tenantId: run.tenant_id,
    userId: caller.userId,
    agentId,
    runId: run.run_id,
    caller: freshCaller,
    db: async () => deps.clientFor(await freshCaller()),
  }
}
