import type { ErrorCode } from '../errors.ts'
import type { Budget } from './budget.ts'
import type { Journal, ResumedStep } from './journal.ts'
import type { Waiting } from './suspend.ts'
import type { ChatProvider, ChatRequest, ContextItem, Usage } from '../providers/index.ts'
import type { Emit } from '../sse.ts'
import type { Tool, ToolCallContext } from '../tools/types.ts'
import type { Thoughts } from './reasoning.ts'
import type { ToolCallRecord } from './records.ts'

export type { ToolCallRecord } from './records.ts'

/** What a hook made of a tool call before it runs. */
export type GateDecision =
  /** `isApproved`: a person has said yes to exactly this tool with exactly these arguments. */
  | { allowed: true; args: Record<string, unknown>; isApproved?: boolean }
  /** `message` goes to the model in place of a result. */
  | { allowed: false; message: string }

/** What a gate has found out about a call, also in an executor before this one. */
export type GateMemory = {
  past: readonly unknown[]
  /** Notes all of it, in the transaction of what is emitted before the next `await`. */
  keep(checks: unknown[]): void
}

/** What stands between the loop and the world at the points where hooks may act. Absent members do nothing. */
export type LoopGates = {
  /**
   * After the arguments were validated, before the call; may change them (they are validated again) or refuse. Throws
   * `RunSuspended` when a person has to decide first, and is asked again when the run goes on. A call that had begun when
   * its executor was lost has passed and is not asked about again, but for `denies`.
   */
  beforeTool?: (tool: Tool, args: Record<string, unknown>, callId: string, memory?: GateMemory) => Promise<GateDecision>
  /** Why the tool may not be called any more, for the model; null: it may. Asked before an interrupted call is made again. */
  denies?: (tool: Tool) => string | null
  /** Whether `beforeTool` asks anybody about this tool, so that the call has to be durable before. Absent: it may. */
  asksAbout?: (tool: Tool) => boolean
  /** After a call that ran; may change the text the model gets. */
  afterTool?: (tool: Tool, args: Record<string, unknown>, text: string) => Promise<string>
}

/** A filter between model and reader; the same as of an answer without tools (`createAnswerFilter`). */
export type TextFilter = {
  push(text: string): string
  end(): string
  /** Marks so far that name no passage. */
  invalidCount?(): number
}

export type LoopInput = {
  chat: ChatProvider
  /** First request: instructions, history with the new message last, sampling settings. `tools` is set by the loop. */
  request: Omit<ChatRequest, 'tools'>
  tools: readonly Tool[]
  gates: LoopGates
  /** Calls are made with this and an id of their own. */
  call: Omit<ToolCallContext, 'callId' | 'idempotencyKey'>
  emit: Emit
  /** Makes the filter of one step's text, and that of its reasoning. */
  textFilter: () => TextFilter
  reasoningFilter: () => TextFilter
  /** Model calls a run may make; the last one is offered no tools. */
  maxSteps: number
  /** Tried when the model is rate limited or fails. */
  fallbackModel?: string
  /** Where the run is written down for whoever may have to go on with it; absent: nothing is kept. */
  journal?: Journal
  /** What earlier executors have journalled of this run. Finished steps are taken over without a word. */
  resume?: readonly ResumedStep[]
  /** Tokens that earlier executors have used, also for answers that got lost; absent: those of the journalled turns. */
  usedBefore?: Usage
  /** Asked before every provider call; absent: tokens cost nothing. */
  budget?: Budget
  /** Called between two steps. May throw `RunSuspended('handover')`: nothing of the next step has begun then. */
  beforeStep?: (step: number) => void | Promise<void>
}

/** One model call and what came of it, as it is stored. */
export type StepRecord = {
  step: number
  model: string
  finish_reason: string
  has_tool_calls: boolean
  usage: Usage
  duration_ms: number
  /** Present when the model was asked to reason. */
  reasoning_requested?: true
}

export type LoopResult = {
  /** `suspended`: the run is not over; everything that was noted and emitted has to be stored. */
  status: 'completed' | 'failed' | 'suspended'
  /** What it waits for; null unless it is suspended. */
  waiting: Waiting | null
  /** Text of all steps, filtered, in order. */
  content: string
  steps: StepRecord[]
  toolCalls: ToolCallRecord[]
  reasoning: Thoughts[]
  usage: Usage
  /** Passages that tools have read, numbered after those of the request. */
  contextItems: ContextItem[]
  /** Marks in the text that name no passage. */
  invalidCitations: number
  error: string | null
  errorCode: ErrorCode | null
}
