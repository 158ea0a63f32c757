import { describe, expect, it } from 'vitest'
import type { RequestSubject } from '../../supabase/functions/_shared/limits-ledger.ts'
import { addressOf, createRateLimiter } from '../../supabase/functions/_shared/rate-limit.ts'

const someone: RequestSubject = { subject: 'user', userId: 'u', tenantId: 't' }

/** A limiter over counters in memory, and a clock that the test moves. */
function limiterOf(perMinute: number) {
  const counters = new Map<string, number>()
  const asked: [wanted: number, max: number][] = []
  const clock = { now: 0 }
  const ledger = {
    takeRequests: async (who: RequestSubject, wanted: number, max: number) => {
      asked.push([wanted, max])
      await Promise.resolve()
      const key = `${JSON.stringify(who)} ${Math.floor(clock.now / 60_000)}`
      const taken = counters.get(key) ?? 0
      const granted = Math.max(0, Math.min(wanted, max - taken))
      counters.set(key, taken + granted)
      return { granted, ends_in: 60 - (clock.now % 60_000) / 1000 }
    },
  }
  const limiter = createRateLimiter(ledger, { perMinute, addressHeader: 'x-forwarded-for', now: () => clock.now })
  if (limiter === null) throw new Error('There is a limit.')
  return { limiter, asked, clock, ledger }
}

async function takeAll(take: () => Promise<void>, times: number): Promise<number> {
  let taken = 0
  for (let i = 0; i < times; i++) {
    try {
      await take()
      taken += 1
    } catch {
      // Refused.
    }
  }
  return taken
}

describe('a rate limiter', () => {
  it('is none where there is no limit', () => {
    expect(
      createRateLimiter(
        { takeRequests: () => Promise.reject(new Error('asked')) },
        { perMinute: 0, addressHeader: '' },
      ),
    ).toBeNull()
  })

  it('lets through what the limit says, and says how long to wait', async () => {
    const { limiter, clock } = limiterOf(600)
    clock.now = 59_000 - 13_500
    expect(await takeAll(() => limiter.take(someone), 700)).toBe(600)
    await expect(limiter.take(someone)).rejects.toMatchObject({ code: 'rate_limited', extra: { retry_after: 15 } })
    clock.now = 60_000
    await limiter.take(someone)
  })

  it('asks the database seldom, and not at all about who was refused', async () => {
    const { limiter, asked } = limiterOf(600)
    await takeAll(() => limiter.take(someone), 1000)
    expect(asked.map(([wanted]) => wanted).slice(0, 7)).toEqual([1, 2, 4, 8, 16, 30, 30])
    expect(asked.length).toBeLessThan(30)
  })

  it('is one with other instances over the same counters', async () => {
    const { limiter, ledger, clock } = limiterOf(100)
    const other = createRateLimiter(ledger, { perMinute: 100, addressHeader: '', now: () => clock.now })!
    const taken = (await takeAll(() => limiter.take(someone), 70)) + (await takeAll(() => other.take(someone), 70))
    // Of the last block of either something may be left.
    expect(taken).toBeLessThanOrEqual(100)
    expect(taken).toBeGreaterThan(100 - 5)
  })

  it('lets requests that come at once wait for one refill', async () => {
    const { limiter, asked } = limiterOf(600)
    await Promise.all(Array.from({ length: 100 }, () => limiter.take(someone)))
    expect(asked.length).toBeLessThan(12)
    expect(asked.reduce((sum, [wanted]) => sum + wanted, 0)).toBeGreaterThanOrEqual(100)
  })

  it('has a bucket for each person, tenant and address, and larger ones for backends', async () => {
    const { limiter, asked } = limiterOf(2)
    await takeAll(() => limiter.take(someone), 5)
    await expect(limiter.take(someone)).rejects.toMatchObject({ code: 'rate_limited' })
    await limiter.take({ ...someone, userId: 'v' })
    await limiter.take({ ...someone, tenantId: 'v' })
    await limiter.take({ ...someone, tenantId: null })
    await limiter.take({ subject: 'address:192.0.2.1', userId: null, tenantId: null })
    await limiter.take({ subject: 'backend', userId: null, tenantId: 't' })
    expect(asked.at(-1)![1]).toBe(20)
  })

  it('says that the database cannot be reached when it cannot, and asks again', async () => {
    const { limiter, ledger } = limiterOf(10)
    const { takeRequests } = ledger
    ledger.takeRequests = () => Promise.reject(new Error('down'))
    await expect(limiter.take(someone)).rejects.toThrow('down')
    ledger.takeRequests = takeRequests
    await limiter.take(someone)
  })
})

describe('the address of a request', () => {
  it.each([
    ['198.51.100.7', '198.51.100.7'],
    ['spoofed, 10.0.0.1, 198.51.100.7 ', '198.51.100.7'],
    ['2001:DB8::1', '2001:db8::1'],
    ['', null],
    ['unknown', null],
    [undefined, null],
  ])('%j is %j', (header, address) => {
    expect(addressOf(header)).toBe(address)
  })
})
