/** The part of the ledger that all functions need to limit requests, and to answer a repeated one as the first. */
import type { JsonAnswer } from './idempotency.ts'

/** Who makes requests: whose bucket they come out of. */
export type RequestSubject = {
  /** `user`, `backend`, `tool` or `address:...`. */
  subject: string
  userId: string | null
  /** Counts only if the person is in it. */
  tenantId: string | null
}

/** `granted`: 0 to what was wanted. `ends_in`: seconds until the minute is over and the bucket full again. */
export type RequestGrant = { granted: number; ends_in: number }

/** A request with an Idempotency-Key. */
export type KeyedRequest = {
  callerId: string
  /** The tenants that header and token name. */
  narrowing: string[]
  key: string
  /** Method and path. */
  route: string
  /** SHA-256 of the body, in hex. */
  bodyHash: string
}

export type RequestState =
  | { state: 'new'; id: string }
  | { state: 'answered'; response: JsonAnswer }
  | { state: 'in_progress' }

type Call = <T>(name: string, args: Record<string, unknown>) => Promise<T>

/** The calls, made with `call`. All throw AppError as `fromPostgrest` makes it. */
export function limitCalls(call: Call) {
  return {
    /** Takes up to `wanted` requests out of the bucket of `who`, which holds `max` per minute. */
    takeRequests: ({ subject, userId, tenantId }: RequestSubject, wanted: number, max: number) =>
      call<RequestGrant>('take_requests', {
        subject,
        wanted,
        max_requests: max,
        user_id: userId,
        tenant_id: tenantId,
      }),
    /**
     * What to do with a request that has a key.
     * @throws AppError `idempotency_conflict` when the key came with another body.
     */
    beginRequest: ({ callerId, narrowing, key, route, bodyHash }: KeyedRequest) =>
      call<RequestState>('begin_request', {
        caller_id: callerId,
        narrowing,
        idempotency_key: key,
        route,
        body_hash: bodyHash,
      }),
    /** Keeps the answer; null: forgets the attempt, so that the request may be sent again. */
    finishRequest: (id: string, callerId: string, response: JsonAnswer | null) =>
      call<boolean>('finish_request', { id, caller_id: callerId, response }),
  }
}
