import type { ChatMessage, ToolCall } from '../providers/index.ts'
import type { CallFinished, MadeTurn, ResumedCall } from './journal.ts'
import type { PlannedCall } from './planned-calls.ts'
import { messagesOf, namedCalls, planCall } from './planned-calls.ts'
import type { RunState } from './run-state.ts'
import { commit, note, stepFields } from './run-state.ts'
import { RunSuspended } from './suspend.ts'
import type { InterruptedCall, Outcome } from './tool-call.ts'
import { MAX_EVENT_CHARS, NOT_MADE, capped, carryOut, refused } from './tool-call.ts'

/** Calls of one step that are carried out; the model may ask again for the rest. */
const MAX_CALLS = 32
/** Calls that run at the same time. */
const MAX_PARALLEL = 8
const PREVIEW_CHARS = 200

function report(run: RunState, step: number, call: PlannedCall, outcome: Outcome): void {
  const common = { ...stepFields(step), tool_name: call.name, call_id: call.id }
  const finished: CallFinished = {
    ...{ op: 'call_finished', step, call_id: call.id, tool_name: call.name, arguments: outcome.args },
    ...{ text: outcome.text, is_error: outcome.isError, duration_ms: outcome.durationMs },
    is_carried_out: outcome.isCarriedOut,
    at: run.toolCalls.length,
    context_items: outcome.contextItems,
    is_untrusted: outcome.isUntrusted,
  }
  note(run, finished)
  if (outcome.handler) {
    const { id, query } = outcome.handler
    run.setup.emit('context_handler_created', { ...common, context_handler_id: id, query })
  }
  run.setup.emit('tool_result', {
    ...common,
    result: capped(outcome.text, MAX_EVENT_CHARS),
    result_preview: outcome.text.slice(0, PREVIEW_CHARS).toWellFormed(),
    ...(outcome.isCarriedOut ? { result_meta: { result_type: 'text', char_count: outcome.text.length } } : {}),
    is_error: outcome.isError,
    duration_ms: outcome.durationMs,
  })
  run.toolCalls.push({
    step,
    call_id: call.id,
    tool_name: call.name,
    arguments: outcome.args,
    result: outcome.text,
    is_error: outcome.isError,
    duration_ms: outcome.durationMs,
  })
}

/** Runs a job for each item, a few at a time. Every job is let finish, whatever the others do. */
async function inParallel<T>(items: readonly T[], job: (item: T) => Promise<void>): Promise<void> {
  let next = 0
  const lane = async () => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) await job(item)
  }
  await Promise.all(Array.from({ length: Math.min(MAX_PARALLEL, items.length) }, lane))
}

/** The calls of a turn, planned. Those of a new turn get the ids that they keep. */
function planCalls(run: RunState, turn: MadeTurn): PlannedCall[] {
  const tools = new Map(run.setup.tools.map((tool) => [tool.name, tool]))
  const planned = turn.calls.map((call: ToolCall) => planCall(run, tools, call))
  planned.forEach((call, at) => {
    if (turn.refusal !== null) call.problem = turn.refusal
    else if (at >= MAX_CALLS) call.problem = `not made: a step may have ${MAX_CALLS} calls.`
  })
  return planned
}

/**
 * Carries out the calls of one step: those that are safe beside each other together, then the rest one by one, in order.
 * Every announced call gets exactly one result, also when it is refused, invalid, or the run is stopped while it runs; after
 * a stop no further call begins. The turn is journalled with the first announcement, and durable before any call is made.
 * @param turn gets the ids of its calls, and which of them are announced.
 * @param journalled what earlier executors made of the calls: finished ones are not repeated.
 * @returns what the model is to see of its own answer and of the results, in the order of the calls.
 * @throws RunSuspended once all that could be done without a person is done; AppError when the run is lost.
 */
export async function carryOutCalls(
  run: RunState,
  turn: MadeTurn,
  journalled: readonly ResumedCall[],
): Promise<ChatMessage[]> {
  const { step } = turn
  const planned = planCalls(run, turn)
  turn.calls = namedCalls(turn.calls, planned)
  const results = new Map<string, string>()
  const interrupted = new Map<string, InterruptedCall>()
  for (const one of journalled) {
    if (one.finished !== null) results.set(one.call_id, one.finished.text)
    else if (one.started !== null) interrupted.set(one.call_id, { ...one, started: one.started })
  }
  const open = planned.filter(({ id }) => !results.has(id))
  let suspension: RunSuspended | null = null
  const checked = new Map(journalled.map((one) => [one.call_id, one.checked ?? []]))
  let isDurable = journalled.length > 0
  const makeDurable = async () => {
    if (!isDurable) await commit(run)
    isDurable = true
  }

  /** Everything here is one transaction of the journal: no `await`. */
  const announce = (calls: readonly PlannedCall[]) => {
    const unknown = calls.filter(({ id }) => !turn.announced.includes(id))
    if (unknown.length === 0) return
    turn.announced.push(...unknown.map(({ id }) => id))
    note(run, turn)
    for (const call of unknown) {
      run.setup.emit('tool_call', { ...stepFields(step), tool_name: call.name, arguments: call.args, call_id: call.id })
    }
  }

  const announceInterruption = ({ started, call_id }: InterruptedCall) => {
    const start = `${call_id}:${started.attempt}`
    if (turn.interrupted.includes(start)) return
    turn.interrupted.push(start)
    note(run, turn)
    run.setup.emit('call_interrupted', {
      ...stepFields(step),
      tool_name: started.tool_name,
      call_id,
      arguments: started.arguments,
      run_id: run.setup.call.principal.runId,
    })
  }

  const make = async (call: PlannedCall) => {
    const lost = interrupted.get(call.id) ?? null
    let outcome: Outcome
    try {
      outcome = await carryOut(run, {
        ...{ step, call, isTainted: turn.is_tainted, interrupted: lost, makeDurable },
        checked: checked.get(call.id) ?? [],
        onUndecided: () => lost && announceInterruption(lost),
      })
    } catch (thrown) {
      if (thrown instanceof RunSuspended && !run.signal.aborted) {
        suspension ??= thrown
        return
      }
      if (run.lost !== null) return
      outcome = refused(NOT_MADE, call.args)
    }
    report(run, step, call, outcome)
    results.set(call.id, outcome.text)
  }

  const isParallel = ({ tool, problem }: PlannedCall) => problem === null && tool?.isConcurrencySafe === true
  const together = run.signal.aborted ? [] : open.filter(isParallel)
  announce(together)
  await inParallel(together, make)
  for (const call of open.filter((one) => !isParallel(one))) {
    if (run.signal.aborted || run.lost !== null || suspension !== null) break
    announce([call])
    await make(call)
  }
  if (run.lost !== null) throw run.lost
  if (suspension !== null && !run.signal.aborted) throw suspension
  // The stop came before those were made that are announced: while one waited for a person, or before this executor began.
  for (const call of open) {
    if (turn.announced.includes(call.id) && !results.has(call.id)) await make(call)
  }
  return messagesOf(turn.raw_text, turn.calls, (id) => results.get(id) ?? NOT_MADE)
}
