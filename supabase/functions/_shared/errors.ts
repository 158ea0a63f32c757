import type { Context, ErrorHandler } from 'hono'
import { HTTPException } from 'hono/http-exception'
import type { ContentfulStatusCode } from 'hono/utils/http-status'

/** Every error code a caller can receive, with its HTTP status. Each is explained in docs/errors.md. */
export const ERROR_STATUS = {
  context_length_exceeded: 400,
  empty_document: 400,
  invalid_embedding: 400,
  invalid_request: 400,
  source_not_extracted: 400,
  tenant_required: 400,
  unsupported_type: 400,
  unauthenticated: 401,
  budget_exceeded: 402,
  insufficient_credits: 402,
  forbidden: 403,
  membership_lost: 403,
  agent_not_found: 404,
  approval_not_found: 404,
  not_found: 404,
  session_not_found: 404,
  tool_not_found: 404,
  already_uploaded: 409,
  agent_unpublished: 409,
  conflict: 409,
  duplicate_source: 409,
  enrichment_needs_model: 409,
  hash_mismatch: 409,
  idempotency_conflict: 409,
  last_owner: 409,
  limit_reached: 409,
  interrupted: 409,
  session_busy: 409,
  run_not_active: 409,
  not_retryable: 409,
  object_missing: 409,
  upload_incomplete: 409,
  payload_too_large: 413,
  unsupported_media_type: 415,
  rate_limited: 429,
  internal: 500,
  storage_failed: 500,
  doom_loop: 502,
  upstream_failed: 502,
  unavailable: 503,
  upstream_timeout: 504,
} as const

export type ErrorCode = keyof typeof ERROR_STATUS

/** Options of an AppError. */
export type AppErrorOptions = {
  /** What went wrong underneath; goes to the log only. */
  cause?: unknown
  /** Fields put beside `error` and `code` in the answer, e.g. the duplicate of a refused upload. */
  extra?: Record<string, unknown>
  /** What the caller can do next. */
  hint?: string
  /** HTTP status, where what a route promises is another one than the code's. */
  status?: ContentfulStatusCode
}

/** An error whose message the caller may read. */
export class AppError extends Error {
  readonly code: ErrorCode
  readonly extra: Record<string, unknown>
  readonly hint: string | null
  /** HTTP status of this error. */
  readonly status: ContentfulStatusCode

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'AppError'
    this.code = code
    this.extra = options.extra ?? {}
    this.hint = options.hint ? options.hint : null
    this.status = options.status ?? ERROR_STATUS[code]
  }
}

/** Things that ids name, with what is said when there is none, or none the caller may know of. */
const MISSING = {
  agent: ['agent_not_found', 'Agent not found'],
  session: ['session_not_found', 'Session not found'],
  source: ['not_found', 'Source not found'],
  knowledge_base: ['not_found', 'Knowledge base not found'],
  indexed_source: ['not_found', 'Indexed source not found'],
  assignment: ['not_found', 'Assignment not found'],
  tool: ['tool_not_found', 'Tool not found'],
  mcp_server: ['not_found', 'MCP server not found'],
  hook: ['not_found', 'Hook not found'],
  approval: ['approval_not_found', 'No approval is waiting for your decision.'],
  run: ['not_found', 'Run not found'],
  context_handler: ['not_found', 'Context handler not found'],
} as const satisfies Record<string, readonly [ErrorCode, string]>

/** The 404 for a thing of this kind: the same whether it is absent, hidden or another tenant's. */
export function missing(kind: keyof typeof MISSING, cause?: unknown): AppError {
  const [code, message] = MISSING[kind]
  return new AppError(code, message, { cause })
}

/** What supabase-js reports when PostgREST refuses a request. */
export type PostgrestFailure = {
  code?: string | null
  message?: string | null
  details?: string | null
  hint?: string | null
}

const BY_STATUS: Record<string, ErrorCode> = {
  '400': 'invalid_request',
  '401': 'unauthenticated',
  '403': 'forbidden',
  '404': 'not_found',
  '409': 'conflict',
  '413': 'payload_too_large',
  '429': 'rate_limited',
  '503': 'unavailable',
}

/** SQLSTATEs and PostgREST codes whose own texts would tell too much, with what we say instead. */
const BY_SQLSTATE: Record<string, [ErrorCode, string]> = {
  '42501': ['forbidden', 'You may not do this.'],
  PGRST116: ['not_found', 'Not found.'],
  PGRST301: ['unauthenticated', 'Invalid token: the database refused it'],
  PGRST302: ['unauthenticated', 'Invalid token: the database refused it'],
  PGRST303: ['unauthenticated', 'Token has expired'],
  '22P02': ['invalid_request', 'A value has the wrong form.'],
  '22P05': ['invalid_request', 'A text contains a character that cannot be stored.'],
  '22021': ['invalid_request', 'A text contains a character that cannot be stored.'],
  '54001': ['invalid_request', 'A value is nested too deeply.'],
  PGRST102: ['invalid_request', 'A value is nested too deeply, or is not JSON.'],
  '22001': ['invalid_request', 'A text is too long.'],
  '22003': ['invalid_request', 'A number is out of range.'],
  '22023': ['invalid_request', 'A value is out of range.'],
  '23502': ['invalid_request', 'A required value is missing.'],
  '23503': ['not_found', 'Something this request refers to does not exist.'],
  '23505': ['conflict', 'This already exists.'],
  '23514': ['invalid_request', 'A value is not allowed.'],
  '40001': ['unavailable', 'The database is busy. Try again.'],
  '40P01': ['unavailable', 'The database is busy. Try again.'],
  '57014': ['upstream_timeout', 'The database took too long.'],
  PGRST000: ['unavailable', 'The database cannot be reached.'],
  PGRST001: ['unavailable', 'The database cannot be reached.'],
  PGRST002: ['unavailable', 'The database cannot be reached.'],
  PGRST003: ['upstream_timeout', 'The database took too long.'],
}

const isErrorCode = (value: unknown): value is ErrorCode =>
  typeof value === 'string' && Object.hasOwn(ERROR_STATUS, value)

const parseDetails = (details: string | null | undefined): Record<string, unknown> => {
  try {
    const parsed: unknown = JSON.parse(details ?? '')
    return typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed) ? { ...parsed } : {}
  } catch {
    return {}
  }
}

/**
 * The error a PostgREST failure means. `PTnnn` errors are raised by our own SQL: their message is for the caller and
 * their detail holds the code. Everything else gets a text of ours; what is not known becomes `internal`.
 */
export function fromPostgrest(failure: PostgrestFailure): AppError {
  const state = failure.code ?? ''
  if (/^PT\d{3}$/.test(state)) {
    const { code, ...extra } = parseDetails(failure.details)
    return new AppError(
      isErrorCode(code) ? code : (BY_STATUS[state.slice(2)] ?? 'internal'),
      failure.message ?? 'Refused.',
      {
        cause: failure,
        extra,
        ...(failure.hint ? { hint: failure.hint } : {}),
      },
    )
  }
  const known = BY_SQLSTATE[state]
  if (known) return new AppError(known[0], known[1], { cause: failure })
  // supabase-js reports a failed connection as an error without a code.
  if (state === '' && /fetch|network|abort|timed? ?out/i.test(failure.message ?? '')) {
    return new AppError('unavailable', 'The database cannot be reached.', { cause: failure })
  }
  return new AppError('internal', 'Something went wrong.', { cause: failure })
}

/**
 * The data of a PostgREST answer.
 * @throws AppError what `fromPostgrest` makes of its error.
 */
export function unwrap<T>(answer: { data: T | null; error: PostgrestFailure | null }): T {
  if (answer.error) throw fromPostgrest(answer.error)
  return answer.data as T
}

/** Any thrown value as an AppError: the framework's own 4xx become `invalid_request`, unknown things `internal`. */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error
  if (error instanceof HTTPException && error.status < 500) {
    return new AppError(BY_STATUS[String(error.status)] ?? 'invalid_request', error.message || 'Invalid request.', {
      cause: error,
    })
  }
  return new AppError('internal', 'Something went wrong.', { cause: error })
}

/** The envelope of an error: `error` is a string because clients of the agent API read it as one. */
export function errorBody(error: AppError, requestId: string): Record<string, unknown> {
  return {
    ...error.extra,
    // Clients of the agent API compare this one with the code; balance, estimated_cost and renews_at are beside it.
    ...(error.code === 'insufficient_credits'
      ? { error: error.code, message: error.message }
      : { error: error.message }),
    code: error.code,
    ...(error.hint === null ? {} : { hint: error.hint }),
    request_id: requestId,
  }
}

/** Where errors are logged: an event name and its fields. */
export type Log = {
  info: (event: string, fields: Record<string, unknown>) => void
  error: (event: string, fields: Record<string, unknown>) => void
}

/** What every log can do, also that of the ingestion: events whose fields are texts and numbers. */
export type PlainLog = Record<'info' | 'error', (event: string, fields: Record<string, string | number>) => void>

/** Text of an error and its causes for the log. Never holds request bodies, only what was thrown. */
export function describeError(error: unknown): string {
  const parts: string[] = []
  for (let current: unknown = error, depth = 0; current !== undefined && current !== null && depth < 4; depth++) {
    if (current instanceof Error) {
      parts.push(`${current.name}: ${current.message}`)
      current = current.cause
    } else {
      const { code, message } = Object(current) as PostgrestFailure
      parts.push(code || message ? `${code ?? ''} ${message ?? ''}`.trim() : typeof current)
      current = undefined
    }
  }
  return parts.join(' <- ').slice(0, 2000)
}

/** The one place an error becomes a response; what the caller must not see goes to the log only. */
export const onError: ErrorHandler = (thrown, c: Context) => {
  const error = toAppError(thrown)
  const requestId: string = c.get('requestId') ?? ''
  if (error.status >= 500) {
    const log: Log | undefined = c.get('deps')?.log
    log?.error('request_failed', { request_id: requestId, code: error.code, error: describeError(thrown) })
  }
  const { retry_after } = error.extra
  if (typeof retry_after === 'number') c.header('retry-after', String(retry_after))
  else if (error.code === 'rate_limited') c.header('retry-after', '10')
  return c.json(errorBody(error, requestId), error.status)
}
