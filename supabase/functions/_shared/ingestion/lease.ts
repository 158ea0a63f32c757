import type { LeaseKind, Ledger } from '../ledger.ts'
import { LeaseLostError } from './failures.ts'

export type Lease = { kind: LeaseKind; id: string; token: string; seconds: number }

/** Three renewals in a lease's time: two may fail before it is lost. */
const RENEWALS_PER_LEASE = 3

/**
 * Does work under a lease and keeps renewing it. The signal given to the work aborts when `parent` does or when the lease is
 * lost; after that every write would be refused by the database anyway.
 */
export const withLease = <T>(
  ledger: Pick<Ledger, 'renewLease'>,
  { kind, id, token, seconds }: Lease,
  parent: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> => whileRenewed(() => ledger.renewLease(kind, id, token, seconds), seconds, parent, work)

/** As `withLease`, for a lease that is renewed in another way. `renew` says whether it is still held. */
export async function whileRenewed<T>(
  renew: () => Promise<boolean>,
  seconds: number,
  parent: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const lost = new AbortController()
  let renewedAt = performance.now()
  let renewing = false
  const renewOnce = async () => {
    if (renewing) return
    renewing = true
    const askedAt = performance.now()
    try {
      if (await renew()) renewedAt = askedAt
      else lost.abort(new LeaseLostError('The lease was taken over.'))
    } catch {
      // A renewal that did not get through says nothing; the lease's own time does.
      if (performance.now() - renewedAt > seconds * 1000) lost.abort(new LeaseLostError('The lease ran out.'))
    } finally {
      renewing = false
    }
  }
  const timer = setInterval(renewOnce, (seconds * 1000) / RENEWALS_PER_LEASE)
  try {
    return await work(AbortSignal.any([parent, lost.signal]))
  } finally {
    clearInterval(timer)
  }
}

/** Turns the refusal of a fenced write into an error. */
export function held(stillHeld: boolean): void {
  if (!stillHeld) throw new LeaseLostError('The lease was taken over.')
}
