import type { Budget } from '../agent/budget.ts'
import { resumedContextItems } from '../agent/journal.ts'
import type { Journal } from '../agent/journal.ts'
import { runLoop } from '../agent/loop.ts'
import { callModel } from '../agent/model-step.ts'
import { reasoningField, thoughtsOf } from '../agent/reasoning.ts'
import { createRunState } from '../agent/run-state.ts'
import type { Waiting } from '../agent/suspend.ts'
import { createAnswerFilter } from '../answer-filter.ts'
import { citationsFor, createCitationFilter } from '../citations.ts'
import type { Deps } from '../context.ts'
import type { ContextItem, WithChat } from '../providers/index.ts'
import type { Emit } from '../sse.ts'
import type { Tool } from '../tools/types.ts'
import { gatesOf } from './gates.ts'
import { addUsage } from '../agent/usage.ts'
import { failed, nothing } from './outcome.ts'
import type { Equipment, Execution, RunOutcome } from './outcome.ts'

/** Everything a run is carried out with. */
export type Work = {
  deps: Deps & WithChat
  execution: Execution
  emit: Emit
  signal: AbortSignal
  equipment: Equipment
  journal: Journal
  budget: Budget
  /** Called before each step of the loop; throws `RunSuspended` when another executor is to go on. */
  beforeStep: () => void
}

/** What came of the work on a run: how it ended, or what it waits for. */
export type Given = {
  outcome: RunOutcome
  /** Reasoning that is still to be told. */
  thoughts: string
  /** Null: the run has ended. */
  waiting: Waiting | null
}

/**
 * One answer without tools. Like a step of the loop it is shortened when it does not fit, asked for again and continued when it
 * was cut off, but only asked for again while nothing of it is out. `thoughts`: what the model reasoned, to be told after the answer.
 */
export async function answer(work: Work): Promise<Given> {
  const { deps, execution, emit, signal, journal } = work
  const { request, knownTexts, principal } = execution
  // Whatever an executor before this one had of the answer, it is asked for again.
  if (execution.resumed !== null && execution.resumed.steps.length > 0) {
    emit('step_reset', { step: 1, step_number: 1, reason: 'interrupted', off: 0 })
  }
  journal.note({ op: 'turn', step: 1, state: 'begun' })
  const keys = request.citations ? new Set(request.context.map((item) => item.key)) : null
  let filter = createAnswerFilter({ keys, knownTexts })
  const startedAt = performance.now()
  const state = createRunState({
    chat: deps.chat,
    request,
    tools: [],
    gates: {},
    call: { principal, signal, log: deps.log },
    emit(event, fields) {
      if (event !== 'reasoning') emit(event, fields)
    },
    textFilter: () => (filter = createAnswerFilter({ keys, knownTexts })),
    reasoningFilter: () => createAnswerFilter({ keys: null, knownTexts }),
    maxSteps: 1,
    budget: work.budget,
    isSingleAnswer: true,
    ...(execution.fallbackModel === null ? {} : { fallbackModel: execution.fallbackModel }),
  })
  const { output, usage, finishReason, failure } = await callModel(state, 1, [])
  const earlier = nothing(execution)
  const outcome: RunOutcome = {
    ...earlier,
    content: output.content(),
    usage: addUsage(earlier.usage, usage),
    citations: request.citations ? citationsFor(filter.used(), request.context) : null,
    invalidCitationCount: filter.invalidCount(),
    steps: [
      {
        step: 1,
        model: deps.chat.modelFor(state.request.model),
        finish_reason: finishReason,
        has_tool_calls: false,
        usage,
        duration_ms: Math.round(performance.now() - startedAt),
        ...reasoningField(request),
      },
    ],
    reasoning: thoughtsOf({ step: 1, reasoning: output.reasoning(), reasoning_ms: output.reasoningMs() }),
  }
  return {
    outcome: failure === null ? outcome : failed(outcome, failure),
    thoughts: output.reasoning(),
    waiting: null,
  }
}

/** The loop of model calls and tools. */
export async function answerWithTools(work: Work): Promise<Given> {
  const { deps, execution, emit, signal, equipment, journal, beforeStep } = work
  const { request, knownTexts, principal } = execution
  const keys = new Set(request.context.map((item) => item.key))
  const texts = [...knownTexts]
  // Passages that a tool has read can be cited from then on, and their addresses are the caller's own context.
  const onItems = (items: readonly ContextItem[]) => {
    for (const item of items) {
      keys.add(item.key)
      texts.push(item.text)
    }
  }
  const steps = execution.resumed?.steps ?? []
  onItems(resumedContextItems(steps))
  const result = await runLoop({
    chat: deps.chat,
    request,
    tools: equipment.tools.map((tool) => noticing(tool, onItems)),
    gates: gatesOf(equipment.hooks),
    call: { principal, signal, log: deps.log },
    emit,
    textFilter: () => createAnswerFilter({ keys: request.citations ? keys : null, knownTexts: texts }),
    reasoningFilter: () => createAnswerFilter({ keys: null, knownTexts: texts }),
    maxSteps: execution.maxSteps,
    isTainted: execution.isTainted,
    journal,
    beforeStep,
    budget: work.budget,
    ...(execution.resumed === null ? {} : { resume: steps, usedBefore: execution.resumed.usage }),
    ...(execution.fallbackModel === null ? {} : { fallbackModel: execution.fallbackModel }),
  })
  const items = [...request.context, ...result.contextItems]
  const marks = createCitationFilter(keys)
  marks.push(result.content)
  marks.end()
  return {
    outcome: {
      ...nothing(execution),
      status: result.status === 'suspended' ? 'completed' : result.status,
      content: result.content,
      usage: result.usage,
      error: result.error,
      errorCode: result.errorCode,
      citations: request.citations ? citationsFor(marks.used(), items) : null,
      invalidCitationCount: result.invalidCitations,
      retrievedItems: items.length,
      steps: result.steps,
      toolCalls: result.toolCalls,
      reasoning: result.reasoning,
    },
    // Told step by step already.
    thoughts: '',
    waiting: result.waiting,
  }
}

/** The tool, and word of the passages it reads. */
const noticing = (tool: Tool, onItems: (items: readonly ContextItem[]) => void): Tool => ({
  ...tool,
  async execute(args, context) {
    const result = await tool.execute(args, context)
    onItems(result.contextItems ?? [])
    return result
  },
})
