import { createVerifier } from './auth.ts'
import { createClientFactory, createLog } from './context.ts'
import type { Deps } from './context.ts'
import { createDelegation } from './delegation.ts'
import type { Env } from './env.ts'
import { projectSettings } from './env.ts'
import { ledgerFromEnv } from './ledger.ts'
import { createOpenStreams } from './open-streams.ts'
import { createRateLimiter } from './rate-limit.ts'

/**
 * The dependencies every function has, from an environment.
 * @throws Error naming the first variable that is missing or malformed: better at start than at the first request.
 */
export function depsFromEnv(env: Env, functionName: string): Deps {
  const settings = projectSettings(env)
  const ledger = ledgerFromEnv(env)
  return {
    verifyCaller: createVerifier(settings),
    clientFor: createClientFactory(settings.supabaseUrl, settings.publishableKey),
    delegation: createDelegation(settings.signingJwk, settings.issuers[0] ?? ''),
    ledger,
    defaultTenant: settings.defaultTenant,
    corsOrigins: settings.corsOrigins,
    rateLimiter: createRateLimiter(ledger, {
      perMinute: settings.requestsPerMinute,
      addressHeader: settings.addressHeader,
    }),
    openStreams: createOpenStreams(settings.streamsPerPerson),
    log: createLog(functionName),
  }
}
