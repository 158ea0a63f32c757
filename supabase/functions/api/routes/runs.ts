import { Hono } from 'hono'
import type { Context } from 'hono'
import { actsOn, narrowTo } from '../../_shared/context.ts'
import { describeError, fromPostgrest, missing } from '../../_shared/errors.ts'
import { parseLenientBody, uuidParam, warningsField } from '../../_shared/http.ts'
import { citationOf } from '../../_shared/citations.ts'
import { RUN_COLUMNS, citationsOf, presentRun } from '../../_shared/run-rows.ts'
import type { RunRow } from '../../_shared/run-rows.ts'
import { historyMessages, startRun } from '../../_shared/runs.ts'
import { background } from '../../_shared/runtime.ts'
import { SSE_HEADERS, createSseChannel, numbered } from '../../_shared/sse.ts'
import { findAgent } from '../agent.ts'
import type { ApiEnv } from '../env.ts'
import { executeRun } from '../execution.ts'
import type { Execution } from '../execution.ts'
import { collectRunContext } from '../run-context.ts'
import { checkRunRequest, runRequest } from '../run-request.ts'

/** A stream ends itself before the shortest wall-clock limit of the platform (150 s). */
const DEFAULT_TIMEOUT_SECONDS = 120

const numberSetting = (settings: Record<string, unknown>, name: string, min: number, max: number) => {
  const value = settings[name]
  return typeof value === 'number' && value >= min && value <= max ? value : undefined
}

/** Everything that can still be answered with an HTTP status: checks, context, opening the run. */
async function prepare(c: Context<ApiEnv>, streams: boolean): Promise<Execution> {
  const agentId = uuidParam(c, 'id', 'agent')
  const { body, warnings } = await parseLenientBody(c, runRequest)
  warnings.push(...checkRunRequest(body, streams))
  const { deps } = c.var
  const agent = await findAgent(c.var.db, agentId)
  // Whatever else the caller may see, the run sees the agent's tenant only.
  const reader = narrowTo(c, agent.tenant_id)
  const { db } = reader
  const context = await collectRunContext(reader, deps, body, agent.settings)
  const model = deps.chat.modelFor(agent.model)
  const run = await startRun(db, {
    agentId: agent.id,
    sessionId: body.session_id || null,
    message: body.message,
    model,
    provider: deps.chat.name,
    context: context.citable ? context.items : [],
  })
  const messages = [...historyMessages(run.history), { role: 'user' as const, content: body.message }]
  const temperature = body.temperature ?? numberSetting(agent.settings, 'temperature', 0, 2)
  const maxTokens = numberSetting(agent.settings, 'max_tokens', 1, 1_000_000)
  const timeout = body.timeout_seconds ?? numberSetting(agent.settings, 'timeout_seconds', 1, 600)
  return {
    run,
    request: {
      ...(agent.model === null ? {} : { model: agent.model }),
      system: agent.system_prompt ?? '',
      messages,
      context: context.items,
      citations: context.citable && body.citations_enabled === true,
      ...(temperature === undefined ? {} : { temperature }),
      ...(maxTokens === undefined ? {} : { maxTokens }),
    },
    knownTexts: [
      ...context.items.map((item) => item.text),
      ...messages.map((m) => m.content),
      agent.system_prompt ?? '',
    ],
    reasoningRequested: body.reasoning_requested === true,
    timeoutMs: (timeout ?? DEFAULT_TIMEOUT_SECONDS) * 1000,
    warnings: [...warnings, ...context.warnings],
    retrievalWarning: context.retrievalWarning,
  }
}

/** Runs of agents: one model call each. */
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
    const citations = (await citationsOf(c.var.db, [data.id])).get(data.id) ?? []
    return c.json({ ...presentRun(data), citations })
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
      context_handler_id: null,
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
      ...warningsField(execution.warnings),
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
