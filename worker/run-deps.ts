import { depsFromEnv } from '../supabase/functions/_shared/deps.ts'
import { optional, type Env } from '../supabase/functions/_shared/env.ts'
import { describeError } from '../supabase/functions/_shared/errors.ts'
import type { RunDeps } from '../supabase/functions/_shared/execution/prepare.ts'
import { runSettings } from '../supabase/functions/_shared/execution/settings.ts'
import { providersFromEnv } from '../supabase/functions/_shared/providers/index.ts'
import { searchProviders } from '../supabase/functions/_shared/search.ts'
import { toolKitFromEnv } from '../supabase/functions/_shared/tools/kit.ts'
import type { Log, LogFields } from './log.ts'

/**
 * What carrying out runs needs, from the environment: that of the function `api`. Null, with a line in the log, where it is
 * not given: then the worker does everything else, and runs are carried out by the functions alone.
 */
export function runDepsFromEnv(env: Env, name: string, log: Log): RunDeps | null {
  const fieldsOf = (fields: Record<string, unknown>) => fields as LogFields
  try {
    if (optional(env, 'BULKHEAD_SIGNING_JWK') === undefined) {
      throw new Error('The environment variable BULKHEAD_SIGNING_JWK is not set.')
    }
    const providers = providersFromEnv(env)
    const deps = {
      ...depsFromEnv(env, 'worker'),
      log: {
        info: (event: string, fields: Record<string, unknown>) => log.info(event, fieldsOf(fields)),
        error: (event: string, fields: Record<string, unknown>) => log.error(event, fieldsOf(fields)),
      },
    }
    return {
      ...deps,
      chat: providers.chat,
      search: searchProviders(providers, deps),
      tools: toolKitFromEnv(env),
      runs: runSettings(env, `worker:${name}`),
    }
  } catch (error) {
    log.error('runs_not_carried_out', { error: describeError(error) })
    return null
  }
}
