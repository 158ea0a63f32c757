import process from 'node:process'
import { agentEndpointFromEnv } from './agent-endpoint.ts'
import { createApp } from './app.ts'
import { depsFromEnv } from '../_shared/deps.ts'
import { providersFromEnv } from '../_shared/providers/index.ts'
import { searchProviders } from '../_shared/search.ts'

const deps = depsFromEnv(process.env, 'chat')
const providers = providersFromEnv(process.env)
const agentEndpoint = agentEndpointFromEnv(process.env)
deps.log.info('started', {
  embeddings: providers.embedder.model,
  agent_endpoint: agentEndpoint.isOwn ? 'own' : 'foreign',
})

const app = createApp({ ...deps, search: searchProviders(providers, deps), agentEndpoint })

export default { fetch: app.fetch }
