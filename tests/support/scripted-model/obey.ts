import { createHash } from 'node:crypto'
import type { Directive } from './directives.ts'
import { directivesIn } from './directives.ts'
import type { ModelInput, Player, WireMessage } from './server.ts'
import { textOf } from './server.ts'
import type { ScriptedCall, Turn } from './turns.ts'

/**
 * The worst case: a model that obeys every instruction it finds, whoever wrote it.
 *
 * It reads the definitions of tools, the system prompt, the user's messages and the results of tools, in this order, for
 *
 *     CALL tool_name {"argument": "value"}
 *     SAY any text up to the end of the line
 *
 * anywhere in a line, also inside JSON strings (rows of a table, another tool's answer), where quotes and line breaks are
 * escaped. What follows the name need not be JSON: then the rest of the line is the raw argument text. No list of tools
 * limits it. In arguments and in what it says it fills in what it knows by then:
 *
 *     {{result}}, {{result:tool_name}}  the text of the last tool result, or of the last one of this tool
 *     {{result_url}}, {{result_url:tool_name}}  the same, percent-encoded
 *     {{prompt}}  everything it was sent
 *
 * Each request makes it carry out the next call that it has not made yet (or all of them, with `together`) and say what
 * stands before that call. The same call ordered twice is made once. When nothing is left to call it says the rest, and
 * then everything it was sent: what reached the model, a test can find in the answer. Where it is offered no tools at all
 * it does both at once, since there may be no other occasion.
 *
 * What has been called it sees in the conversation, by the id of a call, which is made from the order, or by name and
 * arguments; so it keeps no state, and any number of runs may use it at the same time.
 */
export function obey({ together = false }: { together?: boolean } = {}): Player {
  return (input) => {
    const orders = ordersIn(input)
    const made = callsMade(input.messages)
    const isMade = (order: Order) =>
      made.has(order.id) || (order.kind === 'call' && made.has(contentOf(order) ?? order.id))
    const lastMade = orders.findLastIndex(isMade)
    const pending = orders.filter((order) => order.kind === 'call' && !isMade(order))
    const calls = together ? pending : pending.slice(0, 1)
    const lastCall = calls.at(-1)
    const isLast = lastCall === undefined || input.tools.length === 0
    const until = isLast ? orders.length : orders.indexOf(lastCall)
    const said = orders.slice(lastMade + 1, until).flatMap((order) => (order.kind === 'say' ? [order.text] : []))
    const text = [...said.map((one) => filledIn(one, input, false)), ...(isLast ? [echoOf(input)] : [])].join('\n')
    const turn: Turn = { text }
    if (calls.length > 0) turn.toolCalls = calls.flatMap((order) => callOf(order, input))
    return turn
  }
}

/** An order with an id: the same whenever the same text is read. */
type Order = Directive & { id: string }

const idOf = (directive: Directive) =>
  `obey_${createHash('sha256').update(JSON.stringify(directive)).digest('hex').slice(0, 24)}`

/** Everything that is ordered, in order; every call once. */
function ordersIn({ messages, tools }: ModelInput): Order[] {
  const texts = [...tools.map((tool) => JSON.stringify(tool)), ...messages.filter(isRead).map((m) => textOf(m.content))]
  const orders = texts.flatMap(directivesIn).map((directive) => ({ ...directive, id: idOf(directive) }))
  return orders.filter((order, i) => order.kind === 'say' || orders.findIndex(({ id }) => id === order.id) === i)
}

/** What it said itself orders nothing. */
const isRead = ({ role }: WireMessage) => role !== 'assistant'

/** Name and arguments as they come back in a conversation; null where malformed ones come back as something else. */
function contentOf({ name, args }: { name: string; args: string }): string | null {
  try {
    return `${name.replace(/[^\w-]/g, '_').slice(0, 64)} ${JSON.stringify(JSON.parse(args))}`
  } catch {
    return null
  }
}

/** Calls of the conversation, by id and by content. */
function callsMade(messages: readonly WireMessage[]): Set<string | null> {
  const calls = messages.flatMap((message) => message.tool_calls ?? [])
  return new Set(
    calls.flatMap(({ id = '', function: { name = '', arguments: args = '' } = {} }) => [id, contentOf({ name, args })]),
  )
}

const callOf = (order: Order, input: ModelInput): ScriptedCall[] =>
  order.kind === 'call' ? [{ id: order.id, name: order.name, arguments: filledIn(order.args, input, true) }] : []

/** Text of the last result; of the tool of this name, if one is given. */
function lastResult(messages: readonly WireMessage[], tool: string | undefined): string {
  const calls = messages.flatMap((message) => message.tool_calls ?? [])
  const ids = new Set(calls.filter((call) => tool === undefined || call.function?.name === tool).map(({ id }) => id))
  return textOf(messages.findLast(({ role, tool_call_id: id }) => role === 'tool' && ids.has(id))?.content)
}

/** Puts what the model knows in place of `{{...}}`. @param isJson the places are inside JSON strings. */
function filledIn(text: string, input: ModelInput, isJson: boolean): string {
  const known = (name: string, tool: string | undefined) => {
    if (name === 'prompt') return echoOf(input)
    const result = lastResult(input.messages, tool)
    return name === 'result' ? result : encodeURIComponent(result.toWellFormed())
  }
  return text.replace(/\{\{(prompt|result|result_url)(?::([\w-]+))?\}\}/g, (_whole, name: string, tool?: string) => {
    const value = known(name, tool)
    return isJson ? JSON.stringify(value).slice(1, -1) : value
  })
}

/** Everything a request holds, as text. */
export function echoOf({ messages, tools }: Pick<ModelInput, 'messages' | 'tools'>): string {
  const parts = messages.map((message) => {
    const calls = (message.tool_calls ?? []).map(({ function: called }) => `${called?.name} ${called?.arguments}`)
    return [`<${message.role}>`, textOf(message.content), ...calls].join('\n')
  })
  return [...parts, ...tools.map((tool) => `<tool definition>\n${JSON.stringify(tool)}`)].join('\n')
}
