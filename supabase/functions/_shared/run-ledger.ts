/** The part of the ledger that executors of runs need: claiming one, writing its log, giving it back. */
import { wholeLimit, wholeTokens } from './budget-ledger.ts'
import type { TokenReservation, TokenRequest } from './budget-ledger.ts'
import type { PostgrestFailure } from './errors.ts'
import { storable } from './storable.ts'

/** An event of a run as it is stored: the wire event without its number. */
export type RunEvent = { event: string; type: string; ts: string } & Record<string, unknown>

/** What a run's executor notes beside its events. */
export type RunNote = { op: string } & Record<string, unknown>

/** Why the database wants an executor to stop. */
export type StopReason = 'cancelled' | 'membership_lost' | 'agent_unpublished'

/** `held`: whether the lease was held, and the write therefore done. */
export type LeaseAnswer = { held: boolean; last_seq: number; stop: StopReason | null }

/** The answer to a write that reserves tokens as well: what is held, or why nothing is. Neither: the run is to stop. */
export type ReservingAnswer = LeaseAnswer & { grant?: TokenReservation; refusal?: PostgrestFailure }

/** A call of a run's tool as it was noted; what was noted with it is in `started` and `finished`. */
export type ClaimedCall = {
  call_id: string
  started: Record<string, unknown> | null
  is_retry_safe: boolean
  finished: Record<string, unknown> | null
  decision: 'retry' | 'skip' | 'fail' | null
  /** What gates had found out about it. */
  checked: unknown[] | null
}

/** A step of a run as it was noted: what the model said, what its calls brought, and its record once it was over. */
export type ClaimedStep = {
  step: number
  turn: Record<string, unknown> | null
  record: Record<string, unknown> | null
  calls: ClaimedCall[]
}

/** A run that nobody is at, and its tenant. */
export type DueRun = { id: string; tenant_id: string }

/** A run that this executor may carry out, or carry on with. */
export type ClaimedRun = {
  id: string
  /** Public id, `run_` and 12 hex digits. */
  run_id: string
  /** Public id of the session. */
  session_id: string
  session_uuid: string
  is_new_session: boolean
  lease_token: string
  tenant_id: string
  user_id: string | null
  agent_id: string | null
  /** `sub` of the run's tokens: the person, or the tenant's backend principal. */
  principal_id: string
  /** The body that the caller sent; checked again before it is used. */
  request: unknown
  /** Whether it was begun to be streamed, that is, with tools. */
  streams: boolean
  history: { role: string; content: string | null }[]
  /** Citations of what it was given to answer from. */
  retrieved_context: Record<string, unknown>[]
  context_handler_id: string | null
  /** Number of its last event; 0: it has not begun. */
  last_seq: number
  attempts: number
  is_resumed: boolean
  /** Tokens of all its executors so far; calls whose end nobody heard of are estimated. */
  usage: {
    prompt_tokens: number
    completion_tokens: number
    total_tokens: number
    reasoning_tokens: number
    cached_tokens: number
  }
  steps: ClaimedStep[]
}

/** One write to the log of a run: events with the numbers from `firstSeq` on, and what is noted with them. */
export type LogWrite = { firstSeq: number; events: RunEvent[]; journal: RunNote[] }

type Lease = { runId: string; leaseToken: string }

/** A write under a lease, which is kept. */
export type LeasedWrite = Lease & LogWrite & { leaseSeconds: number }

/** The calls, on top of one that calls a function of the schema `ai` by name. */
export function runCalls(call: <T>(name: string, args: Record<string, unknown>) => Promise<T>) {
  const logArgs = ({ firstSeq, events, journal }: LogWrite) => ({
    first_seq: firstSeq,
    events,
    journal: storable(journal),
  })
  const appendArgs = ({ runId, leaseToken, leaseSeconds, ...write }: LeasedWrite) => ({
    run_id: runId,
    lease_token: leaseToken,
    ...logArgs(write),
    lease_seconds: leaseSeconds,
  })
  return {
    /** Takes the lease on a run that waits or whose executor died; null when there is nothing to take. */
    claimRun: (runId: string, executor: string, leaseSeconds: number) =>
      call<ClaimedRun | null>('claim_run', { run_id: runId, executor, lease_seconds: leaseSeconds }),
    /** Writes events and notes in one transaction and keeps the lease. Those that are stored already are skipped. */
    appendRunEvents: (write: LeasedWrite) => call<LeaseAnswer>('append_run_events', appendArgs(write)),
    /**
     * The same, and in the same transaction, after what it settles, holds tokens back for the call of the model that comes next: once
     * for each id, which the caller chooses. A budget that refuses leaves the rest written.
     */
    appendAndReserve: ({ id, step, model, promptTokens, maxTokens }: TokenRequest, write: LeasedWrite) =>
      call<ReservingAnswer>('append_run_events', {
        ...appendArgs(write),
        reservation: { id, step, model, prompt_tokens: wholeTokens(promptTokens), max_tokens: wholeLimit(maxTokens) },
      }),
    /** Renews the lease once a third of it is used up, and tells whether to stop. */
    beatRun: (runId: string, leaseToken: string, leaseSeconds: number) =>
      call<LeaseAnswer>('beat_run', { run_id: runId, lease_token: leaseToken, lease_seconds: leaseSeconds }),
    /**
     * Writes the rest and gives the lease back. @param waitReason what a person has to decide; null: the queue gives the run to
     * another executor. @returns the run's status now; null: the lease is lost, and nothing was written.
     */
    suspendRun: ({
      runId,
      leaseToken,
      waitReason,
      ...write
    }: Lease & LogWrite & { waitReason: 'approval' | 'unsafe_call' | null }) =>
      call<'waiting' | 'pending' | null>('suspend_run', {
        run_id: runId,
        lease_token: leaseToken,
        ...logArgs(write),
        wait_reason: waitReason,
      }),
    /**
     * Runs that nobody is at, those of tenants with the fewest running ones first. With `presentTenants` the first run of any
     * other tenant is among them, even beyond `limit`.
     */
    dueRuns: (limit: number, presentTenants: readonly string[] | null = null) =>
      call<DueRun[]>('due_runs', { run_limit: limit, present_tenants: presentTenants }),
  }
}
