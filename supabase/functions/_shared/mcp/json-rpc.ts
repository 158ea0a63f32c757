import { createParser } from 'eventsource-parser'
import { McpError, fromEgress } from './errors.ts'

/** A JSON-RPC message as far as the client looks into it. */
export type RpcMessage = {
  id?: string | number | null
  method?: string
  result?: unknown
  error?: { code: number; message: string }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A value as a message. @throws McpError `malformed` when it is none. */
function messageOf(value: unknown): RpcMessage {
  const malformed = () => new McpError('malformed', 'sent something that is not JSON-RPC')
  if (!isRecord(value) || value['jsonrpc'] !== '2.0') throw malformed()
  const { id, method, result, error } = value
  const isId = id === undefined || id === null || typeof id === 'string' || typeof id === 'number'
  if (!isId || (method !== undefined && typeof method !== 'string')) throw malformed()
  if (error === undefined) {
    return {
      ...(id === undefined ? {} : { id }),
      ...(method === undefined ? {} : { method }),
      ...(Object.hasOwn(value, 'result') ? { result } : {}),
    }
  }
  if (!isRecord(error) || typeof error['code'] !== 'number' || typeof error['message'] !== 'string') throw malformed()
  return { ...(id === undefined ? {} : { id }), error: { code: error['code'], message: error['message'] } }
}

/** The messages in a JSON text: one, or a list of them. @throws McpError `malformed`. */
function messagesIn(text: string): RpcMessage[] {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (error) {
    throw new McpError('malformed', 'sent something that is not JSON', { cause: error })
  }
  return (Array.isArray(parsed) ? parsed : [parsed]).map(messageOf)
}

/** `promise`, or the reason of `signal` as soon as that fires: not every body ends with the signal it was asked for with. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}

/** The texts of a body as they arrive. @throws McpError `too_large` once they have more than `maxBytes`, `unreachable`. */
async function* textsOf(response: Response, maxBytes: number, signal: AbortSignal): AsyncGenerator<string> {
  const reader = response.body?.getReader()
  if (!reader) return
  const decoder = new TextDecoder()
  let size = 0
  try {
    for (;;) {
      const { done, value } = await unlessAborted(reader.read(), signal)
      if (done) break
      size += value.byteLength
      if (size > maxBytes) throw new McpError('too_large', `sent more than ${maxBytes} bytes`)
      yield decoder.decode(value, { stream: true })
    }
    yield decoder.decode()
  } catch (error) {
    if (signal.aborted) throw signal.reason
    if (error instanceof McpError) throw error
    throw fromEgress(error) ?? new McpError('unreachable', 'cut the connection', { cause: error })
  } finally {
    // Also when the answer came before the end: nobody reads the rest.
    void reader.cancel().catch(() => {})
  }
}

/** How an answer is read. */
export type ReadOptions = {
  /** Of the request that is answered. */
  id: number
  maxBytes: number
  signal: AbortSignal
  /** Takes the server's own requests and notifications that come before the answer. */
  onOther: (message: RpcMessage) => void
}

/** Finds the answer among messages; the others go to `onOther`. */
function answerIn(messages: readonly RpcMessage[], { id, onOther }: ReadOptions): RpcMessage | null {
  let answer: RpcMessage | null = null
  for (const message of messages) {
    const isAnswer = message.method === undefined && (message.error !== undefined || Object.hasOwn(message, 'result'))
    if (isAnswer && message.id === id) answer = message
    else if (message.method !== undefined) onOther(message)
  }
  return answer
}

/**
 * The answer to a request, from a body of JSON or of server-sent events.
 * @throws McpError `malformed`, also when the body ends without the answer; `too_large`; `unreachable` when it breaks; the
 * reason of `signal`.
 */
export async function readAnswer(response: Response, options: ReadOptions): Promise<RpcMessage> {
  const type = (response.headers.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase()
  if (type !== 'application/json' && type !== 'text/event-stream') {
    void response.body?.cancel().catch(() => {})
    throw new McpError('malformed', 'answered with neither JSON nor an event stream')
  }
  if (type === 'application/json') {
    let text = ''
    for await (const part of textsOf(response, options.maxBytes, options.signal)) text += part
    const answer = answerIn(messagesIn(text), options)
    if (answer !== null) return answer
    throw new McpError('malformed', 'sent no answer to the request')
  }
  const events: string[] = []
  const parser = createParser({
    onEvent: ({ event, data }) => {
      if ((event === undefined || event === 'message') && data !== '') events.push(data)
    },
  })
  for await (const part of textsOf(response, options.maxBytes, options.signal)) {
    parser.feed(part)
    for (const data of events.splice(0)) {
      const answer = answerIn(messagesIn(data), options)
      if (answer !== null) return answer
    }
  }
  throw new McpError('malformed', 'ended the event stream without an answer')
}
