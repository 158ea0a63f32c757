import { lookup } from 'node:dns/promises'
import { addressFamily } from './addresses.ts'

/** All addresses of a name, IPv4 and IPv6; throws or gives none when there are none. */
export type Resolver = (hostname: string) => Promise<string[]>

/** Asks the system, as connecting by name would have. */
export const systemResolver: Resolver = async (hostname) => {
  const answers = await lookup(hostname, { all: true })
  return answers.map(({ address }) => address)
}

/** Addresses of a host, which may be an address itself. */
export const addressesOf = (hostname: string, resolve: Resolver): Promise<string[]> =>
  addressFamily(hostname) === null ? resolve(hostname) : Promise.resolve([hostname])
