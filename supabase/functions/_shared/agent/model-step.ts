import type { AppError } from '../errors.ts'
import { describeError, toAppError } from '../errors.ts'
import type { ChatMessage, ChatRequest, ToolCall, ToolDefinition, Usage } from '../providers/index.ts'
import { pause, stopReason } from './abort.ts'
import { compactAfterRefusal, compactIfNeeded, truncate } from './compaction.ts'
import { RETRY_DELAYS_MS } from './options.ts'
import { askModel } from './provider-call.ts'
import { RESET_REASON, isRetriable } from './retry.ts'
import type { RunState } from './run-state.ts'
import { countUsage, providerOf, stepFields } from './run-state.ts'
import type { StepOutput } from './step-output.ts'
import { createStepOutput } from './step-output.ts'
import { NO_USAGE } from './usage.ts'

/** How often an answer that was cut off is continued. */
const MAX_CONTINUATIONS = 3
const CONTINUE = 'Continue exactly where you stopped. Repeat nothing.'

/** What the model made of one step. */
export type ModelTurn = {
  /** As the model wrote it, for the model only. */
  rawText: string
  calls: ToolCall[]
  finishReason: string
  /** Tokens of all calls it took, compaction included. */
  usage: Usage
  /** Set when the step could not be finished; what had come by then is in the output. */
  failure: AppError | null
}

/** One try: everything it has brought so far, kept outside so that a failure loses nothing. */
type Attempt = { rawText: string; calls: ToolCall[]; finishReason: string; output: StepOutput }

/** The request of a try: what has already come of a cut-off answer goes along with the wish to go on. */
function requestOf(
  run: RunState,
  tools: readonly ToolDefinition[],
  rawText: string,
  isContinuation: boolean,
): ChatRequest {
  const partial: ChatMessage[] = rawText === '' ? [] : [{ role: 'assistant', content: rawText }]
  const messages = isContinuation
    ? [...run.request.messages, ...partial, { role: 'user' as const, content: CONTINUE }]
    : run.request.messages
  return { ...run.request, messages, isRetriedByCaller: true, ...(tools.length === 0 ? {} : { tools: [...tools] }) }
}

/** Lets the model answer once, into the attempt. @throws what the provider throws, or the reason of a stop. */
const stream = (run: RunState, step: number, request: ChatRequest, attempt: Attempt): Promise<Usage> =>
  askModel(providerOf(run), step, request, (event) => {
    if (event.type === 'delta') {
      attempt.rawText += event.text
      attempt.output.text(event.text)
    } else if (event.type === 'reasoning') {
      attempt.output.think(event.text)
    } else if (event.type === 'tool_call') {
      attempt.calls.push(event.call)
    } else {
      attempt.finishReason = event.finishReason
    }
  })

/** Who serves a model: a gateway's models say so in their names (`vendor/model`), others are the provider's own. */
const servedBy = (provider: string, model: string): string => /^([^/]+)\/./.exec(model)?.[1] ?? provider

/**
 * Uses the fallback model from now on, if there is another one. It is not given what was reasoned so far, which readers are told.
 * @param thoughts of the try that failed. @returns whether it does.
 */
function fallBack(run: RunState, step: number, thoughts: string): boolean {
  const { chat, fallbackModel, emit } = run.setup
  if (fallbackModel === undefined || run.isOnFallback) return false
  run.isOnFallback = true
  const from = chat.modelFor(run.request.model)
  const to = chat.modelFor(fallbackModel)
  if (from === to) return false
  run.request = { ...run.request, model: fallbackModel }
  emit('model_fallback', { ...stepFields(step), from, to })
  if (thoughts !== '' || run.reasoning.length > 0) {
    emit('reasoning_dropped_at_provider_switch', {
      ...stepFields(step),
      from_provider: servedBy(chat.name, from),
      to_provider: servedBy(chat.name, to),
    })
  }
  return true
}

/**
 * One step's answer of the model, streamed to the reader. A try that fails is taken back with `step_reset` and repeated: at
 * once with the fallback model, else after a pause; shortened when the prompt was too long. A single answer
 * (`isSingleAnswer`) is repeated without `step_reset`, and only while nothing of it is out. It never throws.
 */
export async function callModel(
  run: RunState,
  step: number,
  tools: readonly ToolDefinition[],
): Promise<ModelTurn & { output: StepOutput }> {
  const { emit, call } = run.setup
  const delays = run.setup.retryDelaysMs ?? RETRY_DELAYS_MS
  const isSingle = run.setup.isSingleAnswer === true
  const begin = (): Attempt => ({ rawText: '', calls: [], finishReason: 'error', output: createStepOutput(run, step) })
  let attempt = begin()
  let usage = NO_USAGE
  let retries = 0
  let shortenings = 0
  let continuations = 0

  /** Prepares another try. @returns false when there is none. @throws when the run is stopped meanwhile. */
  const recover = async (error: AppError): Promise<boolean> => {
    const isTooLong = error.code === 'context_length_exceeded'
    const canRetry = isTooLong ? shortenings < 2 : retries < delays.length && isRetriable(error)
    if (!canRetry) return false
    const thoughts = attempt.output.reasoning()
    if (isSingle) {
      if (attempt.output.content() + thoughts !== '') return false
    } else {
      emit('step_reset', {
        ...stepFields(step),
        reason: RESET_REASON[error.code] ?? 'model_error',
        off: run.content.length,
      })
    }
    attempt = begin()
    continuations = 0
    if (isTooLong) {
      shortenings++
      if (shortenings === 1) usage = countUsage(run, usage, await compactAfterRefusal(run, step, tools))
      else truncate(run, step, tools)
    } else {
      const delay = delays[retries++] ?? 0
      if (!fallBack(run, step, thoughts)) await pause(delay, run.signal)
    }
    return true
  }

  const end = (failure: AppError | null) => {
    attempt.output.end()
    // Calls of an answer that broke off are not carried out: nobody knows what would have followed.
    const calls = failure === null ? attempt.calls : []
    return {
      rawText: attempt.rawText,
      calls,
      finishReason: attempt.finishReason,
      usage,
      failure,
      output: attempt.output,
    }
  }

  try {
    if (run.signal.aborted) throw stopReason(run.signal)
    usage = countUsage(run, usage, await compactIfNeeded(run, step, tools))
    for (;;) {
      try {
        const request = requestOf(run, tools, attempt.rawText, continuations > 0)
        usage = countUsage(run, usage, await stream(run, step, request, attempt))
        const isCutOff = attempt.finishReason === 'length' && attempt.calls.length === 0
        if (!isCutOff || continuations === MAX_CONTINUATIONS) return end(null)
        continuations++
        emit('output_recovery', { ...stepFields(step), attempt: continuations })
      } catch (thrown) {
        if (run.signal.aborted) throw thrown
        const error = toAppError(thrown)
        call.log.error('model_failed', { step, code: error.code, error: describeError(thrown) })
        if (!(await recover(error))) {
          attempt.finishReason = 'error'
          return end(error)
        }
      }
    }
  } catch (thrown) {
    attempt.finishReason = 'error'
    return end(run.signal.aborted ? stopReason(run.signal) : toAppError(thrown))
  }
}
