import type { ChatMessage, ChatRequest, ContextItem, Usage } from '../providers/index.ts'
import type { DoomLoopDetector } from './doom-loop.ts'
import { createDoomLoopDetector } from './doom-loop.ts'
import type { LoopSetup } from './options.ts'
import type { Taint } from './taint.ts'
import { createTaint } from './taint.ts'
import type { StepRecord, ToolCallRecord } from './types.ts'
import { NO_USAGE, addUsage } from './usage.ts'

/** A run in progress: what its parts share and change. */
export type RunState = {
  readonly setup: LoopSetup
  readonly signal: AbortSignal
  /** The request of the next model call, without tools; messages grow and are compacted. */
  request: Omit<ChatRequest, 'tools'>
  /** The last message of the person, word for word. */
  readonly question: string
  isOnFallback: boolean
  /** Compactions in a row that did not help. */
  compactionFailures: number
  readonly taint: Taint
  readonly doomLoop: DoomLoopDetector
  /** Ids of calls so far. */
  readonly callIds: Set<string>
  /** Text of all finished steps, as the reader got it. */
  content: string
  readonly steps: StepRecord[]
  readonly toolCalls: ToolCallRecord[]
  readonly reasoning: { step: number; content: string }[]
  usage: Usage
  readonly contextItems: ContextItem[]
}

/** The state of a run that is about to begin. */
export function createRunState(setup: LoopSetup): RunState {
  const { request } = setup
  const messages: ChatMessage[] = [...request.messages]
  return {
    setup,
    signal: setup.call.signal,
    request: { ...request, messages },
    question: messages.findLast((message) => message.role === 'user')?.content ?? '',
    isOnFallback: false,
    compactionFailures: 0,
    taint: createTaint(request, setup.isTainted ?? false),
    doomLoop: createDoomLoopDetector(),
    callIds: new Set(),
    content: '',
    steps: [],
    toolCalls: [],
    reasoning: [],
    usage: NO_USAGE,
    contextItems: [],
  }
}

/** The field `step` under both its names. */
export const stepFields = (step: number): { step: number; step_number: number } => ({ step, step_number: step })

/** Adds tokens to those of the run and returns the sum with those of the step. */
export function countUsage(run: RunState, ofStep: Usage, used: Usage): Usage {
  run.usage = addUsage(run.usage, used)
  return addUsage(ofStep, used)
}
