import type { StepRecord, ToolCallRecord } from '../agent/types.ts'
import type { Citation } from '../citations.ts'
import type { Clock } from '../clock.ts'
import type { AppError, ErrorCode } from '../errors.ts'
import type { Hooks } from '../hooks/engine.ts'
import type { ChatRequest, Usage } from '../providers/index.ts'
import type { StartedRun } from '../runs.ts'
import type { Emit } from '../sse.ts'
import type { Principal, Tool } from '../tools/types.ts'

/** What stands at a run's disposal besides the model; made once the run is open. */
export type Equipment = {
  /** None: one model call, no loop. */
  tools: Tool[]
  hooks: Hooks
  warnings: string[]
  /** To be called when the run is over. Never throws. */
  close: () => Promise<void>
}

/** What an equipment is made with. */
export type EquipmentParts = {
  run: StartedRun
  principal: Principal
  emit: Emit
  signal: AbortSignal
  clock: Clock
  /** Gives the numbers of passages that tools read, after those of the request. */
  nextKey: () => number
}

/** A run that has been opened, with all it needs to be carried out. */
export type Execution = {
  run: StartedRun
  request: ChatRequest
  principal: Principal
  equip: (parts: EquipmentParts) => Promise<Equipment>
  /** Model calls the run may make. */
  maxSteps: number
  fallbackModel: string | null
  /** Whether an earlier turn of the session may have read instructions of others. */
  isTainted: boolean
  /** Retrieval this run was given, if it was stored. */
  contextHandlerId: string | null
  /** What the caller sent or may read: addresses in it may stay links in the answer. */
  knownTexts: string[]
  reasoningRequested: boolean
  /** Milliseconds after which the run is given up; the time people take to decide is not counted. */
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
  /** Passages the answer could rest on: given ones and those that tools read. */
  retrievedItems: number
  steps: StepRecord[]
  toolCalls: ToolCallRecord[]
  reasoning: { step: number; content: string }[]
  warnings: string[]
}

export const NO_USAGE: Usage = {
  prompt_tokens: 0,
  completion_tokens: 0,
  total_tokens: 0,
  reasoning_tokens: 0,
  cached_tokens: 0,
}

/** An outcome before anything has come out. */
export const nothing = (execution: Execution): RunOutcome => ({
  status: 'completed',
  content: '',
  usage: NO_USAGE,
  error: null,
  errorCode: null,
  citations: execution.request.citations ? [] : null,
  invalidCitationCount: 0,
  retrievedItems: execution.request.context.length,
  steps: [],
  toolCalls: [],
  reasoning: [],
  warnings: execution.warnings,
})

/** The outcome with its failure; the first one stays. */
export const failed = (outcome: RunOutcome, failure: AppError): RunOutcome => ({
  ...outcome,
  status: 'failed',
  error: outcome.error ?? failure.message,
  errorCode: outcome.errorCode ?? failure.code,
})
