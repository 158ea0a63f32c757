import { answer, answerWithTools } from './answers.ts'
import type { Work } from './answers.ts'
import { createAnswerFilter } from '../answer-filter.ts'
import { citationOf } from '../citations.ts'
import { startClock } from '../clock.ts'
import type { Clock } from '../clock.ts'
import type { Deps } from '../context.ts'
import { AppError, describeError, toAppError } from '../errors.ts'
import type { WithChat } from '../providers/index.ts'
import { holdRunLease, runLost } from '../runs.ts'
import type { Emit } from '../sse.ts'
import { failed, nothing } from './outcome.ts'
import type { Equipment, Execution, RunOutcome } from './outcome.ts'
import { recordEvents } from './run-trace.ts'

/**
 * Carries out one run: filtered, streamed and stored. It never throws: whatever happens ends in the events of the agent
 * API, `complete` last, and in the stored run.
 */
export async function executeRun(deps: Deps & WithChat, execution: Execution, send: Emit): Promise<RunOutcome> {
  const { run, request } = execution
  const startedAt = Date.now()
  const { emit, events } = recordEvents(send)
  emit('start', {
    run_id: run.run_id,
    session_id: run.session_id,
    context_handler_id: execution.contextHandlerId,
    reasoning_requested: execution.reasoningRequested,
    ...(request.citations ? { citation_candidates: request.context.map(citationOf) } : {}),
  })
  const stop = new AbortController()
  const release = holdRunLease(deps, run, stop)
  const clock = startClock(execution.timeoutMs, () =>
    stop.abort(new AppError('upstream_timeout', 'The run took too long.')),
  )
  let outcome = nothing(execution)
  try {
    outcome = await carryOut(deps, execution, { emit, signal: stop.signal, clock })
    outcome = await store(deps, execution, outcome, events)
  } finally {
    release()
    clock.stop()
  }
  finish(deps, execution, outcome, emit)
  deps.log.info('run_finished', {
    run_id: run.run_id,
    status: outcome.status,
    code: outcome.errorCode,
    duration_ms: Date.now() - startedAt,
    steps: outcome.steps.length,
    tool_calls: outcome.toolCalls.length,
    total_tokens: outcome.usage.total_tokens,
  })
  return outcome
}

/** Equips the run, answers, and lets the hooks of its beginning and end act. */
async function carryOut(
  deps: Deps & WithChat,
  execution: Execution,
  { emit, signal, clock }: { emit: Emit; signal: AbortSignal; clock: Clock },
): Promise<RunOutcome> {
  const { run, request, principal } = execution
  let key = Math.max(0, ...request.context.map((item) => item.key))
  let equipment: Equipment | null = null
  let outcome = nothing(execution)
  try {
    equipment = await execution.equip({ run, principal, emit, signal, clock, nextKey: () => ++key })
    const work: Work = { deps, execution, emit, signal, equipment }
    const start = await equipment.hooks.run({
      event: 'OnRunStart',
      tool_name: null,
      data: { message: request.messages.at(-1)?.content ?? '' },
    })
    if (start.blocked !== null) throw new AppError('forbidden', start.blocked)
    const given = equipment.tools.length > 0 ? await answerWithTools(work) : await answer(work)
    outcome = { ...given.outcome, warnings: [...execution.warnings, ...equipment.warnings] }
    outcome = await beforeResponse(work, outcome)
    tell(work, outcome, given.thoughts)
    await afterRun(work, outcome)
    return outcome
  } catch (error) {
    const failure = toAppError(signal.aborted && signal.reason instanceof AppError ? signal.reason : error)
    deps.log.error('run_failed', { run_id: run.run_id, code: failure.code, error: describeError(error) })
    // What hooks have not let through is not given out.
    return failed({ ...outcome, content: '', citations: outcome.citations === null ? null : [] }, failure)
  } finally {
    await equipment?.close()
  }
}

/** The whole answer at the end of its pieces, and what was reasoned for it. */
function tell({ emit, equipment }: Work, outcome: RunOutcome, thoughts: string): void {
  if (outcome.content !== '' || outcome.status === 'completed' || equipment.tools.length > 0) {
    emit('chunk', { content: outcome.content })
  }
  if (thoughts !== '') {
    emit('reasoning', { step: 1, step_number: 1, source: 'thinking', content: thoughts, text: thoughts })
  }
}

/** Tells hooks that the run is over; they change nothing any more. */
async function afterRun({ deps, emit, equipment, execution }: Work, outcome: RunOutcome): Promise<void> {
  if (!equipment.hooks.has('OnRunComplete')) return
  const data = { status: outcome.status, steps: outcome.steps.length }
  try {
    await equipment.hooks.run({ event: 'OnRunComplete', tool_name: null, data })
  } catch (error) {
    deps.log.error('hook_failed', { run_id: execution.run.run_id, error: describeError(error) })
  }
  emit('on_run_complete', data)
}

/** Lets PreResponse hooks change or replace a finished answer. Deltas that were streamed are out; the stored text is this. */
async function beforeResponse({ equipment, execution }: Work, outcome: RunOutcome): Promise<RunOutcome> {
  if (outcome.status === 'failed' || !equipment.hooks.has('PreResponse')) return outcome
  const verdict = await equipment.hooks.run({
    event: 'PreResponse',
    tool_name: null,
    data: { content: outcome.content },
  })
  const replaced = verdict.blocked ?? verdict.modifiedOutput
  if (replaced === null) return outcome
  const filter = createAnswerFilter({ keys: null, knownTexts: execution.knownTexts })
  return {
    ...outcome,
    content: filter.push(replaced) + filter.end(),
    citations: outcome.citations === null ? null : [],
  }
}

/** Stores how the run ended. An answer that could not be stored must not pass for a finished run. */
async function store(
  deps: Deps,
  { run }: Execution,
  outcome: RunOutcome,
  events: Record<string, unknown>[],
): Promise<RunOutcome> {
  try {
    await deps.ledger.recordRunTrace({
      runId: run.id,
      leaseToken: run.lease_token,
      steps: outcome.steps,
      events,
      reasoningSteps: outcome.reasoning,
      toolCalls: outcome.toolCalls,
    })
    const isStored = await deps.ledger.finishRun({
      runId: run.id,
      leaseToken: run.lease_token,
      status: outcome.status,
      content: outcome.content,
      usage: outcome.usage,
      ...(outcome.error === null ? {} : { error: outcome.error }),
      ...(outcome.errorCode === null ? {} : { errorCode: outcome.errorCode }),
      citations: outcome.citations ?? [],
      invalidCitationCount: outcome.invalidCitationCount,
    })
    return isStored ? outcome : failed(outcome, runLost())
  } catch (error) {
    deps.log.error('finish_run_failed', { run_id: run.run_id, error: describeError(error) })
    return failed(outcome, new AppError('unavailable', 'The answer could not be stored.'))
  }
}

function finish(deps: WithChat, execution: Execution, outcome: RunOutcome, emit: Emit): void {
  const { run, request, contextHandlerId } = execution
  if (outcome.status === 'failed') {
    emit('error', {
      error: outcome.error,
      message: outcome.error,
      code: outcome.errorCode,
      run_id: run.run_id,
      context_handler_id: contextHandlerId,
    })
  }
  emit('complete', {
    run_id: run.run_id,
    session_id: run.session_id,
    context_handler_id: contextHandlerId,
    content: outcome.content,
    retrieved_items: outcome.retrievedItems,
    is_new_session: run.is_new_session,
    status: outcome.status,
    steps: outcome.steps.length,
    tool_calls: outcome.toolCalls.map(({ step, tool_name, arguments: args, result, duration_ms, call_id }) => ({
      step,
      call_id,
      tool_name,
      arguments: args,
      result,
      duration_ms,
    })),
    usage: outcome.usage,
    error: outcome.error,
    ...(outcome.errorCode === null ? {} : { code: outcome.errorCode }),
    ...(outcome.citations === null
      ? {}
      : { citations: outcome.citations, invalid_citation_count: outcome.invalidCitationCount }),
    provider: deps.chat.name,
    model: deps.chat.modelFor(request.model),
    ...(execution.retrievalWarning === null ? {} : { warning: execution.retrievalWarning }),
    ...(outcome.warnings.length === 0 ? {} : { warnings: outcome.warnings }),
  })
}
