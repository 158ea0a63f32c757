/** What the scripted model does when it is asked once. Absent members do nothing. */
export type Turn = {
  /** A string is streamed word by word, a list piece by piece. */
  text?: string | string[]
  /** As `text`, sent before it as `reasoning_content`. */
  reasoning?: string | string[]
  toolCalls?: ScriptedCall[]
  /** Sends the pieces of several calls in turns instead of one call after the other. */
  interleaved?: boolean
  /** `stop`, or `tool_calls` when there are calls; null sends none, as a stream that ends too early. */
  finishReason?: string | null
  /** Counted from characters when absent; null sends none. */
  usage?: Record<string, unknown> | null
  /** Deltas sent as they are, after text and calls, for servers with odd habits. */
  deltas?: Record<string, unknown>[]
  /** Answers with this HTTP status instead. */
  status?: number
  /** Body of such an answer, or the `error` of a stream that breaks off with one: an object as JSON, a string as it is. */
  error?: Record<string, unknown> | string
  headers?: Record<string, string>
  /** Closes the connection after so many events of the stream. */
  cutAfter?: number
  /** Awaited before the answer begins. */
  before?: () => Promise<unknown>
  /** Awaited before each event of the stream. */
  between?: () => Promise<unknown>
}

export type ScriptedCall = {
  /** `call_<request>_<position>` when absent; null sends none. */
  id?: string | null
  name: string
  /** The text the model writes, which need not be JSON; an object is written as JSON, a list piece by piece. Absent: none. */
  arguments?: string | Record<string, unknown> | string[]
}

const MIN_PIECE_CHARS = 12
const MAX_PIECES = 16

const wordsOf = (text: string | string[] | undefined): string[] =>
  text === undefined ? [] : typeof text === 'string' ? (text.match(/\s*\S+|\s+$/g) ?? []) : text

function argumentPieces(args: ScriptedCall['arguments']): string[] {
  if (args === undefined) return []
  if (Array.isArray(args)) return args
  const text = typeof args === 'string' ? args : JSON.stringify(args)
  const size = Math.max(MIN_PIECE_CHARS, Math.ceil(text.length / MAX_PIECES))
  return Array.from({ length: Math.ceil(text.length / size) }, (_, i) => text.slice(i * size, (i + 1) * size))
}

const idOf = (call: ScriptedCall, position: number, requestNumber: number) =>
  call.id === undefined ? `call_${requestNumber}_${position}` : call.id

const callPieces = (call: ScriptedCall, index: number, requestNumber: number): object[] => {
  const id = idOf(call, index, requestNumber)
  const head = { index, ...(id === null ? {} : { id }), type: 'function', function: { name: call.name, arguments: '' } }
  return [head, ...argumentPieces(call.arguments).map((text) => ({ index, function: { arguments: text } }))]
}

function inTurns<T>(lists: T[][]): T[] {
  const longest = Math.max(0, ...lists.map((list) => list.length))
  return Array.from({ length: longest }, (_, i) => lists.flatMap((list) => list.slice(i, i + 1))).flat()
}

/** The deltas of a turn, in the order they are streamed. */
export function deltasOf(turn: Turn, requestNumber: number): object[] {
  const calls = (turn.toolCalls ?? []).map((call, index) => callPieces(call, index, requestNumber))
  return [
    { role: 'assistant', content: '' },
    ...wordsOf(turn.reasoning).map((piece) => ({ reasoning_content: piece })),
    ...wordsOf(turn.text).map((piece) => ({ content: piece })),
    ...(turn.interleaved ? inTurns(calls) : calls.flat()).map((piece) => ({ tool_calls: [piece] })),
    ...(turn.deltas ?? []),
  ]
}

/** The message of a turn, for requests that want no stream. */
export function messageOf(turn: Turn, requestNumber: number): object {
  const calls = (turn.toolCalls ?? []).map((call, index) => ({
    id: idOf(call, index, requestNumber) ?? undefined,
    type: 'function',
    function: { name: call.name, arguments: argumentPieces(call.arguments).join('') },
  }))
  const reasoning = wordsOf(turn.reasoning).join('')
  return {
    role: 'assistant',
    content: wordsOf(turn.text).join('') || (calls.length > 0 ? null : ''),
    ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  }
}

/** The finish reason of a turn. */
export const finishOf = (turn: Turn): string | null =>
  turn.finishReason === undefined ? ((turn.toolCalls ?? []).length > 0 ? 'tool_calls' : 'stop') : turn.finishReason

/** The usage of a turn: four characters make a token. */
export function usageOf(turn: Turn, requestBody: unknown): Record<string, unknown> | null {
  if (turn.usage !== undefined) return turn.usage
  const tokens = (value: unknown) => Math.ceil(JSON.stringify(value).length / 4)
  const [prompt, completion] = [tokens(requestBody), tokens(messageOf(turn, 0))]
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion }
}
