import { createServer } from 'node:http'
import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { McpFetch } from '../../../supabase/functions/_shared/mcp/transport.ts'
import type { Json } from './http.ts'

/** One request the server got; `rpc` is its body. */
export type McpRequest = { method: string; headers: IncomingHttpHeaders; body: string; rpc: Json }
/** Answers one JSON-RPC request. */
export type McpResponder = (response: ServerResponse, request: McpRequest) => void | Promise<void>

/** A stand-in for somebody's MCP server, which answers as told, right or wrong. */
export type McpStub = {
  url: string
  requests: McpRequest[]
  /** JSON-RPC methods in the order they came; `DELETE` for the end of a session. */
  methods: () => string[]
  /** How requests of this JSON-RPC method are answered from now on. */
  on: (method: string, respond: McpResponder) => void
  /** Offers these tools. */
  offer: (tools: unknown[]) => void
  stop: () => Promise<void>
}

/** Straight to the server, for tests of what goes behind the egress guard. */
export const direct: McpFetch = (url, init) => fetch(url, init)

const envelope = (request: McpRequest, answer: object) =>
  JSON.stringify({ jsonrpc: '2.0', id: request.rpc['id'], ...answer })

/** Answers with a result as JSON. */
export const result =
  (value: unknown, headers: Record<string, string> = {}): McpResponder =>
  (response, request) => {
    response.writeHead(200, { 'content-type': 'application/json; charset=utf-8', ...headers })
    response.end(envelope(request, { result: value }))
  }

/** Answers with a JSON-RPC error. */
export const rpcError =
  (code: number, message: string): McpResponder =>
  (response, request) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(envelope(request, { error: { code, message } }))
  }

/** Answers with this status and body as they are. */
export const raw =
  (status: number, body = '', headers: Record<string, string> = { 'content-type': 'application/json' }): McpResponder =>
  (response) => {
    response.writeHead(status, headers)
    response.end(body)
  }

/** Answers with an event stream: these messages first, then the result, in pieces of a few bytes. */
export const streamed =
  (value: unknown, before: object[] = []): McpResponder =>
  async (response, request) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const events = [
      ...before.map((message) => JSON.stringify({ jsonrpc: '2.0', ...message })),
      envelope(request, { result: value }),
    ]
    const bytes = Buffer.from(
      `: hello\n\nid: 1\ndata: \n\n${events.map((data) => `event: message\ndata: ${data}\n\n`).join('')}`,
    )
    for (let from = 0; from < bytes.length; from += 7) response.write(bytes.subarray(from, from + 7))
    response.end()
  }

/** Never answers. */
export const silence: McpResponder = () => {}

/** A text result of a tool. */
export const text = (value: string, more: object = {}) => ({ content: [{ type: 'text', text: value }], ...more })

/** Starts the server on a free port of this machine. It keeps a session, offers no tools, and answers calls with `ok`. */
export async function startMcpStub(): Promise<McpStub> {
  const requests: McpRequest[] = []
  const responders = new Map<string, McpResponder>()
  const on: McpStub['on'] = (method, respond) => void responders.set(method, respond)
  const offer: McpStub['offer'] = (tools) => on('tools/list', result({ tools }))
  on('initialize', (response, request) => {
    const { protocolVersion } = request.rpc['params']
    const value = { protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'stub', version: '1' } }
    return result(value, { 'mcp-session-id': 'session-1' })(response, request)
  })
  on('notifications/initialized', raw(202))
  on('notifications/cancelled', raw(202))
  on('DELETE', raw(200))
  on('tools/call', result(text('ok')))
  offer([])
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const { method = '', headers } = request
    const received: McpRequest = { method, headers, body, rpc: JSON.parse(body || '{}') }
    requests.push(received)
    const name = method === 'POST' ? (received.rpc['method'] ?? 'answer') : method
    await (responders.get(name) ?? raw(202))(response, received)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    requests,
    methods: () => requests.map(({ method, rpc }) => (method === 'POST' ? (rpc['method'] ?? 'answer') : method)),
    on,
    offer,
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}
