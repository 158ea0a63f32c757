import type { AppError } from '../errors.ts'
import { describeError, toAppError } from '../errors.ts'
import type { ContextItem } from '../providers/index.ts'
import type { Tool, ToolResult } from '../tools/types.ts'
import { stopReason, untilAborted } from './abort.ts'
import { checkArguments, storableText } from './arguments.ts'
import type { CallStarted, ResumedCall } from './journal.ts'
import type { PlannedCall } from './planned-calls.ts'
import type { RunState } from './run-state.ts'
import { commit, note } from './run-state.ts'
import { RunSuspended } from './suspend.ts'
import { refusalOf } from './taint.ts'
import type { GateDecision, GateMemory } from './types.ts'

/** Characters of a result in the event `tool_result`. */
export const MAX_EVENT_CHARS = 50_000
const STOPPED = 'The run was stopped during this call. It may or may not have taken effect.'
export const NOT_MADE = 'The run was stopped before this call was made.'
const SKIPPED =
  'Error: this call was interrupted, and a person has decided that it is not made again. ' +
  'It may or may not have taken effect.'

const INTERRUPTED = 'The call was interrupted before: it may or may not have taken effect.'

/** What became of a call. */
export type Outcome = {
  text: string
  isError: boolean
  args: Record<string, unknown>
  durationMs: number
  /** Whether the tool itself ran. */
  isCarriedOut: boolean
  /** Whether it brought text that anybody may have written. */
  isUntrusted: boolean
  /** Passages that can be cited from now on. */
  contextItems: ContextItem[]
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

/** The outcome of a call that was not made. */
export const refused = (text: string, args: Record<string, unknown>): Outcome => ({
  text,
  isError: true,
  args,
  durationMs: 0,
  isCarriedOut: false,
  isUntrusted: false,
  contextItems: [],
})

/** Whether a call may be made again when nobody knows what became of it. */
function isRetrySafe(tool: Tool, args: Record<string, unknown>): boolean {
  const declared = tool.isRetrySafe ?? tool.isConcurrencySafe
  return typeof declared === 'function' ? declared(args) : declared
}

/** Runs the tool itself. */
async function execute(run: RunState, tool: Tool, args: Record<string, unknown>, id: string): Promise<Outcome> {
  const startedAt = performance.now()
  const elapsed = () => Math.round(performance.now() - startedAt)
  let result: ToolResult
  try {
    const context = { ...run.setup.call, callId: id, idempotencyKey: `${run.setup.call.principal.runId}:${id}` }
    result = await untilAborted(tool.execute(args, context), run.signal)
  } catch (thrown) {
    if (run.signal.aborted) return { ...refused(STOPPED, args), durationMs: elapsed() }
    const error = toAppError(thrown)
    run.setup.call.log.error('tool_failed', { tool_name: tool.name, code: error.code, error: describeError(thrown) })
    result = { text: failureText(error), isError: true }
  }
  const durationMs = elapsed()
  const isUntrusted = run.taint.afterCall(tool, result)
  const contextItems: ContextItem[] = []
  for (const item of result.contextItems ?? []) {
    // The text names passages by their numbers, so a number that is taken cannot be changed, only left out.
    const isTaken = [...run.request.context, ...run.contextItems].some(({ key }) => key === item.key)
    if (isTaken) continue
    run.contextItems.push(item)
    contextItems.push(item)
  }
  const text = capped(storableText(result.text), tool.maxResultChars)
  const handler = result.contextHandler
  return {
    text,
    isError: result.isError ?? false,
    args,
    durationMs,
    isCarriedOut: true,
    isUntrusted,
    contextItems,
    ...(handler ? { handler } : {}),
  }
}

/** Runs the tool once the journal says so, and lets a gate change its result. @throws as `carryOut`. */
async function perform(
  run: RunState,
  step: number,
  { id, tool }: PlannedCall & { tool: Tool },
  args: Record<string, unknown>,
  attempt: number,
  makeDurable: () => Promise<void>,
): Promise<Outcome> {
  const { gates, call, journal } = run.setup
  if (journal) {
    const isSafe = isRetrySafe(tool, args)
    const started: CallStarted = {
      ...{ op: 'call_started', step, call_id: id, tool_name: tool.name, arguments: args },
      is_retry_safe: isSafe,
      attempt,
    }
    note(run, started)
    // Whoever takes the run over must know that the call may have taken effect, and under which id.
    await (isSafe ? makeDurable() : commit(run))
  }
  const outcome = await execute(run, tool, args, id)
  if (!gates.afterTool || !outcome.isCarriedOut) return outcome
  try {
    const changed = await untilAborted(gates.afterTool(tool, args, outcome.text), run.signal)
    return { ...outcome, text: capped(storableText(changed), withNote(tool.maxResultChars)) }
  } catch (thrown) {
    if (run.signal.aborted) return { ...outcome, text: STOPPED, isError: true }
    // What a hook was to take out must not get through because the hook failed.
    call.log.error('gate_failed', { tool_name: tool.name, error: describeError(thrown) })
    return { ...outcome, text: 'Error: the call was made, but its result is withheld: a hook failed.', isError: true }
  }
}

/** An earlier executor began this call, and nobody knows what became of it. */
export type InterruptedCall = ResumedCall & { started: CallStarted }

/**
 * Makes a call again whose executor was lost. Gates and rules had let it pass, so it goes on with the arguments of then, unless
 * the tool may not be called any more.
 * @throws as `carryOut`.
 */
function resumeCall(
  run: RunState,
  step: number,
  { id, tool, args: planned, problem }: PlannedCall,
  { started, decision }: InterruptedCall,
  { onUndecided, makeDurable }: CallTask,
): Outcome | Promise<Outcome> {
  const { arguments: args, attempt } = started
  const isSafe = started.is_retry_safe
  if (run.signal.aborted) return refused(isSafe ? NOT_MADE : STOPPED, args)
  if (!isSafe && decision === null) {
    onUndecided()
    throw new RunSuspended('unsafe_call', id)
  }
  if (!isSafe && decision !== 'retry') return refused(SKIPPED, args)
  if (tool === null || problem !== null) return refused(`Error: ${problem}`, planned)
  const denial = run.setup.gates.denies?.(tool) ?? null
  if (denial !== null) return refused(`${denial} ${INTERRUPTED}`, args)
  return perform(run, step, { id, tool, args, problem, name: tool.name }, args, attempt + 1, makeDurable)
}

export type CallTask = {
  step: number
  call: PlannedCall
  /** Whether the run was tainted when the model wrote the call. */
  isTainted: boolean
  interrupted: InterruptedCall | null
  /** What gates have found out about it before. */
  checked: readonly unknown[]
  /** Resolves when the turn, with the id of this call, is durable. */
  makeDurable: () => Promise<void>
  /** Called once a person has to decide what becomes of the interrupted call. */
  onUndecided: () => void
}

/**
 * Takes a call through gates, rules and tool.
 * @throws RunSuspended when a person has to decide first; when the run is stopped or lost before the tool runs, why.
 */
export async function carryOut(run: RunState, task: CallTask): Promise<Outcome> {
  const { step, isTainted } = task
  const { tool, args, problem, id } = task.call
  if (task.interrupted) return resumeCall(run, step, task.call, task.interrupted, task)
  if (tool === null || problem !== null) return refused(`Error: ${problem}`, args)
  if (run.signal.aborted) throw stopReason(run.signal)
  const { gates, call } = run.setup
  try {
    let decision: GateDecision = { allowed: true, args }
    if (gates.beforeTool) {
      if (gates.asksAbout?.(tool) ?? true) await task.makeDurable()
      const memory: GateMemory = {
        past: task.checked,
        keep: (checks) => note(run, { op: 'call_checked', step, call_id: id, checks }),
      }
      decision = await untilAborted(gates.beforeTool(tool, structuredClone(args), id, memory), run.signal)
    }
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
    return await perform(run, step, { ...task.call, tool }, checked.args, 1, task.makeDurable)
  } catch (thrown) {
    if (run.signal.aborted || run.lost !== null || thrown instanceof RunSuspended) throw thrown
    call.log.error('gate_failed', { tool_name: tool.name, error: describeError(thrown) })
    return refused('Error: the call was not made: a hook failed.', args)
  }
}
