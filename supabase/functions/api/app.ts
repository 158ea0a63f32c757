import type { Hono } from 'hono'
import { identify } from '../_shared/context.ts'
import { createRouter } from '../_shared/http.ts'
import type { ApiDeps, ApiEnv } from './env.ts'
import { openApiDocument } from './openapi.ts'
import { agentHooks } from './routes/agent-hooks.ts'
import { agentKnowledgeBases } from './routes/agent-knowledge-bases.ts'
import { agentMcpServers } from './routes/agent-mcp-servers.ts'
import { agentSessions } from './routes/agent-sessions.ts'
import { agentTools } from './routes/agent-tools.ts'
import { agents } from './routes/agents.ts'
import { approvals, runApprovals } from './routes/approvals.ts'
import { config } from './routes/config.ts'
import { contextHandlers } from './routes/context-handlers.ts'
import { knowledgeBaseEnrichment } from './routes/knowledge-base-enrichment.ts'
import { knowledgeBaseGraph } from './routes/knowledge-base-graph.ts'
import { knowledgeBaseIndexing } from './routes/knowledge-base-indexing.ts'
import { knowledgeBaseItems } from './routes/knowledge-base-items.ts'
import { knowledgeBaseSearch } from './routes/knowledge-base-search.ts'
import { knowledgeBaseSources } from './routes/knowledge-base-sources.ts'
import { knowledgeBases } from './routes/knowledge-bases.ts'
import { runs } from './routes/runs.ts'
import { sessions } from './routes/sessions.ts'
import { sourceImports } from './routes/source-imports.ts'
import { sourceTexts } from './routes/source-texts.ts'
import { sources } from './routes/sources.ts'
import { tools } from './routes/tools.ts'

/** The function `api`: the agent API, for user tokens and for service keys. */
export function createApp(deps: ApiDeps): Hono<ApiEnv> {
  const app = createRouter<ApiDeps>('/api', deps)
  app.get('/health', (c) => c.json({ status: 'healthy', service: 'project-service' }))
  app.get('/openapi.json', (c) => c.json(openApiDocument()))
  app.use(identify)
  app.route('/agents', runs)
  app.route('/agents', runApprovals)
  app.route('/agents', agentTools)
  app.route('/agents', agentKnowledgeBases)
  app.route('/agents', agentMcpServers)
  app.route('/agents', agentHooks)
  app.route('/agents', agentSessions)
  app.route('/agents', agents)
  app.route('/approvals', approvals)
  app.route('/sessions', sessions)
  app.route('/tools', tools)
  app.route('/sources', sourceImports)
  app.route('/sources', sourceTexts)
  app.route('/sources', sources)
  app.route('/knowledge-bases', knowledgeBaseSearch)
  app.route('/knowledge-bases', knowledgeBaseSources)
  app.route('/knowledge-bases', knowledgeBaseIndexing)
  app.route('/knowledge-bases', knowledgeBaseItems)
  app.route('/knowledge-bases', knowledgeBaseEnrichment)
  app.route('/knowledge-bases', knowledgeBaseGraph)
  app.route('/knowledge-bases', knowledgeBases)
  app.route('/context-handlers', contextHandlers)
  app.route('/config', config)
  return app
}
