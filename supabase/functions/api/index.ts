import process from 'node:process'
import { createApp } from './app.ts'
import { depsFromEnv } from '../_shared/deps.ts'
import { objectStoreFromEnv } from '../_shared/object-store.ts'
import { providersFromEnv } from '../_shared/providers/index.ts'

const deps = depsFromEnv(process.env, 'api')
const { chat, embedder, describe } = providersFromEnv(process.env)
deps.log.info('started', { providers: describe() })

const app = createApp({ ...deps, chat, embedder, objects: objectStoreFromEnv(process.env) })

export default { fetch: app.fetch }
