import { createServer } from 'node:http'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createOfflineEmbedder } from '../../../supabase/functions/_shared/providers/offline-embedder.ts'
import type { Turn } from './turns.ts'
import { deltasOf, finishOf, messageOf, usageOf } from './turns.ts'

/**
 * An OpenAI-compatible server with a model that does what a test wants: what a script says (script.ts), whatever it reads
 * (obey.ts), or what another model once did (replay.ts). Nothing in it depends on time or chance.
 */

/** A message as it comes over the wire. */
export type WireMessage = {
  role: string
  content?: unknown
  name?: string
  tool_call_id?: string
  tool_calls?: { id?: string; function?: { name?: string; arguments?: string } }[]
}

/** One request the server got. */
export type RecordedRequest = {
  /** From 1. */
  number: number
  method: string
  path: string
  /** Without `authorization`: whether it was the expected one is in `isAuthorized`. */
  headers: IncomingHttpHeaders
  isAuthorized: boolean
  /** Parsed JSON; an empty object when it was none. */
  body: Record<string, any>
  /** The reader closed the connection before the answer had ended. */
  leftEarly: boolean
}

/** A chat request, read as far as a model reads it. */
export type ModelInput = {
  /** From 1, over all requests of the server. */
  number: number
  model: string
  messages: WireMessage[]
  /** Definitions as they were sent; empty when none were. */
  tools: Record<string, any>[]
}

/** Decides what the model does with a request. */
export type Player = (input: ModelInput) => Turn | Promise<Turn>

export type ScriptedModel = {
  /** Base URL for OPENAI_BASE_URL. */
  url: string
  /** OPENAI_BASE_URL, OPENAI_API_KEY and CHAT_MODEL for a function that is to use it. */
  env: { OPENAI_BASE_URL: string; OPENAI_API_KEY: string; CHAT_MODEL: string }
  /** Every request so far, also of embeddings, also refused ones. */
  requests: RecordedRequest[]
  /** Chat requests only. */
  chats: () => RecordedRequest[]
  /** Who answers from now on: every request, or those for one model only. */
  play: (player: Player, model?: string) => void
  stop: () => Promise<void>
}

export type ScriptedModelOptions = { apiKey?: string; model?: string }

/** The text of a message's content, also where it comes in parts. */
export function textOf(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content.map((part) => (typeof part?.text === 'string' ? part.text : '')).join('')
}

/** All that the model is given: instructions, documents, and what it is asked. */
export const promptOf = ({ messages }: Pick<ModelInput, 'messages'>): string =>
  messages.map(({ content }) => textOf(content)).join('\n')

const ERROR_TYPES: Record<number, string> = { 401: 'authentication_error', 429: 'rate_limit_error' }

function sendJson(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}) {
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(typeof body === 'string' ? body : JSON.stringify(body))
}

/** Refusals carry a header that lets clients which try again do so at once. */
const refuse = (response: ServerResponse, { status = 500, error, headers }: Turn) =>
  sendJson(
    response,
    status,
    typeof error === 'string'
      ? error
      : { error: { message: 'Refused as told.', type: ERROR_TYPES[status] ?? 'invalid_request_error', ...error } },
    { 'retry-after-ms': '1', ...headers },
  )

/** Answers that a turn has cut off, which is not the reader's doing. */
const cut = new WeakSet<ServerResponse>()

/** Ends a connection in the middle of an answer; what was written before still arrives. */
function cutOff(response: ServerResponse): void {
  cut.add(response)
  response.socket?.destroySoon()
}

async function streamTurn(response: ServerResponse, turn: Turn, request: RecordedRequest): Promise<void> {
  const base = {
    id: `chatcmpl-${request.number}`,
    object: 'chat.completion.chunk',
    created: 0,
    model: request.body['model'],
  }
  const chunk = (delta: object, finish: string | null = null) =>
    JSON.stringify({ ...base, choices: [{ index: 0, delta, finish_reason: finish }] })
  const events = deltasOf(turn, request.number).map((delta) => chunk(delta))
  const finish = finishOf(turn)
  if (turn.error !== undefined) {
    events.push(typeof turn.error === 'string' ? turn.error : JSON.stringify({ error: turn.error }))
  } else if (finish !== null) events.push(chunk({}, finish))
  const usage = usageOf(turn, request.body)
  const wantsUsage = request.body['stream_options']?.include_usage === true
  if (usage !== null && wantsUsage) events.push(JSON.stringify({ ...base, choices: [], usage }))
  events.push('[DONE]')
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache', ...turn.headers })
  response.flushHeaders()
  for (const [index, data] of events.entries()) {
    if (index === turn.cutAfter) return cutOff(response)
    await turn.between?.()
    if (response.destroyed) return
    response.write(`data: ${data}\n\n`)
  }
  if (turn.cutAfter !== undefined) cutOff(response)
  else response.end()
}

async function answerChat(response: ServerResponse, player: Player, request: RecordedRequest): Promise<void> {
  const { body, number } = request
  const turn = await player({
    number,
    model: String(body['model']),
    messages: Array.isArray(body['messages']) ? body['messages'] : [],
    tools: Array.isArray(body['tools']) ? body['tools'] : [],
  })
  await turn.before?.()
  if (turn.status !== undefined) return refuse(response, turn)
  if (body['stream'] === true) return streamTurn(response, turn, request)
  sendJson(
    response,
    200,
    {
      id: `chatcmpl-${number}`,
      object: 'chat.completion',
      created: 0,
      model: body['model'],
      choices: [{ index: 0, message: messageOf(turn, number), finish_reason: finishOf(turn) }],
      usage: usageOf(turn, body) ?? undefined,
    },
    turn.headers,
  )
}

async function answerEmbeddings(response: ServerResponse, { body }: RecordedRequest): Promise<void> {
  const vectors = await createOfflineEmbedder().embed([body['input'] ?? ''].flat().map(String))
  const data = vectors.map((embedding, index) => ({ object: 'embedding', index, embedding }))
  const usage = { prompt_tokens: 1, total_tokens: 1 }
  sendJson(response, 200, { object: 'list', data, model: body['model'], usage })
}

async function record(incoming: IncomingMessage, number: number, expected: string): Promise<RecordedRequest> {
  const { authorization, ...headers } = incoming.headers
  let text = ''
  incoming.setEncoding('utf8')
  for await (const part of incoming) text += part
  let body: RecordedRequest['body'] = {}
  try {
    body = Object(JSON.parse(text))
  } catch {
    // Recorded as an empty object; the answer is a refusal.
  }
  return {
    number,
    method: incoming.method ?? '',
    path: incoming.url ?? '',
    headers,
    isAuthorized: authorization === `Bearer ${expected}`,
    body,
    leftEarly: false,
  }
}

/**
 * Starts the server on a free port of this machine. Until `play` is called it refuses every chat request; a request with
 * another key than `apiKey` is refused always.
 */
export async function startScriptedModel(options: ScriptedModelOptions = {}): Promise<ScriptedModel> {
  const { apiKey = 'sk-scripted', model = 'scripted-model' } = options
  const requests: RecordedRequest[] = []
  const players = new Map<string, Player>()
  let everybody: Player = () => ({ status: 501, error: { message: 'Nothing to play.' } })
  let count = 0

  async function answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const request = await record(incoming, ++count, apiKey)
    requests.push(request)
    response.on('close', () => (request.leftEarly = !response.writableEnded && !cut.has(response)))
    if (!request.isAuthorized) return refuse(response, { status: 401, error: { message: 'Wrong key.' } })
    if (request.path.endsWith('/embeddings')) return answerEmbeddings(response, request)
    if (!request.path.endsWith('/chat/completions')) return refuse(response, { status: 404 })
    return answerChat(response, players.get(String(request.body['model'])) ?? everybody, request)
  }

  const server = createServer((incoming, response) => {
    answer(incoming, response).catch((error: unknown) => {
      // A test's own mistake, e.g. a player that throws: the caller must see a failure, and only one.
      if (response.headersSent) response.destroy()
      else refuse(response, { status: 500, error: { message: String(error) }, headers: { 'x-should-retry': 'false' } })
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`
  return {
    url,
    env: { OPENAI_BASE_URL: url, OPENAI_API_KEY: apiKey, CHAT_MODEL: model },
    requests,
    chats: () => requests.filter((request) => request.path.endsWith('/chat/completions')),
    play(player, onlyFor) {
      if (onlyFor === undefined) everybody = player
      else players.set(onlyFor, player)
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
