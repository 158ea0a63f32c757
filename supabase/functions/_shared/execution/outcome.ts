import type { ResumedStep } from '../agent/journal.ts'
import { thoughtsOf } from '../agent/reasoning.ts'
import type { Thoughts } from '../agent/reasoning.ts'
import type { StepRecord, ToolCallRecord } from '../agent/types.ts'
import { NO_USAGE } from '../agent/usage.ts'
import type { Citation } from '../citations.ts'
import type { AppError, ErrorCode } from '../errors.ts'
import type { Hooks } from '../hooks/engine.ts'
import type { ChatProvider, ChatRequest, Usage } from '../providers/index.ts'
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
  /** Gives the numbers of passages that tools read, after those of the request. */
  nextKey: () => number
}

/** What earlier executors have done of a run. */
export type Resumption = {
  /** Number of its last event; 0: it was only opened. */
  lastSeq: number
  steps: ResumedStep[]
  /** Tokens of all its executors so far, also of answers that got lost with them. */
  usage: Usage
  /** Its events so far, without those that are not kept with a run. */
  events: Record<string, unknown>[]
}

/** A run that has been opened, with all it needs to be carried out. */
export type Execution = {
  run: StartedRun
  /** Null: this executor begins it. */
  resumed: Resumption | null
  request: ChatRequest
  principal: Principal
  equip: (parts: EquipmentParts) => Promise<Equipment>
  /** The provider as this run asks it; absent: as it is. */
  asking?: (chat: ChatProvider) => ChatProvider
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
  /** Whether the answer comes as a whole, after hooks have seen it, and not in pieces. */
  isBuffered: boolean
  /** Milliseconds after which the run is given up; the time people take to decide is not counted. */
  timeoutMs: number
  warnings: string[]
  retrievalWarning: string | null
}

/** How a run ended. */
export type RunOutcome = {
  status: 'completed' | 'failed' | 'cancelled'
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
  reasoning: Thoughts[]
  warnings: string[]
}

/** What earlier executors of a run have come to. */
function soFar(
  resumed: Resumption | null,
): Pick<RunOutcome, 'usage' | 'steps' | 'toolCalls' | 'reasoning' | 'invalidCitationCount'> {
  const steps = resumed?.steps ?? []
  const made = steps.flatMap(({ turn }) => (turn?.state === 'made' ? [turn] : []))
  const finished = steps.flatMap(({ calls }) =>
    calls.flatMap((call) => (call.finished === null ? [] : [call.finished])),
  )
  return {
    usage: resumed?.usage ?? NO_USAGE,
    steps: steps.flatMap(({ record }) => (record === null ? [] : [record])),
    toolCalls: finished
      .toSorted((a, b) => a.at - b.at)
      .map(({ step, call_id, tool_name, arguments: args, text, is_error, duration_ms }) => ({
        step,
        call_id,
        tool_name,
        arguments: args,
        result: text,
        is_error,
        duration_ms,
      })),
    reasoning: made.flatMap(thoughtsOf),
    invalidCitationCount: made.reduce((sum, turn) => sum + (turn.invalid_citations ?? 0), 0),
  }
}

/** An outcome before this executor has brought anything. */
export const nothing = (execution: Execution): RunOutcome => ({
  ...soFar(execution.resumed),
  status: 'completed',
  content: '',
  error: null,
  errorCode: null,
  citations: execution.request.citations ? [] : null,
  retrievedItems: execution.request.context.length,
  warnings: execution.warnings,
})

/** The outcome with its failure; the first one stays. */
export const failed = (outcome: RunOutcome, failure: AppError): RunOutcome => ({
  ...outcome,
  status: 'failed',
  error: outcome.error ?? failure.message,
  errorCode: outcome.errorCode ?? failure.code,
})
