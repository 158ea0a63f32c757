import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { expect, onTestFinished } from 'vitest'
import { connectSocket, type Connector, type Endpoint } from '../../../supabase/functions/_shared/egress/connect.ts'
import { EgressError, type EgressErrorCode } from '../../../supabase/functions/_shared/egress/index.ts'
import type { Resolver } from '../../../supabase/functions/_shared/egress/resolve.ts'

/** Public addresses that stand for servers of a test; nothing is ever sent to them. */
export const PUBLIC_1 = '93.184.215.14'
export const PUBLIC_2 = '93.184.215.15'
export const PUBLIC_V6 = '2606:2800:21f:cb07::14'

async function listen(server: Server, host = '127.0.0.1', port = 0): Promise<number> {
  const sockets = new Set<Socket>()
  for (const event of ['connection', 'secureConnection']) {
    server.on(event, (socket: Socket) => {
      sockets.add(socket)
      socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    })
  }
  server.listen(port, host)
  await once(server, 'listening')
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  })
  return (server.address() as AddressInfo).port
}

/** A request as a server got it. */
export type Seen = { method: string; url: string; headers: NodeJS.Dict<string | string[]>; body: string }

/** A server of HTTP that writes down what it gets. */
export type TestServer = { port: number; seen: Seen[] }

const recorder =
  (seen: Seen[], answer: RequestListener): RequestListener =>
  (request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const { method = '', url = '', headers } = request
      seen.push({ method, url, headers, body: Buffer.concat(parts).toString() })
      answer(request, response)
    })
  }

/** Starts a server on 127.0.0.1, or on `at`, until the test ends. */
export async function httpServer(answer: RequestListener, at?: { host: string; port: number }): Promise<TestServer> {
  const seen: Seen[] = []
  return { seen, port: await listen(createServer(recorder(seen, answer)), at?.host, at?.port) }
}

/** The same with TLS. */
export async function httpsServer(
  certificate: { key: string; cert: string },
  answer: RequestListener,
): Promise<TestServer> {
  const seen: Seen[] = []
  return { seen, port: await listen(createTlsServer(certificate, recorder(seen, answer))) }
}

/** A server that does with each connection, once a request has arrived, whatever `serve` does. */
export const tcpServer = (serve: (socket: Socket) => void): Promise<number> =>
  listen(createTcpServer((socket) => socket.once('data', () => serve(socket))))

/** A resolver that knows these names, counts questions, and gives the answers of a name one after the other, the last for ever. */
export function resolverOf(names: Record<string, string[][]>): Resolver & { asked: string[] } {
  const asked: string[] = []
  const resolve = (hostname: string): Promise<string[]> => {
    const answers = names[hostname]
    if (answers === undefined) return Promise.reject(new Error(`getaddrinfo ENOTFOUND ${hostname}`))
    const answer = answers[Math.min(asked.filter((name) => name === hostname).length, answers.length - 1)]
    asked.push(hostname)
    return Promise.resolve(answer as string[])
  }
  return Object.assign(resolve, { asked })
}

/**
 * A network in which public addresses lead to servers of the test: `{ '93.184.215.14': port }`, whatever port is asked for.
 * Addresses that are not listed, private ones among them, are connected to as they are when `open` says so, else refused.
 */
export function networkOf(ports: Record<string, number>, open = false): Connector & { connected: Endpoint[] } {
  const connected: Endpoint[] = []
  const connect: Connector = (endpoint, signal) => {
    connected.push(endpoint)
    const port = ports[endpoint.address]
    if (port !== undefined) return connectSocket({ ...endpoint, address: '127.0.0.1', port }, signal)
    return open ? connectSocket(endpoint, signal) : Promise.reject(new Error(`no route to ${endpoint.address}`))
  }
  return Object.assign(connect, { connected })
}

/** The EgressError a promise ends with, whose code is asserted. */
export async function refusal(promise: Promise<unknown>, code: EgressErrorCode): Promise<EgressError> {
  const error = await promise.then(
    () => expect.fail(`expected ${code}, but it succeeded`),
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(EgressError)
  expect(error).toMatchObject({ code })
  return error as EgressError
}
