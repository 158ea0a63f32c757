import process from 'node:process'
import { depsFromEnv } from '../_shared/deps.ts'
import { projectSettings } from '../_shared/env.ts'
import { runSettings } from '../_shared/execution/settings.ts'
import { providersFromEnv } from '../_shared/providers/index.ts'
import { searchProviders } from '../_shared/search.ts'
import { toolKitFromEnv } from '../_shared/tools/kit.ts'
import { createApp } from './app.ts'
import { drainSettings, ingestionFromEnv } from './env.ts'

const deps = depsFromEnv(process.env, 'worker')
const providers = providersFromEnv(process.env)
const canActForPeople = projectSettings(process.env).signingJwk !== null
const ingestion = ingestionFromEnv(process.env, deps, providers)
deps.log.info('started', { providers: providers.describe(), runs: canActForPeople, ingestion: ingestion !== null })

const app = createApp({
  ...deps,
  drain: drainSettings(process.env),
  ingestion,
  runs: canActForPeople
    ? {
        ...deps,
        chat: providers.chat,
        search: searchProviders(providers, deps),
        tools: toolKitFromEnv(process.env),
        runs: runSettings(process.env, `function:${crypto.randomUUID()}`),
      }
    : null,
})

export default { fetch: app.fetch }
