import process from 'node:process'
import { createApp } from './app.ts'
import { depsFromEnv } from '../_shared/deps.ts'
import { runSettings } from '../_shared/execution/settings.ts'
import { objectStoreFromEnv } from '../_shared/object-store.ts'
import { providersFromEnv } from '../_shared/providers/index.ts'
import { searchProviders } from '../_shared/search.ts'
import { toolKitFromEnv } from '../_shared/tools/kit.ts'
import { mcpDiscovery } from './mcp-discovery.ts'

const deps = depsFromEnv(process.env, 'api')
const providers = providersFromEnv(process.env)
deps.log.info('started', { providers: providers.describe() })

const tools = toolKitFromEnv(process.env)

const app = createApp({
  ...deps,
  tools,
  secrets: tools.secrets,
  egress: tools.egress,
  mcp: mcpDiscovery(deps.ledger, tools),
  chat: providers.chat,
  search: searchProviders(providers, deps),
  objects: objectStoreFromEnv(process.env),
  runs: runSettings(process.env, `function:${crypto.randomUUID()}`),
})

export default { fetch: app.fetch }
