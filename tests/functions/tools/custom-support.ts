import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Db } from '../../../supabase/functions/_shared/context.ts'
import type { Log } from '../../../supabase/functions/_shared/errors.ts'
import type { Principal, ToolCallContext } from '../../../supabase/functions/_shared/tools/types.ts'

/** One request that an endpoint got. */
export type Received = { method: string; path: string; headers: IncomingMessage['headers']; body: string }

export type Responder = (request: Received, response: ServerResponse) => void | Promise<void>

/** The backend of somebody, on this machine. */
export type Endpoint = {
  url: string
  /** For the allow-list of the egress guard. */
  host: string
  requests: Received[]
  /** How the next requests are answered. */
  answer: (respond: Responder) => void
  stop: () => Promise<void>
}

export const text =
  (body: string, status = 200): Responder =>
  (_request, response) => {
    response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' })
    response.end(body)
  }

export async function startEndpoint(): Promise<Endpoint> {
  const requests: Received[] = []
  let respond: Responder = text('ok')
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request.setEncoding('utf8')) body += chunk
    const { method = '', url: path = '', headers } = request
    const received = { method, path, headers, body }
    requests.push(received)
    await respond(received, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url: `http://${host}`,
    host,
    requests,
    answer: (responder) => void (respond = responder),
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}

export const TENANT = '11111111-1111-4111-8111-111111111111'
export const OTHER_TENANT = '22222222-2222-4222-8222-222222222222'
export const AGENT = '44444444-4444-4444-8444-444444444444'

/** What a call is made with, and what it logs. @param token under which the agent acts for the person. */
export function callContext(
  userId: string,
  token: string,
  change: { tenantId?: string; callId?: string; runId?: string; signal?: AbortSignal } = {},
): ToolCallContext & { logged: string[] } {
  const { tenantId = TENANT, callId = 'call_1', runId = 'run_1', signal = new AbortController().signal } = change
  const logged: string[] = []
  const note = (event: string, fields: Record<string, unknown>) =>
    void logged.push(JSON.stringify({ event, ...fields }))
  const log: Log = { info: note, error: note }
  const principal: Principal = {
    tenantId,
    userId,
    agentId: AGENT,
    runId,
    runUuid: '00000000-0000-4000-8000-0000000000f1',
    caller: () => Promise.reject(new Error('The own token of the person leaves the project for nobody.')),
    actingCaller: () => Promise.resolve({ userId, token, tenantId }),
    db: (): Promise<Db> => Promise.reject(new Error('A custom tool has no business with the database.')),
    actingDb: (): Promise<Db> => Promise.reject(new Error('A custom tool has no business with the database.')),
  }
  return { principal, callId, idempotencyKey: `${runId}:${callId}`, signal, log, logged }
}
