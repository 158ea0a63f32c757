import type { Hono } from 'hono'
import { identify } from '../_shared/context.ts'
import { createRouter } from '../_shared/http.ts'
import type { SearchDeps, SearchEnv } from './env.ts'
import { searches } from './routes/searches.ts'

/** The function `search`: embeds a query and finds what its caller may see. */
export function createApp(deps: SearchDeps): Hono<SearchEnv> {
  const app = createRouter<SearchDeps>('/search', deps)
  app.use(identify)
  app.route('/', searches)
  return app
}
