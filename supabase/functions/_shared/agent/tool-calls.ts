import { AppError, describeError, toAppError } from '../errors.ts'
import type { ChatMessage, ToolCall } from '../providers/index.ts'
import type { Tool, ToolResult } from '../tools/types.ts'
import { stopReason, untilAborted } from './abort.ts'
import { checkArguments, storableText } from './arguments.ts'
import type { PlannedCall } from './planned-calls.ts'
import { echoedCalls, planCall } from './planned-calls.ts'
import type { RunState } from './run-state.ts'
import { stepFields } from './run-state.ts'
import { refusalOf } from './taint.ts'
import type { GateDecision } from './types.ts'

/** Calls of one step that are carried out; the model may ask again for the rest. */
const MAX_CALLS = 32
/** Calls that run at the same time. */
const MAX_PARALLEL = 8
/** Characters of a result in the event `tool_result`. */
const MAX_EVENT_CHARS = 50_000
const PREVIEW_CHARS = 200
const STOPPED = 'The run was stopped during this call. It may or may not have taken effect.'
const NOT_MADE = 'The run was stopped before this call was made.'

/** What became of a call. */
type Outcome = {
  text: string
  isError: boolean
  args: Record<string, unknown>
  durationMs: number
  /** Whether the tool itself ran. */
  isCarriedOut: boolean
  handler?: ToolResult['contextHandler']
}

/** The text cut to what the model may get, with a note. @param max null: all of it. */
export function capped(text: string, max: number | null): string {
  if (max === null || text.length <= max) return text
  return `${text.slice(0, max)}\n[Cut off: these are the first ${max} of ${text.length} characters.]`.toWellFormed()
}

/** A limit with room for the note of a text that was cut before. */
const withNote = (max: number | null) => (max === null ? null : max + 100)

function failureText(error: AppError): string {
  return `Error: ${error.message}${error.hint === null ? '' : ` ${error.hint}`}`
}

const refused = (text: string, args: Record<string, unknown>): Outcome => ({
  text,
  isError: true,
  args,
  durationMs: 0,
  isCarriedOut: false,
})

/** Runs the tool itself. */
async function execute(run: RunState, tool: Tool, args: Record<string, unknown>, id: string): Promise<Outcome> {
  const startedAt = performance.now()
  const elapsed = () => Math.round(performance.now() - startedAt)
  let result: ToolResult
  try {
    result = await untilAborted(tool.execute(args, { ...run.setup.call, callId: id }), run.signal)
  } catch (thrown) {
    if (run.signal.aborted) return { ...refused(STOPPED, args), durationMs: elapsed() }
    const error = toAppError(thrown)
    run.setup.call.log.error('tool_failed', { tool_name: tool.name, code: error.code, error: describeError(thrown) })
    result = { text: failureText(error), isError: true }
  }
  const durationMs = elapsed()
  run.taint.afterCall(tool, result)
  for (const item of result.contextItems ?? []) {
    // The text names passages by their numbers, so a number that is taken cannot be changed, only left out.
    const isTaken = [...run.request.context, ...run.contextItems].some(({ key }) => key === item.key)
    if (!isTaken) run.contextItems.push(item)
  }
  const text = capped(storableText(result.text), tool.maxResultChars)
  const handler = result.contextHandler
  return {
    text,
    isError: result.isError ?? false,
    args,
    durationMs,
    isCarriedOut: true,
    ...(handler ? { handler } : {}),
  }
}

/** Takes a call through gates, rules and tool. @throws when the run is stopped before the tool runs. */
async function carryOut(run: RunState, { tool, args, problem, id }: PlannedCall, isTainted: boolean): Promise<Outcome> {
  if (tool === null || problem !== null) return refused(`Error: ${problem}`, args)
  if (run.signal.aborted) throw stopReason(run.signal)
  const { gates, call } = run.setup
  try {
    let decision: GateDecision = { allowed: true, args }
    if (gates.beforeTool) decision = await untilAborted(gates.beforeTool(tool, structuredClone(args), id), run.signal)
    if (!decision.allowed) return refused(capped(storableText(decision.message), MAX_EVENT_CHARS), args)
    const checked = checkArguments(tool.inputSchema, decision.args)
    if (!checked.ok) return refused(`Error: the call was changed by a hook. ${checked.problem}`, checked.args)
    const refusal = refusalOf({
      policy: run.setup.untrusted ?? 'refuse',
      tool,
      isTainted,
      sources: run.taint.sources(),
      isApproved: decision.isApproved === true,
    })
    if (refusal !== null) return refused(refusal, checked.args)
    const outcome = await execute(run, tool, checked.args, id)
    if (!gates.afterTool || !outcome.isCarriedOut) return outcome
    try {
      const changed = await untilAborted(gates.afterTool(tool, checked.args, outcome.text), run.signal)
      return { ...outcome, text: capped(storableText(changed), withNote(tool.maxResultChars)) }
    } catch (thrown) {
      if (run.signal.aborted) return { ...outcome, text: STOPPED, isError: true }
      // What a hook was to take out must not get through because the hook failed.
      call.log.error('gate_failed', { tool_name: tool.name, error: describeError(thrown) })
      return { ...outcome, text: 'Error: the call was made, but its result is withheld: a hook failed.', isError: true }
    }
  } catch (thrown) {
    if (run.signal.aborted) throw thrown
    call.log.error('gate_failed', { tool_name: tool.name, error: describeError(thrown) })
    return refused('Error: the call was not made: a hook failed.', args)
  }
}

function announce(run: RunState, step: number, call: PlannedCall): void {
  run.setup.emit('tool_call', { ...stepFields(step), tool_name: call.name, arguments: call.args, call_id: call.id })
}

function report(run: RunState, step: number, call: PlannedCall, outcome: Outcome): void {
  const common = { ...stepFields(step), tool_name: call.name, call_id: call.id }
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

/**
 * Carries out the calls of one step: those that are safe beside each other together, then the rest one by one, in order.
 * Every announced call gets exactly one result, also when it is refused, invalid, or the run is stopped while it runs; after
 * a stop no further call begins. It never throws.
 * @param text what the model wrote beside the calls.
 * @param refusal why none of them may be carried out, or null.
 * @returns what the model is to see of its own answer and of the results, in the order of the calls.
 */
export async function carryOutCalls(
  run: RunState,
  step: number,
  text: string,
  calls: readonly ToolCall[],
  refusal: string | null,
): Promise<ChatMessage[]> {
  const tools = new Map(run.setup.tools.map((tool) => [tool.name, tool]))
  const planned = calls.map((call) => planCall(run, tools, call))
  // The model wrote all of these before it saw any of their results.
  const isTainted = run.taint.isTainted()
  const results = new Map<string, string>()

  const make = async (call: PlannedCall) => {
    let outcome: Outcome
    try {
      outcome = await carryOut(run, call, isTainted)
    } catch {
      outcome = refused(NOT_MADE, call.args)
    }
    report(run, step, call, outcome)
    results.set(call.id, outcome.text)
  }

  planned.forEach((call, at) => {
    if (refusal !== null) call.problem = refusal
    else if (at >= MAX_CALLS) call.problem = `not made: a step may have ${MAX_CALLS} calls.`
  })
  const isParallel = ({ tool, problem }: PlannedCall) => problem === null && tool?.isConcurrencySafe === true
  const together = run.signal.aborted ? [] : planned.filter(isParallel)
  for (const call of together) announce(run, step, call)
  await inParallel(together, make)
  for (const call of planned.filter((one) => !isParallel(one))) {
    if (run.signal.aborted) break
    announce(run, step, call)
    await make(call)
  }
  const toolMessages = planned.map((call): ChatMessage => {
    return { role: 'tool', toolCallId: call.id, name: call.name, content: results.get(call.id) ?? NOT_MADE }
  })
  return [{ role: 'assistant', content: text, toolCalls: echoedCalls(calls, planned) }, ...toolMessages]
}
