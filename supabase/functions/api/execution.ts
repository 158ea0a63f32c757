import { createAnswerFilter } from '../_shared/answer-filter.ts'
import { citationOf, citationsFor } from '../_shared/citations.ts'
import type { Citation } from '../_shared/citations.ts'
import type { Deps } from '../_shared/context.ts'
import { AppError, describeError, toAppError } from '../_shared/errors.ts'
import type { ErrorCode } from '../_shared/errors.ts'
import type { ChatRequest, Usage, WithChat } from '../_shared/providers/index.ts'
import { holdRunLease, runLost } from '../_shared/runs.ts'
import type { StartedRun } from '../_shared/runs.ts'
import type { Emit } from '../_shared/sse.ts'

/** A run that has been opened, with all it needs to be carried out. */
export type Execution = {
  run: StartedRun
  request: ChatRequest
  /** What the caller sent or may read: addresses in it may stay links in the answer. */
  knownTexts: string[]
  reasoningRequested: boolean
  /** Milliseconds after which the run is given up. */
  timeoutMs: number
  warnings: string[]
  retrievalWarning: string | null
}

/** How a run ended. */
export type RunOutcome = {
  status: 'completed' | 'failed'
  content: string
  usage: Usage
  error: string | null
  errorCode: ErrorCode | null
  /** Null when the answer was to carry no citations. */
  citations: Citation[] | null
  invalidCitationCount: number
}

const NO_USAGE: Usage = {
  prompt_tokens: 0,
  completion_tokens: 0,
  total_tokens: 0,
  reasoning_tokens: 0,
  cached_tokens: 0,
}

/**
 * Carries out one run: one model call, filtered, streamed and stored. It never throws: whatever happens ends in the
 * events of the agent API, `complete` last, and in the stored run.
 */
export async function executeRun(deps: Deps & WithChat, execution: Execution, emit: Emit): Promise<RunOutcome> {
  const { run, request } = execution
  const startedAt = Date.now()
  emit('start', {
    run_id: run.run_id,
    session_id: run.session_id,
    context_handler_id: null,
    reasoning_requested: execution.reasoningRequested,
    ...(request.citations ? { citation_candidates: request.context.map(citationOf) } : {}),
  })
  const stop = new AbortController()
  const release = holdRunLease(deps, run, stop)
  const timeout = setTimeout(
    () => stop.abort(new AppError('upstream_timeout', 'The run took too long.')),
    execution.timeoutMs,
  )
  let outcome: RunOutcome
  try {
    outcome = await answer(deps, execution, emit, stop.signal)
    outcome = await store(deps, run, outcome)
  } finally {
    release()
    clearTimeout(timeout)
  }
  finish(deps, execution, outcome, emit)
  deps.log.info('run_finished', {
    run_id: run.run_id,
    status: outcome.status,
    code: outcome.errorCode,
    duration_ms: Date.now() - startedAt,
    total_tokens: outcome.usage.total_tokens,
  })
  return outcome
}

async function answer(
  deps: Deps & WithChat,
  { request, knownTexts }: Execution,
  emit: Emit,
  signal: AbortSignal,
): Promise<RunOutcome> {
  const keys = request.citations ? new Set(request.context.map((item) => item.key)) : null
  const filter = createAnswerFilter({ keys, knownTexts })
  const thoughts = createAnswerFilter({ keys: null, knownTexts })
  let content = ''
  let reasoning = ''
  let usage = NO_USAGE
  let failure: AppError | null = null
  const give = (text: string) => {
    if (text === '') return
    content += text
    emit('content_delta', { delta: text })
  }
  const think = (text: string) => {
    if (text === '') return
    reasoning += text
    emit('reasoning_delta', { step: 1, step_number: 1, source: 'thinking', delta: text })
  }
  try {
    for await (const event of deps.chat.stream(request, signal)) {
      if (event.type === 'delta') give(filter.push(event.text))
      else if (event.type === 'reasoning') think(thoughts.push(event.text))
      else usage = event.usage
    }
  } catch (error) {
    failure = toAppError(signal.aborted && signal.reason instanceof AppError ? signal.reason : error)
    deps.log.error('model_failed', { code: failure.code, error: describeError(error) })
  }
  give(filter.end())
  think(thoughts.end())
  if (content !== '' || failure === null) emit('chunk', { content })
  if (reasoning !== '') {
    emit('reasoning', { step: 1, step_number: 1, source: 'thinking', content: reasoning, text: reasoning })
  }
  return {
    status: failure === null ? 'completed' : 'failed',
    content,
    usage,
    error: failure?.message ?? null,
    errorCode: failure?.code ?? null,
    citations: request.citations ? citationsFor(filter.used(), request.context) : null,
    invalidCitationCount: filter.invalidCount(),
  }
}

/** Stores how the run ended. An answer that could not be stored must not pass for a finished run. */
async function store(deps: Deps, run: StartedRun, outcome: RunOutcome): Promise<RunOutcome> {
  const lost = ({ message, code }: AppError): RunOutcome => ({
    ...outcome,
    status: 'failed',
    error: outcome.error ?? message,
    errorCode: outcome.errorCode ?? code,
  })
  try {
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
    return isStored ? outcome : lost(runLost())
  } catch (error) {
    deps.log.error('finish_run_failed', { run_id: run.run_id, error: describeError(error) })
    return lost(new AppError('unavailable', 'The answer could not be stored.'))
  }
}

function finish(deps: WithChat, execution: Execution, outcome: RunOutcome, emit: Emit): void {
  const { run, request } = execution
  if (outcome.status === 'failed') {
    emit('error', {
      error: outcome.error,
      message: outcome.error,
      code: outcome.errorCode,
      run_id: run.run_id,
      context_handler_id: null,
    })
  }
  emit('complete', {
    run_id: run.run_id,
    session_id: run.session_id,
    context_handler_id: null,
    content: outcome.content,
    retrieved_items: request.context.length,
    is_new_session: run.is_new_session,
    status: outcome.status,
    steps: 1,
    tool_calls: [],
    usage: outcome.usage,
    error: outcome.error,
    ...(outcome.errorCode === null ? {} : { code: outcome.errorCode }),
    ...(outcome.citations === null
      ? {}
      : { citations: outcome.citations, invalid_citation_count: outcome.invalidCitationCount }),
    provider: deps.chat.name,
    model: deps.chat.modelFor(request.model),
    ...(execution.retrievalWarning === null ? {} : { warning: execution.retrievalWarning }),
    ...(execution.warnings.length === 0 ? {} : { warnings: execution.warnings }),
  })
}
