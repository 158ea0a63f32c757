import { AppError, describeError, toAppError } from '../errors.ts'
import type { ToolDefinition } from '../providers/index.ts'
import { stopReason } from './abort.ts'
import { DOOM_LOOP } from './doom-loop.ts'
import { callModel } from './model-step.ts'
import type { LoopSetup } from './options.ts'
import type { RunState } from './run-state.ts'
import { createRunState, stepFields } from './run-state.ts'
import { carryOutCalls } from './tool-calls.ts'
import type { LoopResult } from './types.ts'

/** How a run of the loop ended. */
export type LoopOutcome = LoopResult & {
  /** Whether untrusted text has come into the run: what it said can carry it into later runs of the session. */
  isTainted: boolean
}

/** What the model is told about tools. */
const definitionsOf = ({ tools }: LoopSetup): ToolDefinition[] =>
  tools.map(({ name, description, inputSchema }) => ({ name, description, inputSchema }))

/** Goes on until the model has answered. @returns why it could not, or null. */
async function takeSteps(run: RunState): Promise<AppError | null> {
  const { setup } = run
  const definitions = definitionsOf(setup)
  const maxSteps = Math.max(1, Math.floor(setup.maxSteps))
  for (let step = 1; ; step++) {
    const isLast = step >= maxSteps
    const startedAt = performance.now()
    setup.emit('step_started', { ...stepFields(step), is_last_step: isLast })
    const offered = isLast ? [] : definitions
    const turn = await callModel(run, step, offered)
    const { rawText, calls, output } = turn
    run.content += output.content()
    if (output.reasoning() !== '') run.reasoning.push({ step, content: output.reasoning() })

    let failure = turn.failure
    if (calls.length > 0) {
      const isLooping = calls.map((call) => run.doomLoop.isLooping(call)).includes(true)
      if (isLooping) failure = new AppError('doom_loop', DOOM_LOOP)
      const notOffered = offered.length === 0 ? 'not made: there are no tools in this step.' : null
      const messages = await carryOutCalls(run, step, rawText, calls, isLooping ? DOOM_LOOP : notOffered)
      run.request = { ...run.request, messages: [...run.request.messages, ...messages] }
      if (run.signal.aborted) failure = stopReason(run.signal)
    }
    run.steps.push({
      step,
      model: setup.chat.modelFor(run.request.model),
      finish_reason: turn.finishReason,
      has_tool_calls: calls.length > 0,
      usage: turn.usage,
      duration_ms: Math.round(performance.now() - startedAt),
    })
    setup.emit('step_completed', {
      ...stepFields(step),
      finish_reason: turn.finishReason,
      has_tool_calls: calls.length > 0,
    })
    if (failure !== null) return failure
    if (calls.length === 0) return null
    // Without tools on offer there is nothing a further step could bring.
    if (offered.length === 0) {
      return output.content() === ''
        ? new AppError('upstream_failed', 'The model asked for tools where it had to answer.')
        : null
    }
  }
}

/**
 * Lets a model answer with the help of tools: it calls, gets the results, and goes on until it answers without a call or
 * has had all its steps. Knows nothing of requests, storage or people: all that is `setup`'s, so the same loop runs in a
 * function, in a worker and in tests. Emits the events of the steps; beginning and end of the run are the caller's.
 * It never throws: failures and stops end in the result, with everything that had come by then.
 */
export async function runLoop(setup: LoopSetup): Promise<LoopOutcome> {
  const run = createRunState(setup)
  let failure: AppError | null
  try {
    failure = await takeSteps(run)
  } catch (error) {
    failure = toAppError(error)
    setup.call.log.error('loop_failed', { error: describeError(error) })
  }
  return {
    status: failure === null ? 'completed' : 'failed',
    content: run.content,
    steps: run.steps,
    toolCalls: run.toolCalls,
    reasoning: run.reasoning,
    usage: run.usage,
    contextItems: run.contextItems,
    error: failure?.message ?? null,
    errorCode: failure?.code ?? null,
    isTainted: run.taint.isTainted(),
  }
}
