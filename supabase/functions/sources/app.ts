import type { Hono } from 'hono'
import { identify } from '../_shared/context.ts'
import { createRouter } from '../_shared/http.ts'
import type { SourcesDeps, SourcesEnv } from './env.ts'
import { sources } from './routes/sources.ts'
import { uploads } from './routes/uploads.ts'

/** The function `sources`: uploads, status, download links. */
export function createApp(deps: SourcesDeps): Hono<SourcesEnv> {
  const app = createRouter<SourcesDeps>('/sources', deps)
  app.use(identify)
  app.route('/uploads', uploads)
  app.route('/', sources)
  return app
}
