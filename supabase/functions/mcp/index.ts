import process from 'node:process'
import { createAgentApi } from './agent-api.ts'
import { createApp } from './app.ts'
import { depsFromEnv } from '../_shared/deps.ts'
import { projectSettings } from '../_shared/env.ts'
import { providersFromEnv } from '../_shared/providers/index.ts'
import { searchProviders } from '../_shared/search.ts'

const { supabaseUrl, publishableKey } = projectSettings(process.env)

const app = createApp({
  ...depsFromEnv(process.env, 'mcp'),
  search: searchProviders(providersFromEnv(process.env)),
  agentApi: createAgentApi(supabaseUrl, publishableKey),
})

export default { fetch: app.fetch }
