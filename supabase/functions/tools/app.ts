import type { Hono } from 'hono'
import { createRouter } from '../_shared/http.ts'
import type { ToolsDeps, ToolsEnv } from './env.ts'
import { savedArticles } from './routes/saved-articles.ts'

/**
 * The function `tools`: endpoints that agents call as custom tools. Nobody signs in here; each call brings a token that
 * says for whom it is made.
 */
export function createApp(deps: ToolsDeps): Hono<ToolsEnv> {
  const app = createRouter<ToolsDeps>('/tools', deps)
  app.route('/search-saved-articles', savedArticles)
  return app
}
