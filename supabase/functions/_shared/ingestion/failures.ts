import { AppError } from '../errors.ts'
import type { FailureCode } from '../ledger.ts'
import { ExtractionFailure, type ExtractionReason } from './extract/failure.ts'

/** What becomes of work that failed: `pending` if the queue shall try again. */
export type Verdict = {
  status: 'failed' | 'attention_required' | 'pending'
  errorCode: FailureCode
  reasonCode: string
  /** A sentence for the person who uploaded the document. */
  message: string
}

/** The lease went to somebody else, or could not be renewed in time. The holder stops and writes nothing more. */
export class LeaseLostError extends Error {
  override name = 'LeaseLostError'
}

/** The worker is being stopped; the work is handed back. */
export class WorkerStoppedError extends Error {
  override name = 'WorkerStoppedError'
}

/** What the work was for has changed meanwhile; done again, it will fit. */
export class SupersededError extends Error {
  override name = 'SupersededError'
}

/** Something about the stored object or the document that no retry changes. */
export class PermanentError extends Error {
  override name = 'PermanentError'
  readonly reasonCode: string

  constructor(reasonCode: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.reasonCode = reasonCode
  }
}

const BY_REASON: Record<ExtractionReason, Pick<Verdict, 'status' | 'errorCode'>> = {
  encrypted_document: { status: 'failed', errorCode: 'permanent' },
  corrupt_document: { status: 'failed', errorCode: 'permanent' },
  empty_document: { status: 'failed', errorCode: 'no_content' },
  no_text_layer: { status: 'attention_required', errorCode: 'no_content' },
  too_large: { status: 'failed', errorCode: 'permanent' },
  unsupported_type: { status: 'failed', errorCode: 'permanent' },
  limit_exceeded: { status: 'failed', errorCode: 'permanent' },
}

const retry = (errorCode: FailureCode, reasonCode: string, message: string): Verdict => ({
  status: 'pending',
  errorCode,
  reasonCode,
  message,
})

const CONNECTION =
  /^(ECONN|EPIPE|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|UND_ERR|ConnectionRefused|ConnectionReset)/
// Mistakes in the program: the same input would meet them again. `fetch failed` is a TypeError too, but has a cause.
const OUR_MISTAKES = [TypeError, ReferenceError, SyntaxError, RangeError]

type Described = {
  name?: string
  code?: unknown
  status?: unknown
  message?: string
  $metadata?: { httpStatusCode?: number }
}

/** An error and its causes, outermost first. */
function* chain(error: unknown): Generator<Described> {
  for (let current = error, depth = 0; current && depth < 6; depth++) {
    yield current as Described
    current = (current as { cause?: unknown }).cause
  }
}

function byStatus(status: number): Verdict | null {
  if (status === 429)
    return retry(
      'rate_limited',
      'rate_limited',
      'A service we depend on asks us to slow down. We try again by ourselves.',
    )
  if (status === 408 || status === 504) return timedOut
  if (status >= 500) return unavailable
  if (status >= 400) {
    return {
      status: 'failed',
      errorCode: 'permanent',
      reasonCode: 'provider_refused',
      message: `A service we depend on refused the request (${status}). Whoever runs this installation has to look at its settings; then try again.`,
    }
  }
  return null
}

const timedOut = retry(
  'timeout',
  'timeout',
  'A service we depend on did not answer in time. We try again by ourselves.',
)
const unavailable = retry(
  'transient',
  'service_unavailable',
  'A service we depend on cannot be reached. We try again by ourselves.',
)

/** Statuses that our own database client translated into codes. */
const BY_APP_CODE: Record<string, Verdict> = {
  unavailable,
  upstream_failed: unavailable,
  storage_failed: unavailable,
  upstream_timeout: timedOut,
  rate_limited: byStatus(429) as Verdict,
}

/**
 * Sorts a failure: final verdicts about the document, what waiting may cure (unreachable, slow or busy services, anything
 * unforeseen from outside), and mistakes of ours, which no retry cures.
 */
export function classify(error: unknown): Verdict {
  if (error instanceof ExtractionFailure) {
    return { ...BY_REASON[error.reason], reasonCode: error.reason, message: error.message }
  }
  if (error instanceof PermanentError) {
    return { status: 'failed', errorCode: 'permanent', reasonCode: error.reasonCode, message: error.message }
  }
  if (error instanceof SupersededError) return retry('transient', 'superseded', error.message)
  if (error instanceof WorkerStoppedError) {
    return retry('transient', 'worker_stopped', 'Processing was interrupted by a restart and continues by itself.')
  }
  let translated: Verdict | undefined
  for (const each of chain(error)) {
    if (each instanceof AppError) {
      // Its cause may tell more: an upstream that failed with 401 will do so again.
      translated ??= BY_APP_CODE[each.code]
      continue
    }
    if (/Timeout/.test(each.name ?? '') || each.code === 'ETIMEDOUT') return timedOut
    if (typeof each.code === 'string' && CONNECTION.test(each.code)) return unavailable
    const status = typeof each.status === 'number' ? each.status : each.$metadata?.httpStatusCode
    const verdict = status === undefined ? null : byStatus(status)
    if (verdict) return verdict
    if (/^(APIConnectionError|AbortError|NetworkError)$/.test(each.name ?? '')) return unavailable
  }
  if (translated) return translated
  const isOurs = OUR_MISTAKES.some((kind) => error instanceof kind) && !(error as Error).cause
  if (isOurs) {
    return {
      status: 'failed',
      errorCode: 'internal',
      reasonCode: 'internal',
      message: 'Something went wrong on our side. It has been logged.',
    }
  }
  return retry('transient', 'unexpected_error', 'Something went wrong. We try again by ourselves.')
}
