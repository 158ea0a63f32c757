/** The part of the ledger that works off enrichments of knowledge bases. Every write is fenced by the lease. */
import { requestArgs } from './budget-ledger.ts'
import type { ModelCallRequest, TokenReservation } from './budget-ledger.ts'
import type { Failure } from './ledger.ts'

/** A question about a document; `enum_values` if and only if the type is `enum`. */
export type EnrichmentField = {
  name: string
  description: string
  type: 'text' | 'boolean' | 'number' | 'enum'
  enum_values?: string[]
}

/** A run that has been taken up, with what is to be asked. */
export type EnrichmentClaim = {
  lease_token: string
  enrichment_id: string
  tenant_id: string
  knowledge_base_id: string
  fields: EnrichmentField[]
  /** Null: the model of the project. */
  llm_model: string | null
  /** Tokens that one answer may have. */
  max_tokens: number
  run_number: number
  /** Times it was taken up since a result was last stored, this one included. */
  attempts: number
}

/** What came of asking about one source: values, or why there are none. */
export type EnrichmentResult = {
  indexedSourceId: string
  /** `extracted_at` of the source, as it was when its text was read. */
  sourceExtractedAt: string | null
  /** Values by the names of the fields; null: see `error`. */
  values: Record<string, unknown> | null
  error: { code: string; message: string } | null
  /** What to know about the values. */
  note: string | null
  model: string
}

type Lease = Pick<EnrichmentClaim, 'enrichment_id' | 'lease_token'>
type Call = <T>(name: string, args: Record<string, unknown>) => Promise<T>

const held = (lease: Lease) => ({ enrichment_id: lease.enrichment_id, lease_token: lease.lease_token })

/** The calls, made with `call`. All throw AppError as `fromPostgrest` makes it. */
export const enrichmentCalls = (call: Call) => ({
  /** Takes the lease on a run; null when there is nothing to do or somebody else is at it. */
  claimEnrichment: (id: string, worker: string, leaseSeconds: number) =>
    call<EnrichmentClaim | null>('claim_enrichment', { enrichment_id: id, worker, lease_seconds: leaseSeconds }),
  /**
   * Whose token may be minted right now; null when the lease is lost.
   * @throws AppError `membership_lost` when the person may not have this done any more.
   */
  delegateEnrichment: (lease: Lease) =>
    call<{ sub: string; tenant_id: string } | null>('delegate_enrichment', held(lease)),
  /**
   * Holds tokens back for one call, on behalf of who started the run; ended by `settleTokens`. Null when the lease is lost.
   * @throws AppError `budget_exceeded` when prompt and answer are more than a budget has left.
   */
  reserveEnrichmentTokens: (lease: Lease, want: ModelCallRequest) =>
    call<TokenReservation | null>('reserve_enrichment_tokens', { ...held(lease), ...requestArgs(want) }),
  /** False when the lease is lost. A source that was taken out meanwhile is passed over. */
  storeEnrichmentResult: (lease: Lease, result: EnrichmentResult) =>
    call<boolean>('store_enrichment_result', {
      ...held(lease),
      indexed_source_id: result.indexedSourceId,
      source_extracted_at: result.sourceExtractedAt,
      field_values: result.values,
      error_code: result.error?.code ?? null,
      error_message: result.error?.message ?? null,
      note: result.note,
      model: result.model,
    }),
  /** Gives the lease back with work left and queues the rest. False when the lease is lost. */
  yieldEnrichment: (lease: Lease) => call<boolean>('yield_enrichment', held(lease)),
  /** Ends a run that has nothing left to ask about. False when the lease is lost. */
  finishEnrichment: (lease: Lease) => call<boolean>('finish_enrichment', held(lease)),
  failEnrichment: (
    lease: Lease,
    { status, errorCode, reasonCode, message, nextRetryAt }: Failure<'failed' | 'pending'>,
  ) =>
    call<boolean>('fail_enrichment', {
      ...held(lease),
      status,
      error_code: errorCode,
      reason_code: reasonCode,
      error_message: message,
      next_retry_at: nextRetryAt?.toISOString() ?? null,
    }),
  renewEnrichmentLease: (lease: Lease, leaseSeconds: number) =>
    call<boolean>('renew_enrichment_lease', { ...held(lease), lease_seconds: leaseSeconds }),
  /** The queue has given it up. False when it has ended or been taken up again meanwhile. */
  markDeadEnrichment: (id: string, message: string) =>
    call<boolean>('mark_dead_enrichment', { enrichment_id: id, error_message: message }),
})
