import type { ChatMessage, ToolCall } from '../providers/index.ts'
import type { Tool } from '../tools/types.ts'
import { parseArguments, readArguments, storableText } from './arguments.ts'
import type { RunState } from './run-state.ts'

const MAX_NAME_CHARS = 128
const SAFE_ID = /^[A-Za-z0-9_-]{1,64}$/

/** An id that no other call of the run has: providers repeat theirs, and a model may be made to. */
function idFor(run: RunState, call: ToolCall): string {
  const isUsable = SAFE_ID.test(call.id) && !run.callIds.has(call.id)
  const id = isUsable ? call.id : `call_${crypto.randomUUID().replaceAll('-', '')}`
  run.callIds.add(id)
  return id
}

/** A call the model wants made, with what is known before anything happens. */
export type PlannedCall = {
  id: string
  /** As the model wrote it, shortened. */
  name: string
  tool: Tool | null
  args: Record<string, unknown>
  /** Why it cannot be made at all; null: it can. */
  problem: string | null
}

/** Looks at a call before anything happens: its tool, its arguments, an id of its own. */
export function planCall(run: RunState, tools: ReadonlyMap<string, Tool>, call: ToolCall): PlannedCall {
  const tool = tools.get(call.name) ?? null
  const parsed = tool ? parseArguments(tool.inputSchema, call.arguments) : readArguments(call.arguments)
  const known = [...tools.keys()].join(', ')
  const unknown = `There is no tool of this name. ${known === '' ? 'There are no tools.' : `The tools are: ${known}.`}`
  const problem = tool === null ? unknown : parsed.ok ? null : parsed.problem
  const name = storableText(call.name.slice(0, MAX_NAME_CHARS))
  return { id: idFor(run, call), name, tool, args: parsed.args, problem }
}

/** The calls with the ids and names they have in this run. */
export const namedCalls = (calls: readonly ToolCall[], planned: readonly PlannedCall[]): ToolCall[] =>
  calls.map((call, at) => ({ ...call, id: planned[at]?.id ?? call.id, name: planned[at]?.name ?? call.name }))

/** What the model is to see of its own answer and of the results, in the order of the calls: always valid JSON. */
export function messagesOf(
  text: string,
  calls: readonly ToolCall[],
  resultOf: (callId: string) => string,
): ChatMessage[] {
  const toolCalls = calls.map((call) => ({
    ...call,
    arguments: readArguments(call.arguments).ok && call.arguments.trim() !== '' ? call.arguments : '{}',
  }))
  return [
    { role: 'assistant', content: text, toolCalls },
    ...calls.map(({ id, name }): ChatMessage => ({ role: 'tool', toolCallId: id, name, content: resultOf(id) })),
  ]
}
