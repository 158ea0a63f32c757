import ipaddr from 'ipaddr.js'

/**
 * What an address is to us:
 * - `global`: a unicast address of the Internet; anybody may be sent there
 * - `internal`: loopback, private, carrier-grade NAT or unique local; for hosts the operator has allowed by name
 * - `never`: everything else, and the addresses where clouds hand out credentials; for nobody
 */
export type AddressKind = 'global' | 'internal' | 'never'

const INTERNAL_RANGES = new Set<string>(['loopback', 'private', 'carrierGradeNat', 'uniqueLocal'])

// Metadata services outside the link-local range: Azure, Alibaba, AWS, Google Cloud.
const METADATA = new Set(['168.63.129.16', '100.100.100.200', 'fd00:ec2::254', 'fd20:ce::254'])

type Address = ReturnType<typeof ipaddr.parse>

/** The address a text says in its usual form, or null. Short, octal and hexadecimal IPv4 forms and zone ids are none. */
function parseAddress(text: string): Address | null {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return ipaddr.IPv4.parse(text)
  return !text.includes('%') && ipaddr.IPv6.isValid(text) ? ipaddr.IPv6.parse(text) : null
}

/** 4 or 6, or null when the text is no address in its usual form. */
export function addressFamily(text: string): 4 | 6 | null {
  const address = parseAddress(text)
  return address === null ? null : address.kind() === 'ipv4' ? 4 : 6
}

/** What may be sent to this address. Texts that are no address are `never`. */
export function addressKind(text: string): AddressKind {
  const address = parseAddress(text)
  if (address === null || METADATA.has(address.toString())) return 'never'
  const range: string = address.range()
  if (INTERNAL_RANGES.has(range)) return 'internal'
  if (range !== 'unicast') return 'never'
  // IPv6 hands out 2000::/3 only; outside of it lie, among others, the forms that carry an IPv4 address.
  if (address.kind() === 'ipv6' && (address.toByteArray()[0] as number) >> 5 !== 1) return 'never'
  return 'global'
}

/** Whether the address is this machine's own loopback. */
export const isLoopback = (text: string): boolean => parseAddress(text)?.range() === 'loopback'

/** A test for addresses within `10.0.0.0/8` or equal to `10.1.2.3`, or null when the text is neither. */
export function addressRange(text: string): ((address: string) => boolean) | null {
  const [base = '', bits] = text.split('/')
  const network = parseAddress(base)
  if (network === null || (bits !== undefined && !/^\d{1,3}$/.test(bits))) return null
  const all = network.kind() === 'ipv4' ? 32 : 128
  const length = bits === undefined ? all : Number(bits)
  if (length > all) return null
  return (candidate) => {
    const address = parseAddress(candidate)
    return address !== null && address.kind() === network.kind() && address.match(network, length)
  }
}
