import { Hono } from 'hono'
import type { Context } from 'hono'
import { actsOn, narrowTo } from '../../_shared/context.ts'
import type { Db } from '../../_shared/context.ts'
import { describeError, fromPostgrest, missing, unwrap } from '../../_shared/errors.ts'
import { parseLenientBody, uuidParam, warningsField } from '../../_shared/http.ts'
import { citationOf } from '../../_shared/citations.ts'
import { createPrincipal } from '../../_shared/principal.ts'
import type { ChatRequest } from '../../_shared/providers/index.ts'
import { RUN_COLUMNS, citationsOf, presentRun, toolCallsOf } from '../../_shared/run-rows.ts'
import type { RunRow } from '../../_shared/run-rows.ts'
import { historyMessages, startRun } from '../../_shared/runs.ts'
import type { StartedRun } from '../../_shared/runs.ts'
import { background } from '../../_shared/runtime.ts'
import { SSE_HEADERS, createSseChannel, numbered } from '../../_shared/sse.ts'
import { findAgent } from '../../_shared/execution/agent.ts'
import type { ApiEnv } from '../env.ts'
import { equip, runtimeKnowledgeBases } from '../../_shared/execution/equipment.ts'
import { executeRun } from '../../_shared/execution/execution.ts'
import type { Execution } from '../../_shared/execution/outcome.ts'
import { collectRunContext } from '../../_shared/execution/run-context.ts'
import { checkRunRequest, runRequest } from '../../_shared/execution/run-request.ts'
import type { RunRequest } from '../../_shared/execution/run-request.ts'

/** A stream ends itself before the shortest wall-clock limit of the platform (150 s). */
const DEFAULT_TIMEOUT_SECONDS = 120
const DEFAULT_MAX_STEPS = 25

const numberSetting = (settings: Record<string, unknown>, name: string, min: number, max: number) => {
  const value = settings[name]
  return typeof value === 'number' && value >= min && value <= max ? value : undefined
}

const textSetting = (settings: Record<string, unknown>, name: string) => {
  const value = settings[name]
  return typeof value === 'string' && value.trim() !== '' ? value : undefined
}
const EFFORTS = ['low', 'medium', 'high'] as const

/** How the agent's settings and the request together want the model asked. */
function samplingOf(settings: Record<string, unknown>, body: RunRequest): Partial<ChatRequest> {
  const temperature = body.temperature ?? numberSetting(settings, 'temperature', 0, 2)
  const maxTokens = numberSetting(settings, 'max_tokens', 1, 1_000_000)
  const effort = EFFORTS.find((known) => known === settings['reasoning_effort'])
  const reasoningEffort = effort ?? (body.reasoning_requested ? 'medium' : undefined)
  return {
    ...(temperature === undefined ? {} : { temperature }),
    ...(maxTokens === undefined ? {} : { maxTokens }),
    ...(reasoningEffort === undefined ? {} : { reasoningEffort }),
    ...(body.response_format ? { responseFormat: body.response_format } : {}),
  }
}

/**
 * Whether an earlier turn of the session had context or called tools. What it read may have told it what to say, and that
 * answer is history now: a clean beginning would wash the taint off.
 */
async function hasReadUntrusted(db: Db, run: StartedRun): Promise<boolean> {
  if (run.history.length === 0) return false
  const rows = unwrap<{ id: string }[]>(
    await db
      .schema('ai')
      .from('agent_runs')
      .select('id')
      .eq('session_id', run.session_uuid)
      .neq('id', run.id)
      .or('tool_call_count.gt.0,retrieved_context.neq.[]')
      .limit(1),
  )
  return rows.length > 0
}

/** Everything that can still be answered with an HTTP status: checks, context, opening the run. */
async function prepare(c: Context<ApiEnv>, streams: boolean): Promise<Execution> {
  const agentId = uuidParam(c, 'id', 'agent')
  const { body, warnings } = await parseLenientBody(c, runRequest)
  checkRunRequest(body, streams)
  const { deps } = c.var
  const agent = await findAgent(c.var.db, agentId)
  // Whatever else the caller may see, the run sees the agent's tenant only.
  const reader = narrowTo(c, agent.tenant_id)
  const { db } = reader
  const context = await collectRunContext(reader, deps, body, agent.settings)
  const runtimeBases = await runtimeKnowledgeBases(db, body.runtime_knowledge_bases ?? [])
  const run = await startRun(db, {
    agentId: agent.id,
    sessionId: body.session_id || null,
    message: body.message,
    model: deps.chat.modelFor(agent.model),
    provider: deps.chat.name,
    context: context.citable ? context.items : [],
    contextHandlerId: context.handlerId,
  })
  const messages = [...historyMessages(run.history), { role: 'user' as const, content: body.message }]
  const citations = context.citable && body.citations_enabled === true
  const timeout = body.timeout_seconds ?? numberSetting(agent.settings, 'timeout_seconds', 1, 600)
  return {
    run,
    request: {
      ...(agent.model === null ? {} : { model: agent.model }),
      system: agent.system_prompt ?? '',
      messages,
      context: context.items,
      citations,
      ...samplingOf(agent.settings, body),
    },
    principal: createPrincipal(deps, reader.caller, run, agent.id),
    equip: (parts) =>
      equip(deps, { ...parts, withTools: streams, citations, runtimeBases, searches: body.knowledge_search !== false }),
    maxSteps: numberSetting(agent.settings, 'max_steps', 1, 100) ?? DEFAULT_MAX_STEPS,
    fallbackModel: textSetting(agent.settings, 'fallback_model') ?? null,
    isTainted: streams && (await hasReadUntrusted(db, run)),
    contextHandlerId: context.handlerId,
    knownTexts: [
      ...context.items.map((item) => item.text),
      ...messages.map((m) => m.content),
      agent.system_prompt ?? '',
    ],
    reasoningRequested: body.reasoning_requested === true || agent.settings['reasoning_effort'] !== undefined,
    timeoutMs: (timeout ?? DEFAULT_TIMEOUT_SECONDS) * 1000,
    warnings: [...warnings, ...context.warnings],
    retrievalWarning: context.retrievalWarning,
  }
}

/** Runs of agents. `/run` is one model call; `/run/stream` goes on in steps while the model calls tools. */
export const runs = new Hono<ApiEnv>()
  .get('/runs/:run_id', actsOn('run', 'run_id'), async (c) => {
    const runId = c.req.param('run_id')
    if (!/^run_[0-9a-f]{12}$/.test(runId)) throw missing('run')
    const { data, error } = await c.var.db
      .schema('ai')
      .from('agent_runs')
      .select(RUN_COLUMNS)
      .eq('run_id', runId)
      .maybeSingle<RunRow>()
    if (error) throw fromPostgrest(error)
    if (data === null) throw missing('run')
    const [citations, toolCalls] = await Promise.all([
      citationsOf(c.var.db, [data.id]),
      toolCallsOf(c.var.db, [data.id]),
    ])
    return c.json({
      ...presentRun(data, toolCalls.get(data.id) ?? []),
      citations: citations.get(data.id) ?? [],
    })
  })
  .post('/:id/run', actsOn('agent'), async (c) => {
    const execution = await prepare(c, false)
    const { deps } = c.var
    // In the background: a caller who hangs up does not cancel the run.
    const outcome = await background(
      executeRun(deps, execution, () => {}),
      (error) => {
        deps.log.error('run_crashed', { run_id: execution.run.run_id, error: describeError(error) })
      },
    )
    const { run, request } = execution
    if (outcome === undefined) {
      return c.json(
        { error: 'Something went wrong.', code: 'internal', run_id: run.run_id, request_id: c.var.requestId },
        500,
      )
    }
    return c.json({
      run_id: run.run_id,
      session_id: run.session_id,
      context_handler_id: execution.contextHandlerId,
      content: outcome.content,
      error: outcome.error,
      ...(outcome.errorCode === null ? {} : { code: outcome.errorCode }),
      usage: outcome.usage,
      retrieved_items: request.context.length,
      status: outcome.status,
      is_new_session: run.is_new_session,
      ...(outcome.citations === null
        ? {}
        : {
            citation_candidates: request.context.map(citationOf),
            citations: outcome.citations,
            invalid_citation_count: outcome.invalidCitationCount,
          }),
      provider: deps.chat.name,
      model: deps.chat.modelFor(request.model),
      ...(execution.retrievalWarning === null ? {} : { warning: execution.retrievalWarning }),
      ...warningsField(outcome.warnings),
    })
  })
  .post('/:id/run/stream', actsOn('agent'), async (c) => {
    const execution = await prepare(c, true)
    const { deps } = c.var
    const channel = createSseChannel()
    void background(executeRun(deps, execution, numbered(channel.send)), (error) => {
      deps.log.error('run_crashed', { run_id: execution.run.run_id, error: describeError(error) })
    }).finally(channel.close)
    return c.body(channel.stream, 200, SSE_HEADERS)
  })
