import process from 'node:process'
import { createApp } from './app.ts'
import { depsFromEnv } from '../_shared/deps.ts'
import { providersFromEnv } from '../_shared/providers/index.ts'
import { searchProviders } from '../_shared/search.ts'

const deps = depsFromEnv(process.env, 'search')
const providers = providersFromEnv(process.env)
deps.log.info('started', { embeddings: providers.embedder.model, has_reranker: providers.reranker !== null })

const app = createApp({ ...deps, search: searchProviders(providers, deps) })

export default { fetch: app.fetch }
