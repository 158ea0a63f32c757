import type { McpServer } from '../sdk.ts'
import type { CallToolResult } from '../sdk.ts'
import { z } from 'zod'
import type { Db } from '../../_shared/context.ts'
import { cutText } from '../../_shared/cut-text.ts'
import { missing, unwrap } from '../../_shared/errors.ts'
import { isUuid } from '../../_shared/ids.ts'
import { NOT_DONE } from '../agent-api.ts'
import { MAX_RESULT_CHARS, answered, jsonResult } from '../tool-context.ts'
import type { ToolContext } from '../tool-context.ts'

/** An agent that the caller can see. */
export type Agent = { id: string; name: string }

/** Agents that become tools of their own, and that `list_agents` names; `ask_agent` reaches the others. */
const MAX_AGENTS = 50
/** Names of tools that are agents begin so. */
export const AGENT_TOOL_PREFIX = 'agent_'
const MAX_SLUG_CHARS = 40

const question = {
  message: z.string().min(1).max(100_000).describe('What to ask the agent.'),
  session_id: z
    .string()
    .max(200)
    .optional()
    .describe('Goes on with an earlier conversation, as the answer named it. Absent: a new one.'),
}

/** The agents that the caller may ask, the tenants' default ones first. @throws AppError what the database refuses. */
export async function readAgents(db: Db): Promise<Agent[]> {
  return unwrap(
    await db
      .schema('ai')
      .from('agents')
      .select('id,name')
      .eq('published', true)
      .order('is_default', { ascending: false })
      .order('created_at')
      .order('id')
      .limit(MAX_AGENTS)
      .returns<Agent[]>(),
  )
}

/** A readable name for the tool that an agent is, which no other agent has unless their ids begin alike. */
function shortToolName({ id, name }: Agent): string {
  const words = name
    .normalize('NFKD')
    .toLowerCase()
    .match(/[a-z0-9]+/g)
  const slug = words ? `${words.join('_').slice(0, MAX_SLUG_CHARS)}_` : ''
  return `${AGENT_TOOL_PREFIX}${slug}${id.replaceAll('-', '').slice(0, 12)}`
}

/** Agents with the names of the tools they are. Where two would have the same, each is called by its whole id. */
function namedAgents(agents: readonly Agent[]): (Agent & { tool: string })[] {
  const short = agents.map(shortToolName)
  return agents.map((agent, index) => {
    const tool = short[index] ?? ''
    const isUnique = short.indexOf(tool) === short.lastIndexOf(tool)
    return { ...agent, tool: isUnique ? tool : AGENT_TOOL_PREFIX + agent.id.replaceAll('-', '') }
  })
}

async function ask(
  { caller, deps, requestId }: ToolContext,
  agentId: string,
  { message, session_id: sessionId }: { message: string; session_id?: string | undefined },
): Promise<CallToolResult> {
  if (!isUuid(agentId)) throw missing('agent')
  const answer = await deps.agentApi.run(caller, { agentId, message, sessionId, requestId })
  const { run_id, session_id, content, error } = answer
  const problem = answer.isDone ? error : NOT_DONE
  const said = content ? [cutText(content, MAX_RESULT_CHARS)] : problem ? [] : ['The agent answered nothing.']
  const texts = [...said, ...(problem ? [`Error: ${problem}`] : []), JSON.stringify({ session_id, run_id })]
  return { content: texts.map((text) => ({ type: 'text', text })), ...(problem ? { isError: true } : {}) }
}

/** `list_agents`, `ask_agent`, and one tool for each of the agents: they run as the caller. */
export function registerAgents(server: McpServer, context: ToolContext, agents: readonly Agent[]): void {
  server.registerTool(
    'list_agents',
    {
      title: 'List agents',
      description: `Names the agents that can be asked, at most ${MAX_AGENTS}. Gives JSON: agents, each with id, name and tool.`,
      annotations: { readOnlyHint: true, openWorldHint: false },
    },
    () =>
      answered(context, 'list_agents', async () => {
        const found = await readAgents(context.db)
        return jsonResult({ agents: namedAgents(found) })
      }),
  )
  server.registerTool(
    'ask_agent',
    {
      title: 'Ask an agent',
      description:
        'Asks an agent and waits for its answer. Gives the answer, and JSON with the session_id to go on with the conversation.',
      inputSchema: { agent_id: z.string().max(100).describe('Id of the agent, as list_agents gives it.'), ...question },
    },
    ({ agent_id, ...asked }) => answered(context, 'ask_agent', () => ask(context, agent_id, asked)),
  )
  for (const agent of namedAgents(agents)) {
    server.registerTool(
      agent.tool,
      {
        title: agent.name,
        description: `Asks the agent ${JSON.stringify(agent.name)} and waits for its answer. Gives the answer, and JSON with the session_id to go on with the conversation.`,
        inputSchema: question,
      },
      (asked) => answered(context, 'agent', () => ask(context, agent.id, asked)),
    )
  }
}
