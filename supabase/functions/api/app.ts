import type { Hono } from 'hono'
import { identify } from '../_shared/context.ts'
import { createRouter } from '../_shared/http.ts'
import type { ApiDeps, ApiEnv } from './env.ts'
import { agentKnowledgeBases } from './routes/agent-knowledge-bases.ts'
import { agents } from './routes/agents.ts'
import { knowledgeBaseSearch } from './routes/knowledge-base-search.ts'
import { knowledgeBaseSources } from './routes/knowledge-base-sources.ts'
import { knowledgeBases } from './routes/knowledge-bases.ts'
import { runs } from './routes/runs.ts'
import { sessions } from './routes/sessions.ts'
import { sources } from './routes/sources.ts'

/** The function `api`: the agent API, for user tokens and for service keys. */
export function createApp(deps: ApiDeps): Hono<ApiEnv> {
  const app = createRouter<ApiDeps>('/api', deps)
  app.get('/health', (c) => c.json({ status: 'healthy', service: 'project-service' }))
  app.use(identify)
  app.route('/agents', runs)
  app.route('/agents', agentKnowledgeBases)
  app.route('/agents', agents)
  app.route('/sessions', sessions)
  app.route('/sources', sources)
  app.route('/knowledge-bases', knowledgeBaseSearch)
  app.route('/knowledge-bases', knowledgeBaseSources)
  app.route('/knowledge-bases', knowledgeBases)
  return app
}
