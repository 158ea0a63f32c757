import { AppError } from './errors.ts'
import type { Ledger } from './ledger.ts'
import type { RequestSubject } from './limits-ledger.ts'

/** Takes requests out of buckets that all instances of all functions share. */
export type RateLimiter = {
  /** @throws AppError `rate_limited` with `retry_after` in seconds when the bucket is empty; what the ledger throws. */
  take(who: RequestSubject): Promise<void>
  /** Header in which the proxy in front of the functions says where a request comes from. */
  addressHeader: string
}

export type RateLimitOptions = {
  /** Requests per minute of a person in a tenant, or of an address that cannot say who it is. */
  perMinute: number
  addressHeader: string
  /** Milliseconds of a clock that only goes forward. */
  now?: () => number
}

/** A trusted backend speaks for many people. */
const BACKEND_FACTOR = 10
/** Requests are taken in blocks of at most this part of a minute's; what an instance does not use of one is lost. */
const LARGEST_BLOCK = 1 / 20
/** Buckets that one instance remembers. */
const MAX_BUCKETS = 10_000

type Lease = {
  /** Requests taken and not used yet. */
  left: number
  /** How many to take next: a caller who asks often is not looked up often. */
  block: number
  /** When the minute is over, by `now`. */
  until: number
  /** The bucket has no more. */
  isEmpty: boolean
}

/**
 * A limiter over the ledger's counters. The first request of somebody in a minute costs one call of the database, then
 * every second, every fourth and so on, until a block is a twentieth of the limit.
 * @returns null when there is no limit (`perMinute` 0).
 */
export function createRateLimiter(
  ledger: Pick<Ledger, 'takeRequests'>,
  { perMinute, addressHeader, now = () => performance.now() }: RateLimitOptions,
): RateLimiter | null {
  if (perMinute === 0) return null
  const leases = new Map<string, Lease>()
  const pending = new Map<string, Promise<void>>()

  async function refill(key: string, who: RequestSubject): Promise<void> {
    const max = who.subject === 'backend' ? perMinute * BACKEND_FACTOR : perMinute
    const last = leases.get(key)
    const block = last && last.until > now() ? last.block : 1
    const asked = now()
    const { granted, ends_in } = await ledger.takeRequests(who, block, max)
    leases.delete(key)
    const next = Math.max(1, Math.min(block * 2, Math.floor(max * LARGEST_BLOCK)))
    leases.set(key, { left: granted, block: next, until: asked + ends_in * 1000, isEmpty: granted === 0 })
    for (const oldest of leases.keys()) {
      if (leases.size <= MAX_BUCKETS) break
      leases.delete(oldest)
    }
  }

  return {
    addressHeader,
    async take(who) {
      const key = JSON.stringify([who.subject, who.userId, who.tenantId])
      for (;;) {
        const lease = leases.get(key)
        const remaining = lease ? lease.until - now() : 0
        if (lease && remaining > 0) {
          if (lease.left > 0) {
            lease.left -= 1
            return
          }
          if (lease.isEmpty) throw tooMany(Math.ceil(remaining / 1000))
        }
        // Requests that come at once wait for one refill.
        let refilling = pending.get(key)
        if (!refilling) {
          refilling = refill(key, who).finally(() => pending.delete(key))
          pending.set(key, refilling)
        }
        await refilling
      }
    },
  }
}

const tooMany = (seconds: number) =>
  new AppError('rate_limited', 'Too many requests.', {
    hint: `Try again in ${seconds} seconds.`,
    extra: { retry_after: seconds },
  })

/** The address that the proxy in front of the functions saw: the last of a list, because callers write the others. */
export function addressOf(header: string | undefined): string | null {
  const address = header?.split(',').at(-1)?.trim().toLowerCase() ?? ''
  return /^[0-9a-f.:]{2,45}$/.test(address) ? address : null
}
