import { z } from 'zod'
import type { ErrorCode } from '../_shared/errors.ts'
import { hookRequest } from './hook-config.ts'
import { AGENT, THING, bad, deleted, fields, list, page, route, said } from './openapi-route.ts'
import type { DocumentedRoute } from './openapi-route.ts'
import * as shape from './openapi-shapes.ts'
import { assignmentRequest as knowledgeBaseLinkRequest } from './routes/agent-knowledge-bases.ts'
import { mcpServerPatch, mcpServerRequest } from './routes/agent-mcp-servers.ts'
import { sessionRequest } from './routes/agent-sessions.ts'
import { agentPatch, agentRequest } from './routes/agents.ts'
import { approvalRequest, approvalsQuery, decisionRequest } from './routes/approvals.ts'
import { callDecisionRequest } from './routes/runs.ts'
import { toolPatch, toolRequest } from './routes/tools.ts'
import { runRequest } from '../_shared/execution/run-request.ts'
import { assignmentPatch, assignmentRequest } from './tool-assignment.ts'

const agent = route('Agents')
const AGENTS: DocumentedRoute[] = [
  agent('get', '/agents', 'Lists agents', 200, fields({ agents: z.array(shape.listedAgent), ...shape.page }), {
    query: list('created_at', 'name', 'updated_at', 'last_run_at'),
    errors: bad([]),
  }),
  agent('post', '/agents', 'Creates an agent', 201, shape.newAgent, { body: agentRequest, errors: bad([]) }),
  agent('get', '/agents/{id}', 'Reads an agent', 200, shape.agent, { errors: AGENT }),
  agent('patch', '/agents/{id}', 'Changes an agent', 200, shape.agent, { body: agentPatch, errors: bad(AGENT) }),
  agent('delete', '/agents/{id}', 'Deletes an agent; unknown ids too', 200, said, { errors: ['conflict'] }),
  agent('post', '/agents/{id}/tools', 'Gives an agent a tool', 201, shape.newToolAssignment, {
    body: assignmentRequest,
    errors: bad([...AGENT, 'tool_not_found', 'conflict', 'limit_reached']),
  }),
  agent(
    'get',
    '/agents/{id}/tools',
    'Lists the tools of an agent',
    200,
    fields({ tools: z.array(shape.toolAssignment) }),
    {
      errors: AGENT,
    },
  ),
  agent('patch', '/agents/{id}/tools/{assignment_id}', 'Configures a tool of an agent', 200, shape.toolAssignment, {
    body: assignmentPatch,
    errors: bad([...AGENT, ...THING]),
  }),
  agent('delete', '/agents/{id}/tools/{assignment_id}', 'Takes a tool from an agent', 200, deleted, {
    errors: [...AGENT, ...THING],
  }),
  agent('post', '/agents/{id}/knowledge-bases', 'Links a knowledge base', 201, shape.newKnowledgeBaseLink, {
    body: knowledgeBaseLinkRequest,
    errors: bad([...AGENT, ...THING, 'conflict']),
  }),
  agent(
    'get',
    '/agents/{id}/knowledge-bases',
    'Lists linked knowledge bases',
    200,
    fields({ knowledge_bases: z.array(shape.knowledgeBaseLink) }),
    { errors: AGENT },
  ),
  agent('delete', '/agents/{id}/knowledge-bases/{assignment_id}', 'Unlinks a knowledge base', 200, deleted, {
    errors: [...AGENT, ...THING],
  }),
  agent('post', '/agents/{id}/mcp-servers', 'Connects an MCP server and accepts its tools', 201, shape.mcpServer, {
    body: mcpServerRequest,
    errors: bad([...AGENT, 'conflict', 'limit_reached']),
  }),
  agent(
    'get',
    '/agents/{id}/mcp-servers',
    'Lists MCP servers',
    200,
    fields({ mcp_servers: z.array(shape.mcpServer) }),
    {
      errors: AGENT,
    },
  ),
  agent('put', '/agents/{id}/mcp-servers/{server_id}', 'Changes an MCP server', 200, shape.mcpServer, {
    body: mcpServerPatch,
    errors: bad([...AGENT, ...THING, 'conflict']),
  }),
  agent('delete', '/agents/{id}/mcp-servers/{server_id}', 'Disconnects an MCP server', 200, deleted, {
    errors: [...AGENT, ...THING],
  }),
  agent(
    'get',
    '/agents/{id}/mcp-servers/{server_id}/tools',
    'Asks an MCP server for its tools',
    200,
    fields({ tools: z.array(shape.mcpTool) }),
    { errors: [...AGENT, ...THING, 'upstream_failed', 'upstream_timeout'], statuses: { upstream_timeout: 502 } },
  ),
  agent('post', '/agents/{id}/hooks', 'Adds a hook', 201, shape.hook, {
    body: hookRequest,
    errors: bad([...AGENT, 'limit_reached']),
  }),
  agent('get', '/agents/{id}/hooks', 'Lists hooks by position', 200, fields({ hooks: z.array(shape.hook) }), {
    errors: AGENT,
  }),
  agent('delete', '/agents/{id}/hooks/{hook_id}', 'Removes a hook', 200, deleted, { errors: [...AGENT, ...THING] }),
  agent(
    'get',
    '/agents/{id}/sessions',
    'Lists the caller’s sessions with an agent',
    200,
    fields({ sessions: z.array(shape.listedSession), ...shape.page }),
    {
      query: {
        ...page,
        search: z.string().max(200).describe('Part of the id or of the first message.'),
        created_after: z.iso.datetime({ offset: true }),
        created_before: z.iso.datetime({ offset: true }),
        min_runs: z.int(),
        max_runs: z.int(),
      },
      errors: bad(AGENT),
    },
  ),
  agent('post', '/agents/{id}/sessions', 'Opens a session', 201, fields({ session_id: z.string() }), {
    body: sessionRequest,
    isBodyOptional: true,
    errors: bad(AGENT),
  }),
  agent('delete', '/agents/{id}/sessions/{session_id}', 'Deletes a session', 204, null, {
    errors: [...AGENT, 'session_not_found'],
  }),
]

const run = route('Runs')
const namedRunRequest = runRequest.meta({ id: 'RunRequest' })
const RUN_ERRORS: ErrorCode[] = [
  'invalid_request',
  'insufficient_credits',
  'budget_exceeded',
  'agent_not_found',
  'session_not_found',
  'not_found',
  'conflict',
  'agent_unpublished',
  'session_busy',
  'idempotency_conflict',
  'limit_reached',
]
const RUNS: DocumentedRoute[] = [
  run('post', '/agents/{id}/run', 'Runs an agent without tools', 200, shape.runAnswer, {
    accepted: shape.acceptedRun,
    body: namedRunRequest,
    errors: [...RUN_ERRORS, 'membership_lost'],
  }),
  run('post', '/agents/{id}/run/stream', 'Runs an agent and streams what happens', 200, 'events', {
    body: namedRunRequest,
    errors: RUN_ERRORS,
  }),
  run('get', '/agents/runs/{run_id}/stream', 'Streams what has happened in a run, and what happens', 200, 'events', {
    query: {
      after: z
        .int()
        .min(0)
        .describe(
          'Number of the last event that is known. The header Last-Event-ID says it too; the later one counts.',
        ),
    },
    errors: bad(THING),
  }),
  run('post', '/agents/runs/{run_id}/cancel', 'Cancels a run', 200, shape.runStanding, {
    errors: [...THING, 'run_not_active'],
  }),
  run(
    'post',
    '/agents/runs/{run_id}/calls/{call_id}/decide',
    'Decides about a tool call that was interrupted',
    200,
    shape.runStanding,
    { body: callDecisionRequest, errors: bad(THING) },
  ),
  run('get', '/agents/runs/{run_id}', 'Reads a run', 200, shape.run, { errors: THING }),
  run('post', '/agents/runs/{run_id}/approve', 'Decides about the tool call that waits', 200, shape.decision, {
    body: approvalRequest,
    errors: bad(['approval_not_found', 'not_found', 'conflict']),
  }),
]

const approval = route('Approvals')
const APPROVALS: DocumentedRoute[] = [
  approval(
    'get',
    '/approvals',
    'Lists the calls that wait for the caller’s decision, or those that were decided',
    200,
    fields({ approvals: z.array(shape.approval), limit: z.int(), offset: z.int() }),
    { query: { ...approvalsQuery.shape, ...page }, errors: bad([]) },
  ),
  approval('post', '/approvals/{id}/decide', 'Decides about a call that waits', 200, shape.decision, {
    body: decisionRequest,
    errors: bad(['approval_not_found', 'conflict']),
  }),
]

const session = route('Sessions')
const SESSION: ErrorCode[] = ['session_not_found']
const SESSIONS: DocumentedRoute[] = [
  session('get', '/sessions/{id}', 'Reads a session', 200, shape.session, { errors: SESSION }),
  session(
    'get',
    '/sessions/{id}/messages',
    'Reads the messages of completed runs',
    200,
    fields({ session_id: z.string(), messages: z.array(shape.message) }),
    { query: { limit: z.int() }, errors: SESSION },
  ),
  session(
    'get',
    '/sessions/{id}/runs',
    'Lists the runs of a session',
    200,
    fields({ session_id: z.string(), runs: z.array(shape.run), limit: z.int(), offset: z.int() }),
    { query: page, errors: SESSION },
  ),
  session(
    'get',
    '/sessions/{id}/runs/{run_id}/retrieved-context',
    'Reads what a run was given',
    200,
    fields({ session_id: z.string(), run_id: z.string(), retrieved_context: z.array(z.unknown()) }),
    { errors: [...SESSION, ...THING] },
  ),
  session(
    'delete',
    '/sessions/{id}',
    'Deletes a session',
    200,
    fields({ success: z.literal(true), message: z.string() }),
    {
      errors: SESSION,
    },
  ),
]

const tool = route('Tools')
const TOOL: ErrorCode[] = ['tool_not_found']
const TOOLS: DocumentedRoute[] = [
  tool('get', '/tools', 'Lists built-in and custom tools', 200, fields({ tools: z.array(shape.listedTool) })),
  tool('post', '/tools', 'Creates a custom HTTP tool', 201, shape.listedTool, {
    body: toolRequest,
    errors: bad(['limit_reached']),
  }),
  tool('get', '/tools/{id}', 'Reads a tool', 200, shape.tool, { errors: TOOL }),
  tool('put', '/tools/{id}', 'Changes a tool', 200, fields({ id: z.uuid(), name: z.string() }), {
    body: toolPatch,
    errors: bad(TOOL),
  }),
  tool('delete', '/tools/{id}', 'Deletes a tool', 200, deleted, { errors: TOOL }),
]

/** Routes about agents and what they do. */
export const AGENT_ROUTES: readonly DocumentedRoute[] = [...AGENTS, ...RUNS, ...APPROVALS, ...SESSIONS, ...TOOLS]
