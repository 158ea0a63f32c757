import { afterAll, beforeAll } from 'vitest'
import type { ScriptedModel } from '../../support/scripted-model/index.ts'
import { useModel } from '../../support/scripted-model/use-model.ts'
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
  const model = useModel(userEnv)
  let endpoint: Endpoint | undefined
  beforeAll(async () => {
    endpoint = await startEndpoint()
    userEnv['BULKHEAD_EGRESS_ALLOW_HOSTS'] = endpoint.host
    started({ model, endpoint })
  })
  afterAll(() => endpoint?.stop())
}
