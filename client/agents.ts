import { searchParams } from './connection.ts'
import type { Connection } from './connection.ts'
import type { Citation } from './chat-events.ts'

/** An agent. */
export type Agent = {
  id: string
  name: string
  model: string | null
  system_prompt: string | null
  settings: Record<string, unknown>
  published: boolean
  created_at: string
  updated_at: string
  /** In lists. */
  session_count?: number
  total_runs?: number
  last_run_at?: string | null
  /** What was stored and has no effect, or was ignored, in sentences. */
  warnings?: string[]
}

export type AgentChanges = {
  name?: string
  /** Null: the model of the project. */
  model?: string | null
  system_prompt?: string | null
  /** Replaced whole. */
  settings?: Record<string, unknown>
  /** False: no run of it may begin, and those that go on are stopped. */
  published?: boolean
}

/** A tool that can be given to agents. */
export type Tool = {
  /** Null: built in. */
  id: string | null
  name: string
  description: string
  type: string
  input_schema: Record<string, unknown>
  /** Where it sends what, with values of headers masked. Empty for built-in tools, and for who is no admin. */
  config: Record<string, unknown>
  created_at: string | null
}

/** A tool that an agent has. */
export type AgentTool = {
  id: string
  tool_type: 'builtin' | 'custom'
  tool_name: string
  tool_id: string | null
  config_override: Record<string, unknown>
  /** Who may call it, and what has to be approved: docs/approvals.md. */
  permissions: Record<string, unknown>
}

/** A knowledge base that an agent draws on. */
export type AgentKnowledgeBase = { id: string; knowledge_base_id: string; config: Record<string, unknown> }

/** A conversation with an agent. */
export type AgentSession = {
  session_id: string
  run_count: number
  first_message: string | null
  last_activity_at: string
  created_at: string
}

export type SessionMessage = {
  role: 'user' | 'assistant'
  content: string
  run_id: string
  timestamp: string
  citations?: Citation[]
}

type Page = { limit?: number; offset?: number }

/** Agents, what they have, and the conversations with them. Ids that are not the caller's to see throw `agent_not_found`. */
export function agentMethods(connection: Connection) {
  const of = (agentId: string, rest = '') => `api/agents/${encodeURIComponent(agentId)}${rest}`
  const get = async <Result>(path: string) => (await connection.call(path, { method: 'GET' })) as Result
  const send = async <Result>(method: 'POST' | 'PATCH' | 'DELETE', path: string, body?: Record<string, unknown>) =>
    (await connection.call(path, { method, ...(body ? { body } : {}) })) as Result

  return {
    /** The agents of the tenant; `q` is looked for in their names. */
    async listAgents(page: Page & { q?: string } = {}): Promise<{ agents: Agent[]; total: number }> {
      return await get(`api/agents${searchParams(page)}`)
    },

    /** Throws `agent_not_found`. */
    async getAgent(id: string): Promise<Agent> {
      return await get(of(id))
    },

    /** Makes an agent, which belongs to the caller. Throws `forbidden` for viewers, `invalid_request`, `limit_reached`. */
    async createAgent(agent: AgentChanges & { name: string }): Promise<Agent> {
      return await send('POST', 'api/agents', agent)
    },

    /** Throws `forbidden` for who is neither its creator nor an admin. */
    async updateAgent(id: string, changes: AgentChanges): Promise<Agent> {
      return await send('PATCH', of(id), changes)
    },

    /** Deletes an agent; its runs stay. Unknown ids are fine. Throws `forbidden`, and `conflict` for the default one. */
    async deleteAgent(id: string): Promise<void> {
      await send('DELETE', of(id))
    },

    /** What can be given to agents: the built-in tools, and those of the tenant. */
    async listTools(): Promise<Tool[]> {
      return (await get<{ tools: Tool[] }>('api/tools')).tools
    },

    async agentTools(agentId: string): Promise<AgentTool[]> {
      return (await get<{ tools: AgentTool[] }>(of(agentId, '/tools'))).tools
    },

    /**
     * Gives an agent a tool: a built-in one by name, one of the tenant with its id. Throws `forbidden`: tools that send data out
     * and permissions are for admins; `conflict` for a second one of the name.
     */
    async addAgentTool(
      agentId: string,
      tool: {
        name: string
        toolId?: string
        configOverride?: Record<string, unknown>
        permissions?: Record<string, unknown>
      },
    ): Promise<AgentTool> {
      return await send('POST', of(agentId, '/tools'), {
        tool_name: tool.name,
        ...(tool.toolId ? { tool_type: 'custom', tool_id: tool.toolId } : {}),
        ...(tool.configOverride ? { config_override: tool.configOverride } : {}),
        ...(tool.permissions ? { permissions: tool.permissions } : {}),
      })
    },

    /** Throws `not_found` and `forbidden`. */
    async updateAgentTool(
      agentId: string,
      assignmentId: string,
      changes: { configOverride?: Record<string, unknown>; permissions?: Record<string, unknown> },
    ): Promise<AgentTool> {
      return await send('PATCH', of(agentId, `/tools/${encodeURIComponent(assignmentId)}`), {
        ...(changes.configOverride ? { config_override: changes.configOverride } : {}),
        ...(changes.permissions ? { permissions: changes.permissions } : {}),
      })
    },

    /** Throws `not_found` and `forbidden`. */
    async removeAgentTool(agentId: string, assignmentId: string): Promise<void> {
      await send('DELETE', of(agentId, `/tools/${encodeURIComponent(assignmentId)}`))
    },

    async agentKnowledgeBases(agentId: string): Promise<AgentKnowledgeBase[]> {
      return (await get<{ knowledge_bases: AgentKnowledgeBase[] }>(of(agentId, '/knowledge-bases'))).knowledge_bases
    },

    /** Linking grants nothing: search runs with the rights of whoever asks. Throws `conflict`, `not_found`, `forbidden`. */
    async linkKnowledgeBase(agentId: string, knowledgeBaseId: string): Promise<AgentKnowledgeBase> {
      return await send('POST', of(agentId, '/knowledge-bases'), { knowledge_base_id: knowledgeBaseId })
    },

    /** @param assignmentId `AgentKnowledgeBase.id`. Throws `not_found` and `forbidden`. */
    async unlinkKnowledgeBase(agentId: string, assignmentId: string): Promise<void> {
      await send('DELETE', of(agentId, `/knowledge-bases/${encodeURIComponent(assignmentId)}`))
    },

    /** The caller's own conversations with an agent, the latest first. */
    async listSessions(
      agentId: string,
      page: Page & { search?: string } = {},
    ): Promise<{ sessions: AgentSession[]; total: number }> {
      return await get(of(agentId, `/sessions${searchParams(page)}`))
    },

    /** The questions and answers of a conversation that were completed. Throws `session_not_found`. */
    async sessionMessages(sessionId: string, limit?: number): Promise<SessionMessage[]> {
      const path = `api/sessions/${encodeURIComponent(sessionId)}/messages${searchParams({ limit })}`
      return (await get<{ messages: SessionMessage[] }>(path)).messages
    },

    /** Deletes a conversation with its runs. Throws `session_not_found`. */
    async deleteSession(sessionId: string): Promise<void> {
      await send('DELETE', `api/sessions/${encodeURIComponent(sessionId)}`)
    },
  }
}
