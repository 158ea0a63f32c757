import { runLoop } from '../../../../supabase/functions/_shared/agent/loop.ts'
import type { LoopOutcome } from '../../../../supabase/functions/_shared/agent/loop.ts'
import type { LoopSetup } from '../../../../supabase/functions/_shared/agent/options.ts'
import type { TextFilter } from '../../../../supabase/functions/_shared/agent/types.ts'
import type {
  ChatEvent,
  ChatProvider,
  ChatRequest,
  Usage,
} from '../../../../supabase/functions/_shared/providers/index.ts'
import type { Principal, Tool, ToolResult } from '../../../../supabase/functions/_shared/tools/types.ts'

/** Tokens that every call of the scripted model uses. */
export const USAGE: Usage = {
  prompt_tokens: 10,
  completion_tokens: 3,
  total_tokens: 13,
  reasoning_tokens: 1,
  cached_tokens: 2,
}

/** What the scripted model does at one call: its events, `done` left out or not; an error among them is thrown there. */
export type Turn = readonly (ChatEvent | Error)[]

export const say = (text: string): ChatEvent => ({ type: 'delta', text })
export const think = (text: string): ChatEvent => ({ type: 'reasoning', text })
export const done = (finishReason: string): ChatEvent => ({ type: 'done', usage: USAGE, finishReason })
let calls = 0
/** A call; arguments that are no string are written as JSON. */
export const call = (name: string, args: unknown = {}, id = `call_${++calls}`): ChatEvent => ({
  type: 'tool_call',
  call: { id, name, arguments: typeof args === 'string' ? args : JSON.stringify(args) },
})

/** A model that follows a script and remembers what it was asked. */
export type ScriptedModel = ChatProvider & { requests: ChatRequest[] }

/** @param script one turn per call, or a function of the request and the number of the call, from 0. */
export function scriptedModel(
  script: readonly Turn[] | ((request: ChatRequest, at: number) => Turn),
  contextWindow: number | ((model: string) => number) = 1_000_000,
): ScriptedModel {
  const requests: ChatRequest[] = []
  return {
    name: 'scripted',
    model: 'model-a',
    modelFor: (requested) => requested || 'model-a',
    contextWindow: (model) => (typeof contextWindow === 'number' ? contextWindow : contextWindow(model || 'model-a')),
    requests,
    async *stream(request, signal) {
      const at = requests.push(structuredClone(request)) - 1
      const turn = typeof script === 'function' ? script(request, at) : script[at]
      if (!turn) throw new Error(`The script has no turn ${at}.`)
      for (const event of turn) {
        await Promise.resolve()
        signal.throwIfAborted()
        if (event instanceof Error) throw event
        yield event
        if (event.type === 'done') return
      }
      yield done(turn.some((event) => !(event instanceof Error) && event.type === 'tool_call') ? 'tool_calls' : 'stop')
    },
  }
}

/** A tool; by default it reads, runs alone, takes anything and answers `ok`. */
export function fakeTool(
  name: string,
  answer: ToolResult | string | Tool['execute'] = 'ok',
  traits: Partial<Tool> = {},
): Tool & { received: Record<string, unknown>[]; callIds: string[] } {
  const received: Record<string, unknown>[] = []
  const callIds: string[] = []
  return {
    name,
    description: `The tool ${name}.`,
    inputSchema: { type: 'object' },
    kind: 'builtin',
    isConcurrencySafe: false,
    effects: [],
    maxResultChars: 50_000,
    ...traits,
    received,
    callIds,
    async execute(args, context) {
      received.push(args)
      callIds.push(context.callId)
      if (typeof answer === 'function') return answer(args, context)
      return typeof answer === 'string' ? { text: answer } : answer
    },
  }
}

const principal: Principal = {
  tenantId: 'tenant',
  userId: 'user',
  agentId: 'agent',
  runId: 'run_1',
  runUuid: '00000000-0000-4000-8000-0000000000f1',
  caller: () => Promise.reject(new Error('not needed here')),
  actingCaller: () => Promise.reject(new Error('not needed here')),
  db: () => Promise.reject(new Error('not needed here')),
  actingDb: () => Promise.reject(new Error('not needed here')),
}

/** A filter that changes nothing. */
export const noFilter = (): TextFilter => ({ push: (text) => text, end: () => '' })

export type Event = { event: string } & Record<string, unknown>
export type Ran = {
  result: LoopOutcome
  events: Event[]
  /** What was logged, as one text. */
  logged: string
}

/** Runs the loop with a scripted model; everything else has a plain default. */
export async function runScript(
  chat: ChatProvider,
  tools: readonly Tool[] = [],
  changes: Partial<LoopSetup> & { signal?: AbortSignal } = {},
): Promise<Ran> {
  const events: Event[] = []
  const logged: string[] = []
  const log = (event: string, fields: Record<string, unknown>) => void logged.push(JSON.stringify({ event, ...fields }))
  const { signal, ...rest } = changes
  const result = await runLoop({
    chat,
    request: { system: 'Be brief.', messages: [{ role: 'user', content: 'Hello?' }], context: [], citations: false },
    tools,
    gates: {},
    call: { principal, signal: signal ?? new AbortController().signal, log: { info: log, error: log } },
    emit: (event, fields) => void events.push({ event, ...fields }),
    textFilter: noFilter,
    reasoningFilter: noFilter,
    maxSteps: 25,
    retryDelaysMs: [0, 0, 0],
    ...rest,
  })
  return { result, events, logged: logged.join('\n') }
}

/** The events of one kind. */
export const only = (events: readonly Event[], kind: string): Event[] => events.filter(({ event }) => event === kind)

/** What a client that follows `step_reset` shows in the end. */
export function shownText(events: readonly Event[]): string {
  let finished = ''
  let current = ''
  for (const { event, ...fields } of events) {
    if (event === 'step_started') {
      finished += current
      current = ''
    } else if (event === 'step_reset') {
      current = ''
    } else if (event === 'content_delta') {
      current += String(fields['delta'])
    }
  }
  return finished + current
}

/** What every stream of events must keep to, whatever the model did. Throws an Error that names the broken rule. */
export function assertWellFormed(events: readonly Event[]): void {
  const fail = (rule: string, event: Event) => {
    throw new Error(`${rule}: ${JSON.stringify(event)}`)
  }
  const open = new Map<unknown, unknown>()
  const closed = new Set<unknown>()
  let step = 0
  let isInStep = false
  let hasCalls = false
  let hasFailed = false
  for (const event of events) {
    if ('step' in event && event['step'] !== event['step_number']) fail('step and step_number differ', event)
    if ('step' in event && event.event !== 'step_started' && event['step'] !== step) fail('wrong step', event)
    switch (event.event) {
      case 'step_started':
        if (isInStep || hasFailed || event['step'] !== step + 1) fail('steps overlap or are not counted from 1', event)
        step++
        isInStep = true
        hasCalls = false
        break
      case 'error':
        if (!isInStep || hasCalls || hasFailed) fail('an error outside a step, after calls, or twice', event)
        hasFailed = true
        break
      case 'step_completed':
        if (!isInStep || open.size > 0) fail('a step ends with open calls, or twice', event)
        if (event['has_tool_calls'] !== hasCalls && open.size > 0) fail('has_tool_calls is wrong', event)
        isInStep = false
        break
      case 'content_delta':
      case 'reasoning_delta':
      case 'reasoning':
        if (!isInStep || hasCalls || hasFailed) fail('text after the calls or the failure of its step', event)
        if (event['delta'] === '') fail('an empty delta', event)
        break
      case 'tool_call':
        if (!isInStep) fail('a call outside a step', event)
        if (open.has(event['call_id']) || closed.has(event['call_id'])) fail('a call id is used twice', event)
        if (
          typeof event['arguments'] !== 'object' ||
          event['arguments'] === null ||
          Array.isArray(event['arguments'])
        ) {
          fail('arguments are no object', event)
        }
        hasCalls = true
        open.set(event['call_id'], event['tool_name'])
        break
      case 'tool_result':
        if (open.get(event['call_id']) !== event['tool_name']) fail('a result without its call', event)
        open.delete(event['call_id'])
        closed.add(event['call_id'])
        break
    }
  }
  if (isInStep || open.size > 0) throw new Error('the last step is not closed')
}
