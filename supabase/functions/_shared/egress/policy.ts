import { addressFamily, addressKind, addressRange, isLoopback } from './addresses.ts'
import { EgressError } from './errors.ts'

/** Who may be contacted. Host names are compared without case. */
export type PolicyOptions = {
  /**
   * Hosts the operator vouches for: `host`, `host:port`, `[::1]:port`, or `*.host` for all names below one. They may be
   * reached over http, at internal addresses, and at the port that is named.
   */
  allowHosts?: readonly string[]
  /**
   * Hosts that are refused, with all names below them; addresses and networks (`203.0.113.0/24`) refuse every name that
   * resolves into them. `*` refuses all but `allowHosts`.
   */
  denyHosts?: readonly string[]
  /** URLs of the project itself. Whoever works for it must not enter through its own front door. */
  ownUrls?: readonly string[]
  /** Ports besides 80 and 443. */
  ports?: readonly number[]
}

/** An address that passed every rule that can be applied before its name is resolved. */
export type Target = {
  url: URL
  /** Normalised: lower case, ASCII, no brackets, no trailing dot. */
  hostname: string
  port: number
  /** Whether the connection is TLS. */
  isSecure: boolean
  /** Whether the operator vouches for the host. */
  isTrusted: boolean
}

export type Policy = {
  /** @throws EgressError `bad_url`, `blocked_scheme`, `blocked_port` or `blocked_address`. */
  target(url: string): Target
  /**
   * The addresses to try, best first.
   * @throws EgressError `dns_failed` without any, `blocked_address` if even one of them is not allowed: a name that
   * leads to both is one that wants to be looked up until the answer suits it.
   */
  vet(target: Target, addresses: readonly string[]): string[]
  /** The same rules, with the origin of this URL vouched for: for endpoints that the operator configured. */
  trusting(url: string): Policy
}

const MAX_URL_CHARS = 8192
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/
// Names that mean this machine or the network around it, wherever they are asked for.
const LOCAL_SUFFIXES = [
  'localhost',
  'local',
  'internal',
  'localdomain',
  'intranet',
  'private',
  'corp',
  'home',
  'lan',
  'home.arpa',
  'svc',
  'onion',
]
const PLATFORM = /\.supabase\.(?:co|in|red|green)$/

const blocked = () => new EgressError('blocked_address', 'This host may not be contacted.')
const badUrl = (why: string) => new EgressError('bad_url', `The URL cannot be used: ${why}.`)

const defaultPort = (protocol: string) => (protocol === 'http:' ? 80 : 443)
const isBelow = (name: string, parent: string) => name.endsWith(`.${parent}`)
const stripHost = (hostname: string) => hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '')

/** The parts of a URL that is http or https and names a host in the usual form. */
function parse(text: string): Omit<Target, 'isTrusted'> {
  if (typeof text !== 'string' || text.length > MAX_URL_CHARS) throw badUrl('it is too long')
  let url: URL
  try {
    // Turns all ways to write a host (percent signs, full-width digits, 0x7f.1, 2130706433) into one.
    url = new URL(text)
  } catch (cause) {
    throw new EgressError('bad_url', 'The URL cannot be used: it is not a complete, valid URL.', cause)
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw new EgressError('blocked_scheme', 'Only https URLs can be fetched.')
  }
  if (url.username !== '' || url.password !== '') throw badUrl('it holds credentials')
  const hostname = stripHost(url.hostname.toLowerCase())
  if (addressFamily(hostname) === null) {
    const labels = hostname.split('.')
    const last = labels.at(-1) ?? ''
    // A last label of digits would be read as an IPv4 address by some resolvers.
    if (hostname.length > 253 || !labels.every((label) => LABEL.test(label)) || /^(?:\d+|0x[0-9a-f]*)$/.test(last)) {
      throw badUrl('its host name is malformed')
    }
  }
  if (!/^[\x21-\x7e]*$/.test(url.pathname + url.search)) throw badUrl('its path is malformed')
  const port = url.port === '' ? defaultPort(url.protocol) : Number(url.port)
  return { url, hostname, port, isSecure: url.protocol === 'https:' }
}

type HostRule = (hostname: string, port: number) => { port: number | null } | null

/** @throws Error when an entry is not one: a typing error must not open or close anything. */
function hostRule(entry: string, setting: string): HostRule {
  const [, wildcard, name = '', port] =
    /^(\*\.)?(\[[0-9a-f:.]+\]|[^\s:/@[\]*]+)(?::(\d{1,5}))?$/i.exec(entry.trim()) ?? []
  const canonical = URL.canParse(`https://${name}`) ? stripHost(new URL(`https://${name}`).hostname.toLowerCase()) : ''
  if (canonical === '' || Number(port ?? 1) < 1 || Number(port ?? 1) > 65535) {
    throw new Error(`${setting}: "${entry}" is not a host, host:port or *.host.`)
  }
  return (hostname, asked) => {
    const isHost = wildcard === undefined ? hostname === canonical : isBelow(hostname, canonical)
    if (!isHost || (port !== undefined && Number(port) !== asked)) return null
    return { port: port === undefined ? null : Number(port) }
  }
}

type DenyRules = { all: boolean; names: HostRule[]; ranges: ((address: string) => boolean)[] }

function denyRules(entries: readonly string[]): DenyRules {
  const rules: DenyRules = { all: false, names: [], ranges: [] }
  for (const entry of entries) {
    const range = addressRange(entry.trim().replace(/^\[|\]$/g, ''))
    if (entry.trim() === '*') rules.all = true
    else if (range) rules.ranges.push(range)
    else {
      const host = entry.trim().replace(/^\*\./, '')
      rules.names.push(hostRule(host, 'denyHosts'), hostRule(`*.${host}`, 'denyHosts'))
    }
  }
  return rules
}

type OwnHost = { hostname: string; port: number }

/** Whether the target is the project itself: its host, names below it, and the other names the platform gives a project. */
function isOwn(own: OwnHost, hostname: string, port: number): boolean {
  // On one machine the stack and other servers share the address; only the port tells them apart.
  if (addressFamily(own.hostname) !== null || own.hostname === 'localhost') {
    return hostname === own.hostname && port === own.port
  }
  if (hostname === own.hostname || isBelow(hostname, own.hostname)) return true
  const reference = own.hostname.split('.')[0] as string
  return PLATFORM.test(own.hostname) && PLATFORM.test(hostname) && hostname.split('.').includes(reference)
}

const isLocalName = (hostname: string) =>
  !hostname.includes('.') || LOCAL_SUFFIXES.some((suffix) => hostname === suffix || isBelow(hostname, suffix))

/** Makes the rules. @throws Error naming an entry that is malformed. */
export function createPolicy(options: PolicyOptions): Policy {
  const allowed = (options.allowHosts ?? []).map((entry) => hostRule(entry, 'allowHosts'))
  const denied = denyRules(options.denyHosts ?? [])
  const ports = new Set([80, 443, ...(options.ports ?? [])])
  const own = (options.ownUrls ?? []).map((url): OwnHost => {
    const { protocol, hostname, port } = new URL(url)
    return { hostname: stripHost(hostname.toLowerCase()), port: port === '' ? defaultPort(protocol) : Number(port) }
  })
  const ownLoopbackPorts = new Set(
    own.filter(({ hostname }) => hostname === 'localhost' || isLoopback(hostname)).map(({ port }) => port),
  )

  const build = (vouchedOrigins: readonly string[]): Policy => ({
    target(text) {
      const parsed = parse(text)
      const { url, hostname, port, isSecure } = parsed
      if (vouchedOrigins.includes(url.origin)) return { ...parsed, isTrusted: true }
      const rule = allowed.map((matches) => matches(hostname, port)).find((match) => match !== null)
      const isTrusted = rule !== undefined
      if (own.some((host) => isOwn(host, hostname, port))) throw blocked()
      if (denied.names.some((matches) => matches(hostname, port)) || (denied.all && !isTrusted)) throw blocked()
      if (!isTrusted) {
        const isLiteral = addressFamily(hostname) !== null
        if (isLiteral ? addressKind(hostname) !== 'global' : isLocalName(hostname)) throw blocked()
      }
      if (!ports.has(port) && rule?.port !== port) {
        throw new EgressError('blocked_port', 'This port may not be contacted; use the usual one of https.')
      }
      if (!isSecure && !isTrusted) throw new EgressError('blocked_scheme', 'Only https URLs can be fetched.')
      return { ...parsed, isTrusted }
    },
    vet(target, addresses) {
      if (addresses.length === 0) throw new EgressError('dns_failed', 'The host name could not be resolved.')
      const isVouched = vouchedOrigins.includes(target.url.origin)
      for (const address of addresses) {
        const kind = addressKind(address)
        if (kind === 'never' || (kind === 'internal' && !target.isTrusted)) throw blocked()
        if (!isVouched && isLoopback(address) && ownLoopbackPorts.has(target.port)) throw blocked()
        if (denied.ranges.some((contains) => contains(address))) throw blocked()
      }
      // IPv4 first: where a machine has no way out over IPv6, nothing but time would be lost.
      return [...new Set(addresses)].sort((a, b) => (addressFamily(a) ?? 0) - (addressFamily(b) ?? 0))
    },
    trusting: (url) => build([...vouchedOrigins, new URL(url).origin]),
  })
  return build([])
}
