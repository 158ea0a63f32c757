import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'

/** How the stub answers a request: with vectors, with an HTTP error, or never. */
export type Answer = 'ok' | 'hang' | number

export type StubEmbeddings = {
  url: string
  /** Texts of each request that was answered with vectors, in order. */
  embedded: string[][]
  /** Requests of any kind so far. */
  readonly requests: number
  /** Answers of the next requests, in order; after them `otherwise`. */
  answer(next: Answer[], otherwise?: Answer): void
  stop(): Promise<void>
}

const DIMENSIONS = 8

/** A vector that depends on the text only. */
const vectorOf = (text: string): number[] => {
  const vector = Array<number>(DIMENSIONS).fill(0.01)
  for (let index = 0; index < text.length; index++)
    (vector[index % DIMENSIONS] as number) += text.charCodeAt(index) / 1000
  return vector
}

/** An OpenAI-compatible embeddings endpoint that misbehaves on demand. */
export async function startStubEmbeddings(): Promise<StubEmbeddings> {
  let queue: Answer[] = []
  let fallback: Answer = 'ok'
  let requests = 0
  const embedded: string[][] = []
  const server = http.createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    requests++
    const answer = queue.shift() ?? fallback
    if (answer === 'hang') return
    const json = (status: number, body: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(JSON.stringify(body))
    }
    if (typeof answer === 'number') {
      // Without this the client library itself waits seconds between its own attempts.
      response.setHeader('retry-after-ms', '1')
      json(answer, { error: { message: 'The stub refuses.', type: 'stub' } })
      return
    }
    const { input, model } = JSON.parse(Buffer.concat(chunks).toString()) as { input: string[]; model: string }
    const data = input.map((text, index) => ({ object: 'embedding', index, embedding: vectorOf(text) }))
    embedded.push(input)
    json(200, { object: 'list', model, data, usage: { prompt_tokens: 1, total_tokens: 1 } })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    embedded,
    get requests() {
      return requests
    },
    answer(next, otherwise = 'ok') {
      queue = [...next]
      fallback = otherwise
    },
    async stop() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
