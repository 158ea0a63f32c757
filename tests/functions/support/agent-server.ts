import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export type AgentRequest = { path: string; headers: IncomingMessage['headers']; body: Record<string, any> }
export type AgentResponder = (response: ServerResponse, request: AgentRequest) => void | Promise<void>

/** A foreign server that speaks the agent API, answering as told. */
export type AgentServer = {
  url: string
  requests: AgentRequest[]
  answer: (respond: AgentResponder) => void
  stop: () => Promise<void>
}

/** Opens an event stream and sends these events, each in one write. */
export const stream =
  (
    events: object[],
    end: (response: ServerResponse) => void | Promise<void> = (response) => void response.end(),
  ): AgentResponder =>
  async (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const event of events) response.write(`data: ${JSON.stringify(event)}\n\n`)
    await end(response)
  }

export async function startAgentServer(): Promise<AgentServer> {
  const requests: AgentRequest[] = []
  let respond: AgentResponder = (response) => void response.end()
  const server = createServer(async (request, response) => {
    let text = ''
    for await (const chunk of request) text += chunk
    const received = { path: request.url ?? '', headers: request.headers, body: JSON.parse(text || '{}') }
    requests.push(received)
    await respond(response, received)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    answer: (responder) => void (respond = responder),
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}
