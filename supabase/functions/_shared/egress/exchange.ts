import type { Duplex } from 'node:stream'
import { addressFamily } from './addresses.ts'
import type { Connector, Endpoint } from './connect.ts'
import { ACCEPT_ENCODING, decodeBody } from './decode.ts'
import { EgressError } from './errors.ts'
import type { Read } from './http1.ts'
import { encodeHead, readResponse } from './http1.ts'
import type { Target } from './policy.ts'
import type { PreparedRequest } from './request.ts'

/** One answer of one server: its head, and its body as it comes, decompressed. */
export type Exchange = {
  status: number
  headers: Headers
  body: AsyncIterable<Uint8Array>
  close: () => void
}

/** How one exchange is made, and within which limits. */
export type ExchangeMeans = {
  connect: Connector
  /** Certificate authorities (PEM) to trust instead of the runtime's. */
  ca?: string
  /** Ends the exchange, its body included. */
  signal: AbortSignal
  /** Milliseconds without a byte. */
  idleTimeoutMs: number
  /** Compressed bytes of a body that are looked at. */
  maxEncodedBytes: number
}

/** Addresses of one host that are tried, and milliseconds for each: a dead one must not eat the time of the others. */
const MAX_ATTEMPTS = 4
const CONNECT_TIMEOUT_MS = 10_000

const failed = (cause: unknown) => new EgressError('connection_failed', 'The server could not be reached.', cause)
const tooSlow = () => new EgressError('timeout', 'The server took too long.')

/** A connection to one of the checked addresses; the name is used for the certificate only. */
async function connectAny(target: Target, addresses: readonly string[], means: ExchangeMeans): Promise<Duplex> {
  const tls: Endpoint['tls'] = target.isSecure
    ? {
        serverName: addressFamily(target.hostname) === null ? target.hostname : null,
        ...(means.ca === undefined ? {} : { ca: means.ca }),
      }
    : null
  let lastFailure: unknown
  for (const address of addresses.slice(0, MAX_ATTEMPTS)) {
    const signal = AbortSignal.any([means.signal, AbortSignal.timeout(CONNECT_TIMEOUT_MS)])
    try {
      return await means.connect({ address, port: target.port, tls }, signal)
    } catch (error) {
      means.signal.throwIfAborted()
      lastFailure = error
    }
  }
  throw failed(lastFailure)
}

/**
 * Reads from a socket; every pause between two pieces is limited. The wait ends here and not by destroying the socket,
 * because on Deno 2.1 that leaves a pending read of a TLS socket pending.
 */
function reader(socket: Duplex, means: ExchangeMeans): Read {
  const pieces = socket[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>
  return () =>
    new Promise((resolve, reject) => {
      const { signal } = means
      const abort = () => reject(signal.reason)
      const timer = setTimeout(() => reject(tooSlow()), means.idleTimeoutMs)
      signal.addEventListener('abort', abort, { once: true })
      if (signal.aborted) abort()
      pieces
        .next()
        .then(
          ({ done, value }) => resolve(done ? null : value),
          (error: unknown) => reject(failed(error)),
        )
        .finally(() => {
          clearTimeout(timer)
          signal.removeEventListener('abort', abort)
        })
    })
}

function headOf(target: Target, request: PreparedRequest): Uint8Array {
  const host = addressFamily(target.hostname) === 6 ? `[${target.hostname}]` : target.hostname
  const has = (name: string) => request.headers.some(([given]) => given === name)
  const length = request.body?.byteLength ?? (['POST', 'PUT', 'PATCH'].includes(request.method) ? 0 : null)
  return encodeHead(request.method, target.url.pathname + target.url.search, [
    ['host', target.url.port === '' ? host : `${host}:${target.url.port}`],
    ...(has('user-agent') ? [] : ([['user-agent', 'bulkhead']] as const)),
    ...(has('accept') ? [] : ([['accept', '*/*']] as const)),
    ...request.headers,
    ['accept-encoding', ACCEPT_ENCODING],
    ...(length === null ? [] : ([['content-length', String(length)]] as const)),
    ['connection', 'close'],
  ])
}

/**
 * Sends one request to one of the checked addresses and reads the head of the answer.
 * @throws EgressError `connection_failed`, `timeout`, `bad_response`, `too_large`; what the signal was aborted with.
 */
export async function exchange(
  target: Target,
  addresses: readonly string[],
  request: PreparedRequest,
  means: ExchangeMeans,
): Promise<Exchange> {
  const head = headOf(target, request)
  const socket = await connectAny(target, addresses, means)
  const abort = () => socket.destroy()
  means.signal.addEventListener('abort', abort, { once: true })
  const close = () => {
    means.signal.removeEventListener('abort', abort)
    socket.destroy()
  }
  try {
    means.signal.throwIfAborted()
    const read = reader(socket, means)
    socket.write(head)
    if (request.body !== null && request.body.byteLength > 0) socket.write(request.body)
    const { status, headers, body } = await readResponse(read, request.method)
    const encoding = headers.get('content-encoding') ?? ''
    // They describe the body as it was sent, which nobody sees after this.
    if (encoding !== '') for (const name of ['content-encoding', 'content-length']) headers.delete(name)
    return { status, headers, body: decodeBody(body, encoding, means.maxEncodedBytes), close }
  } catch (error) {
    close()
    throw error
  }
}
