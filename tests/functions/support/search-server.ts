import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createOfflineEmbedder } from '../../../supabase/functions/_shared/providers/offline-embedder.ts'

/** One request the server got. */
export type SearchServerRequest = { path: string; headers: IncomingMessage['headers']; body: Record<string, any> }
export type RerankResponder = (request: SearchServerRequest, response: ServerResponse) => void | Promise<void>

/** A stand-in for an OpenAI-compatible endpoint with several embedding models, and for a reranker. */
export type SearchServer = {
  /** Base URL for OPENAI_BASE_URL. */
  url: string
  /** For RERANK_URL. */
  rerankUrl: string
  /** Texts that were embedded, each with the model: `model: text`. */
  embedded: string[]
  reranks: SearchServerRequest[]
  chats: SearchServerRequest[]
  /** How the next rerank and chat requests are answered. */
  answer: (respond: RerankResponder) => void
  stop: () => Promise<void>
}

/** Answers JSON with 200. */
export const json =
  (body: unknown): RerankResponder =>
  (_request, response) => {
    response.setHeader('content-type', 'application/json')
    response.end(typeof body === 'string' ? body : JSON.stringify(body))
  }

/** Scores each document by what `score` says of it. */
export const scoring =
  (score: (document: string, index: number) => number): RerankResponder =>
  (request, response) => {
    const { documents, top_n: topN } = request.body as { documents: string[]; top_n: number }
    const results = documents
      .map((document, index) => ({ index, relevance_score: score(document, index) }))
      .toSorted((a, b) => b.relevance_score - a.relevance_score)
      .slice(0, topN)
    return json({ results })(request, response)
  }

/** Models of the server. Each has a space of its own: the second one counts the axes backwards. */
export const MODELS = ['stub-a', 'stub-b'] as const

/** Starts the server on a free port of this machine. */
export async function startSearchServer(): Promise<SearchServer> {
  const embedder = createOfflineEmbedder()
  const embedded: string[] = []
  const reranks: SearchServerRequest[] = []
  const chats: SearchServerRequest[] = []
  let respond: RerankResponder = scoring(() => 0.5)

  const embed: RerankResponder = async (request, response) => {
    const { model, input } = request.body as { model: string; input: string[] }
    if (!MODELS.some((name) => name === model)) {
      response.writeHead(404, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ error: { message: `no ${model}`, code: 'model_not_found' } }))
      return
    }
    embedded.push(...input.map((text) => `${model}: ${text}`))
    const vectors = await embedder.embed(input)
    const data = vectors.map((vector, index) => ({
      index,
      embedding: model === 'stub-b' ? vector.toReversed() : vector,
    }))
    await json({ object: 'list', data, model, usage: { prompt_tokens: 1, total_tokens: 1 } })(request, response)
  }

  const server = createServer(async (request, response) => {
    let text = ''
    for await (const chunk of request) text += chunk
    const received = { path: request.url ?? '', headers: request.headers, body: JSON.parse(text || '{}') }
    if (received.path.endsWith('/embeddings')) return embed(received, response)
    ;(received.path.endsWith('/chat/completions') ? chats : reranks).push(received)
    await respond(received, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url: `${base}/v1`,
    rerankUrl: `${base}/rerank`,
    embedded,
    reranks,
    chats,
    answer: (responder) => void (respond = responder),
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}
