import process from 'node:process'
import { createApp } from './app.ts'
import { depsFromEnv } from '../_shared/deps.ts'
import { objectStoreFromEnv } from '../_shared/object-store.ts'

const app = createApp({ ...depsFromEnv(process.env, 'sources'), objects: objectStoreFromEnv(process.env) })

export default { fetch: app.fetch }
