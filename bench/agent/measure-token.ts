import { createPrincipal } from '../../supabase/functions/_shared/principal.ts'
import { startRunHere } from '../../supabase/functions/_shared/runs.ts'
import { timed } from '../support/stats.ts'
import { dataOf } from '../support/target.ts'
import { spreadOf, type TokenResult } from './results.ts'
import type { World } from './world.ts'

const RUNS = 100
const WARM_UP_RUNS = 5

/** What a token costs by which a run goes on after the person's own has expired: with the question whether it may be had, and without. */
export async function measureToken({ deps, caller, agentId }: World): Promise<TokenResult> {
  const opening = { agentId, sessionId: null, message: 'Bench', model: 'none', provider: 'none', context: [] }
  const run = await startRunHere(deps.clientFor(caller), opening)
  const stale = { ...caller, token: 'expired' }
  const times = { mint: [] as number[], delegated: [] as number[], call: [] as number[] }
  let token = ''
  for (let at = -WARM_UP_RUNS; at < RUNS; at++) {
    const call = await timed(() => deps.ledger.beatRun(run.id, run.lease_token, 120))
    const delegated = await timed(() => createPrincipal(deps, stale, run, agentId).caller())
    const act = { sub: 'agent', agent_id: agentId, run_id: run.run_id }
    const mint = await timed(() => deps.delegation.mint({ sub: caller.userId, tenantId: run.tenant_id, act }))
    token = delegated.result.token
    if (at < 0) continue
    times.call.push(call.ms)
    times.delegated.push(delegated.ms)
    times.mint.push(mint.ms)
  }
  // One that the database does not take would cost nothing.
  const rows = dataOf(
    await deps
      .clientFor({ ...caller, token })
      .schema('ai')
      .from('agents')
      .select('id'),
  )
  if (!rows.some(({ id }) => id === agentId)) throw new Error('The delegated token does not read the agent.')
  await deps.ledger.finishRun({
    runId: run.id,
    leaseToken: run.lease_token,
    status: 'completed',
    content: '',
    usage: {},
    citations: [],
    invalidCitationCount: 0,
  })
  return { mint: spreadOf(times.mint), delegated: spreadOf(times.delegated), call: spreadOf(times.call) }
}
