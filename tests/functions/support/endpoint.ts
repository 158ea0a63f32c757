import { createServer } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'

/** One request an endpoint got. */
export type Received = { method: string; path: string; headers: IncomingHttpHeaders; text: string }
export type Answer = { status?: number; json?: unknown; text?: string; headers?: Record<string, string> }

/** A server of somebody else: a custom tool's, a hook's, an attacker's. */
export type Endpoint = {
  url: string
  /** `host:port`, as BULKHEAD_EGRESS_ALLOW_HOSTS takes it. */
  host: string
  received: Received[]
  answerWith: (answer: (request: Received) => Answer | Promise<Answer>) => void
  stop: () => Promise<void>
}

/** Starts one on a free port of this machine; it answers `{}` until told otherwise. */
export async function startEndpoint(): Promise<Endpoint> {
  const received: Received[] = []
  let answer: (request: Received) => Answer | Promise<Answer> = () => ({ json: {} })
  const server = createServer(async (incoming, response) => {
    let text = ''
    incoming.setEncoding('utf8')
    for await (const piece of incoming) text += piece
    const request = { method: incoming.method ?? '', path: incoming.url ?? '', headers: incoming.headers, text }
    received.push(request)
    const { status = 200, json, text: body = JSON.stringify(json ?? {}), headers = {} } = await answer(request)
    response.writeHead(status, { 'content-type': 'application/json', ...headers })
    response.end(body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url: `http://${host}`,
    host,
    received,
    answerWith: (next) => void (answer = next),
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}
