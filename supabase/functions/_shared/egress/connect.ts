import * as net from 'node:net'
import type { Duplex } from 'node:stream'
import * as tls from 'node:tls'

/** Where to connect. */
export type Endpoint = {
  /** A checked IP address, never a name: nothing is looked up again. */
  address: string
  port: number
  /** Null: plain TCP. `serverName` is the name the certificate must be for; null: it must be for the address. */
  tls: { serverName: string | null; ca?: string } | null
}

/** Opens a connection; the signal ends the attempt. Rejects when there is none, or the certificate is not right. */
export type Connector = (endpoint: Endpoint, signal: AbortSignal) => Promise<Duplex>

/**
 * Connects with TCP or TLS. Plain sockets instead of `node:https`, because Deno 2.1 can neither pin an address there
 * (it refuses `lookup`) nor check a certificate for a name other than the host it connects to.
 * There, `secureConnect` comes before the handshake has ended: a certificate that does not fit ends the first read instead,
 * and nothing of the request has been sent by then either.
 */
export const connectSocket: Connector = (endpoint, signal) =>
  new Promise((resolve, reject) => {
    signal.throwIfAborted()
    const to = { host: endpoint.address, port: endpoint.port }
    const socket =
      endpoint.tls === null
        ? net.connect(to)
        : tls.connect({
            ...to,
            ...(endpoint.tls.serverName === null ? {} : { servername: endpoint.tls.serverName }),
            ...(endpoint.tls.ca === undefined ? {} : { ca: endpoint.tls.ca }),
            ALPNProtocols: ['http/1.1'],
          })
    const fail = (error: unknown) => {
      signal.removeEventListener('abort', abort)
      socket.destroy()
      reject(error)
    }
    const abort = () => fail(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    // Stays for the socket's life: an error that nobody listens for would end the process.
    socket.on('error', fail)
    socket.once(endpoint.tls === null ? 'connect' : 'secureConnect', () => {
      signal.removeEventListener('abort', abort)
      resolve(socket)
    })
  })
