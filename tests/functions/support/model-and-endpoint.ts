import { afterAll, beforeAll } from 'vitest'
import { startScriptedModel } from '../../support/scripted-model/index.ts'
import type { ScriptedModel } from '../../support/scripted-model/index.ts'
import { startEndpoint } from './endpoint.ts'
import type { Endpoint } from './endpoint.ts'

/**
 * A scripted model and an endpoint that tools may reach, for the tests of one file; to be called before its stack.
 * @param userEnv the stack's: gets the addresses of both
 */
export function useModelAndEndpoint(
  userEnv: Record<string, string>,
  started: (both: { model: ScriptedModel; endpoint: Endpoint }) => void,
): void {
  const stops: (() => Promise<unknown>)[] = []
  beforeAll(async () => {
    const model = await startScriptedModel()
    stops.push(() => model.stop())
    const endpoint = await startEndpoint()
    stops.push(() => endpoint.stop())
    Object.assign(userEnv, model.env, { BULKHEAD_EGRESS_ALLOW_HOSTS: endpoint.host })
    started({ model, endpoint })
  })
  afterAll(async () => void (await Promise.all(stops.map((stop) => stop()))))
}
