import type { Env } from '../env.ts'
import { list, optional } from '../env.ts'
import { collect, limited } from './collect.ts'
import type { Connector } from './connect.ts'
import { connectSocket } from './connect.ts'
import { untilAborted, withDeadline } from './deadline.ts'
import { EgressError } from './errors.ts'
import { exchange } from './exchange.ts'
import type { Exchange } from './exchange.ts'
import type { Policy, PolicyOptions, Target } from './policy.ts'
import { createPolicy } from './policy.ts'
import { afterRedirect, prepareRequest, redirectTarget } from './request.ts'
import type { PreparedRequest } from './request.ts'
import type { Resolver } from './resolve.ts'
import { addressesOf, systemResolver } from './resolve.ts'
import type { Egress, EgressRequest, EgressStream } from './types.ts'

export { EgressError } from './errors.ts'
export type { EgressErrorCode } from './errors.ts'
export type { Egress, EgressRequest, EgressResponse, EgressStream } from './types.ts'

/** Rules and means of an egress. */
export type EgressOptions = PolicyOptions & {
  /** How names are resolved; the system's way when absent. */
  resolver?: Resolver
  /** How connections are opened; sockets when absent. */
  connector?: Connector
  /** Certificate authorities (PEM) to trust for TLS. Absent: the runtime's. */
  ca?: string
}

const TIMEOUT_MS = 30_000
const IDLE_TIMEOUT_MS = 10_000
const MAX_BYTES = 1024 * 1024
const MAX_REDIRECTS = 5

/** Makes an egress. @throws Error when the options hold an entry that is no host. */
export function createEgress(options: EgressOptions = {}): Egress {
  return egressWith(createPolicy(options), options)
}

/**
 * The egress of this deployment:
 * - BULKHEAD_EGRESS_ALLOW_HOSTS: `host`, `host:port` or `*.host`, comma-separated: hosts that may be reached over http, at
 *   internal addresses and the port named, e.g. `127.0.0.1:4000,api.example.com`
 * - BULKHEAD_EGRESS_DENY_HOSTS: hosts, addresses and networks that are refused; `*` refuses all but the allowed
 * - BULKHEAD_EGRESS_PORTS: ports besides 80 and 443
 *
 * The project's own URLs are always refused.
 * @throws Error naming what is malformed.
 */
export function egressFromEnv(env: Env, means: Pick<EgressOptions, 'resolver' | 'connector' | 'ca'> = {}): Egress {
  const ports = list(env, 'BULKHEAD_EGRESS_PORTS').map(Number)
  if (!ports.every((port) => Number.isInteger(port) && port > 0 && port < 65536)) {
    throw new Error('The environment variable BULKHEAD_EGRESS_PORTS is not a list of ports.')
  }
  const ownUrls = ['SUPABASE_URL', 'SUPABASE_PUBLIC_URL'].flatMap((name) => optional(env, name) ?? [])
  return createEgress({
    ...means,
    ports,
    ownUrls,
    allowHosts: list(env, 'BULKHEAD_EGRESS_ALLOW_HOSTS'),
    denyHosts: list(env, 'BULKHEAD_EGRESS_DENY_HOSTS'),
  })
}

function egressWith(policy: Policy, options: EgressOptions): Egress {
  const resolve = options.resolver ?? systemResolver
  const means = { connect: options.connector ?? connectSocket, ...(options.ca === undefined ? {} : { ca: options.ca }) }

  /** A URL's place and its checked addresses. */
  const vet = async (url: string, signal: AbortSignal): Promise<{ target: Target; addresses: string[] }> => {
    const target = policy.target(url)
    let addresses: string[] = []
    try {
      addresses = await untilAborted(addressesOf(target.hostname, resolve), signal)
    } catch (cause) {
      signal.throwIfAborted()
      throw new EgressError('dns_failed', 'The host name could not be resolved.', cause)
    }
    return { target, addresses: policy.vet(target, addresses) }
  }

  /** Sends a request and follows where it is sent on to. */
  const send = async (url: string, asked: EgressRequest, signal: AbortSignal): Promise<Exchange & { url: string }> => {
    const limit = asked.maxRedirects ?? MAX_REDIRECTS
    const idleTimeoutMs = asked.idleTimeoutMs ?? IDLE_TIMEOUT_MS
    const maxEncodedBytes = asked.maxBytes ?? MAX_BYTES
    let request: PreparedRequest = prepareRequest(asked)
    let { target, addresses } = await vet(url, signal)
    for (let hop = 0; ; hop++) {
      const answer = await exchange(target, addresses, request, { ...means, signal, idleTimeoutMs, maxEncodedBytes })
      const location = limit === 'manual' ? null : redirectTarget(answer.status, answer.headers)
      if (location === null) return { ...answer, url: target.url.href }
      answer.close()
      if (hop >= Math.min(limit as number, MAX_REDIRECTS)) {
        throw new EgressError('too_many_redirects', 'The server redirects too often.')
      }
      const from = target
      if (!URL.canParse(location, from.url.href))
        throw new EgressError('bad_url', 'The server redirects to no valid URL.')
      ;({ target, addresses } = await vet(new URL(location, from.url.href).href, signal))
      if (from.isSecure && !target.isSecure) {
        throw new EgressError('blocked_scheme', 'The server redirects from https to http.')
      }
      request = afterRedirect(request, answer.status, from.url.origin !== target.url.origin)
    }
  }

  /** An answer whose size nobody has limited yet, with the time limits running until it is closed. */
  const open = async (url: string, asked: EgressRequest): Promise<EgressStream> => {
    const deadline = withDeadline(asked.signal, asked.timeoutMs ?? TIMEOUT_MS)
    try {
      const answer = await send(url, asked, deadline.signal)
      const close = () => {
        deadline.end()
        answer.close()
      }
      return { ...answer, close }
    } catch (error) {
      deadline.end()
      throw error
    }
  }

  return {
    async fetch(url, asked = {}) {
      const answer = await open(url, asked)
      const { body, truncated } = await collect(answer, asked.maxBytes ?? MAX_BYTES, asked.overflow ?? 'truncate')
      const { status, headers } = answer
      return { status, headers, url: answer.url, body, truncated, text: () => new TextDecoder().decode(body) }
    },
    async stream(url, asked = {}) {
      const answer = await open(url, asked)
      return { ...answer, body: limited(answer, asked.maxBytes ?? MAX_BYTES) }
    },
    async check(url, signal) {
      const deadline = withDeadline(signal, IDLE_TIMEOUT_MS)
      try {
        await vet(url, deadline.signal)
      } finally {
        deadline.end()
      }
    },
    trusting: (url) => egressWith(policy.trusting(url), options),
  }
}
