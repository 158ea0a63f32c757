import process from 'node:process'
import { createAgentApi } from './agent-api.ts'
import { createApp } from './app.ts'
import { depsFromEnv } from '../_shared/deps.ts'
import { projectSettings } from '../_shared/env.ts'
import { providersFromEnv } from '../_shared/providers/index.ts'
import { searchProviders } from '../_shared/search.ts'

const { supabaseUrl, publishableKey } = projectSettings(process.env)

const deps = depsFromEnv(process.env, 'mcp')

const app = createApp({
  ...deps,
  search: searchProviders(providersFromEnv(process.env), deps),
  agentApi: createAgentApi(supabaseUrl, publishableKey),
})

export default { fetch: app.fetch }
