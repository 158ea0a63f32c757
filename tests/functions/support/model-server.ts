import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createOfflineEmbedder } from '../../../supabase/functions/_shared/providers/offline-embedder.ts'

/** One request the server got. */
export type ModelRequest = { path: string; headers: IncomingMessage['headers']; body: Record<string, any> }

/** A stand-in for an OpenAI-compatible endpoint. */
export type ModelServer = {
  /** Base URL for OPENAI_BASE_URL. */
  url: string
  requests: ModelRequest[]
  /** How the next chat requests are answered; text pieces are streamed one by one. */
  answer: (respond: ChatResponder) => void
  stop: () => Promise<void>
}

export type ChatResponder = (request: ModelRequest, response: ServerResponse) => void | Promise<void>

const piece = (delta: object, finish: string | null = null) =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'stub', choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`

/** Streams these texts, then usage and `[DONE]`, as a model would. */
export const say =
  (...texts: string[]): ChatResponder =>
  (_request, response) => {
    response.setHeader('content-type', 'text/event-stream')
    for (const text of texts) response.write(piece({ content: text }))
    response.write(piece({}, 'stop'))
    const usage = {
      prompt_tokens: 11,
      completion_tokens: 7,
      total_tokens: 18,
      prompt_tokens_details: { cached_tokens: 3 },
    }
    response.write(
      `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'stub', choices: [], usage })}\n\n`,
    )
    response.end('data: [DONE]\n\n')
  }

/** Calls a tool as long as the conversation holds no result of one, then says these texts. */
export const callThenSay =
  (name: string, args: object, ...texts: string[]): ChatResponder =>
  (request, response) => {
    const messages = request.body['messages'] as { role: string }[]
    if (messages.some(({ role }) => role === 'tool')) return say(...texts)(request, response)
    response.setHeader('content-type', 'text/event-stream')
    const call = { index: 0, id: 'call_1', type: 'function', function: { name, arguments: JSON.stringify(args) } }
    response.write(piece({ tool_calls: [call] }))
    response.write(piece({}, 'tool_calls'))
    response.end('data: [DONE]\n\n')
  }

/** Streams these texts and then cuts the connection. */
export const sayAndBreak =
  (...texts: string[]): ChatResponder =>
  async (_request, response) => {
    response.setHeader('content-type', 'text/event-stream')
    for (const text of texts) response.write(piece({ content: text }))
    await new Promise((resolve) => setTimeout(resolve, 50))
    response.destroy()
  }

/** Streams these texts and then says nothing more. */
export const sayAndStall =
  (...texts: string[]): ChatResponder =>
  (_request, response) => {
    response.setHeader('content-type', 'text/event-stream')
    for (const text of texts) response.write(piece({ content: text }))
  }

/** Answers with an HTTP error. */
export const refuse =
  (status: number, error: object = {}): ChatResponder =>
  (_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json', 'retry-after-ms': '1' })
    response.end(JSON.stringify({ error: { message: 'sk-secret in a provider text', ...error } }))
  }

/** Starts the server on a free port of this machine. Embeddings are those of the offline embedder. */
export async function startModelServer(): Promise<ModelServer> {
  const requests: ModelRequest[] = []
  const embedder = createOfflineEmbedder()
  let respond: ChatResponder = say('Hello.')
  const server = createServer(async (request, response) => {
    let text = ''
    for await (const chunk of request) text += chunk
    const received: ModelRequest = { path: request.url ?? '', headers: request.headers, body: JSON.parse(text || '{}') }
    requests.push(received)
    if (received.path.endsWith('/embeddings')) {
      const vectors = await embedder.embed(received.body['input'])
      response.setHeader('content-type', 'application/json')
      const data = vectors.map((embedding, index) => ({ object: 'embedding', index, embedding }))
      response.end(
        JSON.stringify({
          object: 'list',
          data: data.reverse(),
          model: 'stub',
          usage: { prompt_tokens: 1, total_tokens: 1 },
        }),
      )
      return
    }
    await respond(received, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    requests,
    answer: (responder) => void (respond = responder),
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}
