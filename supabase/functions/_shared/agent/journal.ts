import type { ErrorCode } from '../errors.ts'
import type { ChatMessage, ContextItem, ToolCall, Usage } from '../providers/index.ts'
import type { StepRecord } from './types.ts'

/**
 * What the loop writes down so that somebody else can go on with the run. Every entry is plain JSON that Postgres can
 * store: no U+0000, no halves of surrogate pairs.
 */

/** A step has been announced with `step_started`; the model has not finished its answer. */
export type BegunTurn = { op: 'turn'; step: number; state: 'begun' }

/** How the prompt was shortened before an answer, so that the next one is asked with the same prompt. In order. */
export type PromptEdit =
  /** Results of tools from before the last so many turns were taken out. */
  | { op: 'drop_results'; turns: number }
  /** All but the last `kept` messages gave way to one. */
  | { op: 'summary'; first: ChatMessage; kept: number }
  /** Shortened without a model to so many characters. */
  | { op: 'truncate'; chars: number }

/** What the model made of a step. It is written again when more of its calls are announced: the last entry counts. */
export type MadeTurn = {
  op: 'turn'
  step: number
  state: 'made'
  /** As the model wrote it; for the model only. */
  raw_text: string
  /** With the ids they have in this run; `arguments` as the model wrote them. */
  calls: ToolCall[]
  finish_reason: string
  /** The model that answered. */
  model: string
  is_on_fallback: boolean
  compaction_failures: number
  prompt_edits: PromptEdit[]
  usage: Usage
  /** Text and reasoning as the reader got them. */
  content: string
  reasoning: string
  /** Milliseconds that it reasoned; absent in journals of earlier versions. */
  reasoning_ms?: number
  /** Milliseconds until the answer was there. */
  duration_ms: number
  /** Whether the run had read untrusted text when the model wrote this. */
  is_tainted: boolean
  /** Why none of the calls may be made; null: they may. */
  refusal: string | null
  /** Why the run ends with this step; null: it goes on, or the model has answered. */
  failure: Failure | null
  /** Calls whose `tool_call` event is out, by id. */
  announced: string[]
  /** Starts whose `call_interrupted` event is out: `{call_id}:{attempt}`. */
  interrupted: string[]
  /** Marks in the text that name no passage; absent in journals of earlier versions. */
  invalid_citations?: number
}

export type Turn = BegunTurn | MadeTurn

export type Failure = { code: ErrorCode; message: string }

/**
 * What gates have found out about a call before they let it pass, all of it so far. It is theirs alone to read: whoever asks
 * them again gives it back, so that nothing outside is asked twice.
 */
export type CallChecked = { op: 'call_checked'; step: number; call_id: string; checks: unknown[] }

/** The tokens of a call of the model are settled, in the same transaction as what it said; null: the estimate counts. */
export type TokensUsed = { op: 'tokens_used'; reservation_id: string; usage: Usage | null }

/**
 * A call is about to be carried out: gates and rules have let it pass, with these arguments. Written again, in the place of
 * the entry before, when an interrupted call is repeated; a decision about the earlier start is used up by that.
 */
export type CallStarted = {
  op: 'call_started'
  step: number
  call_id: string
  tool_name: string
  arguments: Record<string, unknown>
  /** Whether it may be repeated when nobody knows what became of it. */
  is_retry_safe: boolean
  /** From 1. */
  attempt: number
}

/** A call has its result, which is out in the event `tool_result`. */
export type CallFinished = {
  op: 'call_finished'
  step: number
  call_id: string
  tool_name: string
  arguments: Record<string, unknown>
  /** What the model gets. */
  text: string
  is_error: boolean
  duration_ms: number
  /** Whether the tool itself ran. */
  is_carried_out: boolean
  /** How many calls of the run had their results before this one. */
  at: number
  /** Passages that it brought and that can be cited. */
  context_items: ContextItem[]
  /** Whether it brought text that anybody may have written. */
  is_untrusted: boolean
}

/** The record of a step and how the run goes on from there. */
export type EndedStep = StepRecord & {
  outcome: 'continues' | 'answered' | 'failed'
  /** Set when it failed. */
  error: string | null
  error_code: ErrorCode | null
}

export type StepDone = { op: 'step_done'; step: number; record: EndedStep }

export type JournalEntry = Turn | CallChecked | CallStarted | CallFinished | StepDone

/** Keeps a run's journal beside its events. Both may be taken in and written later, in the order they came in. */
export type Journal = {
  /**
   * Takes in an entry. What is noted and emitted without an `await` in between belongs together and must be written in one
   * transaction: a writer that begins at once has to let the running code come to its next `await` first.
   */
  note(entry: JournalEntry): void
  /** Resolves when everything noted and emitted so far is durable. Rejects when the lease is lost: the work stops then. */
  commit(): Promise<void>
}

/** What a person has decided about an interrupted call. */
export type CallDecision = 'retry' | 'skip' | 'fail'

/** One call of a journalled step, as `claim_run` gives it. */
export type ResumedCall = {
  call_id: string
  started: CallStarted | null
  is_retry_safe: boolean | null
  finished: CallFinished | null
  decision: CallDecision | null
  /** What gates had found out; null: nothing. */
  checked?: unknown[] | null
}

/** One journalled step, as `claim_run` gives it: the entries, whole. */
export type ResumedStep = {
  step: number
  turn: Turn | null
  record: EndedStep | null
  calls: ResumedCall[]
}

/** Passages that the tools of a journalled run have brought: their numbers are taken, and the answer may cite them. */
export const resumedContextItems = (steps: readonly ResumedStep[]): ContextItem[] =>
  steps
    .flatMap(({ calls }) => calls.flatMap(({ finished }) => (finished === null ? [] : [finished])))
    .sort((a, b) => a.at - b.at)
    .flatMap(({ context_items }) => context_items)
