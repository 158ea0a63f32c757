import { AppError, describeError, toAppError } from '../errors.ts'
import type { ToolDefinition } from '../providers/index.ts'
import { stopReason } from './abort.ts'
import { DOOM_LOOP } from './doom-loop.ts'
import type { MadeTurn, ResumedCall, ResumedStep } from './journal.ts'
import { callModel } from './model-step.ts'
import type { LoopSetup } from './options.ts'
import { reasoningField } from './reasoning.ts'
import { adoptTurn, asError, restore } from './resume.ts'
import type { RunState } from './run-state.ts'
import { createRunState, note, stepFields } from './run-state.ts'
import { RunSuspended } from './suspend.ts'
import { carryOutCalls } from './tool-calls.ts'
import type { LoopResult, StepRecord } from './types.ts'

/** How a run of the loop ended. */
export type LoopOutcome = LoopResult & {
  /** Whether untrusted text has come into the run: what it said can carry it into later runs of the session. */
  isTainted: boolean
}

/** What the model is told about tools. */
const definitionsOf = ({ tools }: LoopSetup): ToolDefinition[] =>
  tools.map(({ name, description, inputSchema }) => ({ name, description, inputSchema }))

/** Codes of failures that an event within the step tells. */
const FAULTS_OF_THE_PROVIDER: readonly string[] = [
  'rate_limited',
  'upstream_failed',
  'upstream_timeout',
  'context_length_exceeded',
]

/** Announces a step, or takes back what was shown of one whose executor was lost while the model answered. */
function beginStep(run: RunState, step: number, isLast: boolean, isBegun: boolean): void {
  if (isBegun) {
    run.setup.emit('step_reset', { ...stepFields(step), reason: 'interrupted', off: run.content.length })
    return
  }
  note(run, { op: 'turn', step, state: 'begun' })
  run.setup.emit('step_started', { ...stepFields(step), is_last_step: isLast })
}

/** Lets the model answer. */
async function makeTurn(run: RunState, step: number, offered: readonly ToolDefinition[]): Promise<MadeTurn> {
  const startedAt = performance.now()
  run.promptEdits = []
  const answer = await callModel(run, step, offered)
  const isLooping = answer.calls.map((call) => run.doomLoop.isLooping(call)).includes(true)
  const notOffered = offered.length === 0 ? 'not made: there are no tools in this step.' : null
  const failure = isLooping ? new AppError('doom_loop', DOOM_LOOP) : answer.failure
  return {
    op: 'turn',
    step,
    state: 'made',
    raw_text: answer.rawText,
    calls: answer.calls,
    finish_reason: answer.finishReason,
    model: run.setup.chat.modelFor(run.request.model),
    is_on_fallback: run.isOnFallback,
    compaction_failures: run.compactionFailures,
    prompt_edits: run.promptEdits,
    usage: answer.usage,
    content: answer.output.content(),
    reasoning: answer.output.reasoning(),
    reasoning_ms: answer.output.reasoningMs(),
    duration_ms: Math.round(performance.now() - startedAt),
    // The model wrote all of its calls before it saw any of their results.
    is_tainted: run.taint.isTainted(),
    refusal: isLooping ? DOOM_LOOP : notOffered,
    failure: failure === null ? null : { code: failure.code, message: failure.message },
    announced: [],
    interrupted: [],
    invalid_citations: answer.output.invalidCitations(),
  }
}

type StepEnd = { outcome: 'continues' | 'answered' | 'failed'; failure: AppError | null }

/** What a step, all calls made, means for the run. */
function endOf(run: RunState, turn: MadeTurn): StepEnd {
  const hasCalls = turn.calls.length > 0
  const failure = hasCalls && run.signal.aborted ? stopReason(run.signal) : asError(turn.failure)
  if (failure !== null) return { outcome: 'failed', failure }
  if (!hasCalls) return { outcome: 'answered', failure: null }
  if (turn.refusal === null) return { outcome: 'continues', failure: null }
  // Without tools on offer there is nothing a further step could bring.
  return turn.content === ''
    ? {
        outcome: 'failed',
        failure: new AppError('upstream_failed', 'The model asked for tools where it had to answer.'),
      }
    : { outcome: 'answered', failure: null }
}

/** Makes the calls of a turn and closes the step. @throws as `carryOutCalls`. */
async function finishStep(run: RunState, turn: MadeTurn, journalled: readonly ResumedCall[]): Promise<StepEnd> {
  const { step } = turn
  const hasCalls = turn.calls.length > 0
  const startedAt = performance.now()
  adoptTurn(run, turn)
  if (hasCalls) {
    const messages = await carryOutCalls(run, turn, journalled)
    run.request = { ...run.request, messages: [...run.request.messages, ...messages] }
  }
  const end = endOf(run, turn)
  const record: StepRecord = {
    step,
    model: turn.model,
    finish_reason: turn.finish_reason,
    has_tool_calls: hasCalls,
    usage: turn.usage,
    duration_ms: turn.duration_ms + Math.round(performance.now() - startedAt),
    ...reasoningField(run.request),
  }
  run.steps.push(record)
  if (turn.announced.length === 0) note(run, turn)
  const { outcome, failure } = end
  const ended = { ...record, outcome, error: failure?.message ?? null, error_code: failure?.code ?? null }
  note(run, { op: 'step_done', step, record: ended })
  // Of the provider only: what else ends a run, a budget or a stop, is told at its end. A try that is repeated was told by `step_reset`.
  if (turn.failure !== null && FAULTS_OF_THE_PROVIDER.includes(turn.failure.code) && !run.signal.aborted) {
    const { code, message } = turn.failure
    run.setup.emit('error', { ...stepFields(step), error: message, message, code })
  }
  run.setup.emit('step_completed', {
    ...stepFields(step),
    finish_reason: turn.finish_reason,
    has_tool_calls: hasCalls,
  })
  return end
}

/**
 * Goes on until the model has answered. @returns why it could not, or null.
 * @throws RunSuspended when it has to wait; AppError when the run is lost.
 */
async function takeSteps(run: RunState): Promise<AppError | null> {
  const { setup } = run
  const definitions = definitionsOf(setup)
  const maxSteps = Math.max(1, Math.floor(setup.maxSteps))
  const restored = restore(run)
  const { end } = restored
  if (end !== null) {
    return end.outcome === 'answered' ? null : new AppError(end.error_code ?? 'internal', end.error ?? '')
  }
  let open: ResumedStep | null = restored.open
  for (let step = restored.step; ; step++) {
    const isLast = step >= maxSteps
    if (step > restored.step) await setup.beforeStep?.(step)
    let turn = open?.turn?.state === 'made' ? open.turn : null
    if (turn === null) {
      beginStep(run, step, isLast, open !== null)
      turn = await makeTurn(run, step, isLast ? [] : definitions)
    }
    const { outcome, failure } = await finishStep(run, turn, open?.calls ?? [])
    if (outcome !== 'continues') return failure
    open = null
  }
}

/**
 * Lets a model answer with the help of tools: it calls, gets the results, and goes on until it answers without a call or
 * has had all its steps. Knows nothing of requests, storage or people: all that is `setup`'s, so the same loop runs in a
 * function, in a worker and in tests. Emits the events of the steps; beginning and end of the run are the caller's.
 * With a journal it may be killed at any moment, and goes on from what was written when it is given that to resume.
 * It never throws: failures and stops end in the result, with everything that had come by then.
 */
export async function runLoop(setup: LoopSetup): Promise<LoopOutcome> {
  const run = createRunState(setup)
  let failure: AppError | null = null
  let suspended: RunSuspended | null = null
  try {
    failure = await takeSteps(run)
  } catch (error) {
    if (error instanceof RunSuspended) suspended = error
    else {
      failure = toAppError(error)
      setup.call.log.error(run.lost === null ? 'loop_failed' : 'run_lost', { error: describeError(error) })
    }
  }
  return {
    status: suspended !== null ? 'suspended' : failure === null ? 'completed' : 'failed',
    waiting: suspended === null ? null : { reason: suspended.reason, callId: suspended.callId },
    content: run.content,
    steps: run.steps,
    toolCalls: run.toolCalls,
    reasoning: run.reasoning,
    usage: run.usage,
    contextItems: run.contextItems,
    invalidCitations: run.invalidCitations,
    error: failure?.message ?? null,
    errorCode: failure?.code ?? null,
    isTainted: run.taint.isTainted(),
  }
}
