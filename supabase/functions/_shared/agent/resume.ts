import { AppError } from '../errors.ts'
import type { CallFinished, EndedStep, Failure, MadeTurn, ResumedStep } from './journal.ts'
import { messagesOf } from './planned-calls.ts'
import { editedMessages } from './prompt-edits.ts'
import { thoughtsOf } from './reasoning.ts'
import type { RunState } from './run-state.ts'
import { NOT_MADE } from './tool-call.ts'
import { addUsage } from './usage.ts'

/** Where a run goes on. */
export type Restored = {
  /** The step to take next. */
  step: number
  /** That step, when it has begun already. */
  open: ResumedStep | null
  /** The last step, when it was the end of the run. */
  end: EndedStep | null
}

/** The failure as it was journalled. */
export const asError = (failure: Failure | null): AppError | null =>
  failure === null ? null : new AppError(failure.code, failure.message)

/** Takes over what a turn has given to the reader. */
export function adoptTurn(run: RunState, turn: MadeTurn): void {
  run.content += turn.content
  run.invalidCitations += turn.invalid_citations ?? 0
  run.reasoning.push(...thoughtsOf(turn))
}

/** Takes over how a turn was come by: its prompt, its model, its tokens, its calls. */
function restoreTurn(run: RunState, turn: MadeTurn): void {
  const { fallbackModel } = run.setup
  for (const edit of turn.prompt_edits) {
    run.request = { ...run.request, messages: editedMessages(run.request.messages, edit) }
  }
  if (turn.is_on_fallback && !run.isOnFallback) {
    run.isOnFallback = true
    if (fallbackModel !== undefined) run.request = { ...run.request, model: fallbackModel }
  }
  run.compactionFailures = turn.compaction_failures
  if (!run.setup.usedBefore) run.usage = addUsage(run.usage, turn.usage)
  for (const call of turn.calls) run.doomLoop.isLooping(call)
}

function restoreCall(run: RunState, finished: CallFinished): void {
  if (finished.is_untrusted) run.taint.add(finished.tool_name)
  run.contextItems.push(...finished.context_items)
  run.toolCalls.push({
    step: finished.step,
    call_id: finished.call_id,
    tool_name: finished.tool_name,
    arguments: finished.arguments,
    result: finished.text,
    is_error: finished.is_error,
    duration_ms: finished.duration_ms,
  })
}

const finishedOf = ({ calls }: ResumedStep): CallFinished[] =>
  calls.flatMap(({ finished }) => (finished === null ? [] : [finished])).sort((a, b) => a.at - b.at)

function restoreEnd(run: RunState, { calls, ...turn }: MadeTurn, finished: CallFinished[], record: EndedStep): void {
  adoptTurn(run, { ...turn, calls })
  if (calls.length > 0) {
    const results = new Map(finished.map((one) => [one.call_id, one.text]))
    const messages = messagesOf(turn.raw_text, calls, (id) => results.get(id) ?? NOT_MADE)
    run.request = { ...run.request, messages: [...run.request.messages, ...messages] }
  }
  for (const { id } of calls) run.callIds.add(id)
  const { outcome: _outcome, error: _error, error_code: _code, ...step } = record
  run.steps.push(step)
}

/** Brings a run to where its journal ends, without a word to anybody. */
export function restore(run: RunState): Restored {
  const steps = [...(run.setup.resume ?? [])].sort((a, b) => a.step - b.step)
  let end: EndedStep | null = null
  for (const resumed of steps) {
    const { step, turn, record } = resumed
    if (turn === null || turn.state === 'begun') return { step, open: resumed, end: null }
    restoreTurn(run, turn)
    const finished = finishedOf(resumed)
    for (const one of finished) restoreCall(run, one)
    if (record === null) return { step, open: resumed, end: null }
    restoreEnd(run, turn, finished, record)
    end = record.outcome === 'continues' ? null : record
  }
  return { step: (steps.at(-1)?.step ?? 0) + 1, open: null, end }
}
