/** An answer that says no. `code` is one of docs/errors.md, or `network` when there was no answer at all. */
export class BulkheadError extends Error {
  readonly code: string
  /** HTTP status; 0 when there was no answer. */
  readonly status: number
  /** Quote it when you report a problem; it names the request in the server's log. */
  readonly requestId: string | undefined
  /** The whole body, e.g. with `duplicate` for code `duplicate_source`. */
  readonly details: Record<string, unknown>

  constructor(
    message: string,
    fields: { code: string; status: number; details?: Record<string, unknown> | undefined },
  ) {
    super(message)
    this.name = 'BulkheadError'
    this.code = fields.code
    this.status = fields.status
    this.details = fields.details ?? {}
    const requestId = this.details['request_id']
    this.requestId = typeof requestId === 'string' ? requestId : undefined
  }
}

const asRecord = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}

/** Reads the error envelope `{ error, code, request_id }` of a function's answer. */
export async function errorFromResponse(response: Response): Promise<BulkheadError> {
  const text = await response.text().catch(() => '')
  let body: Record<string, unknown> = {}
  try {
    body = asRecord(JSON.parse(text))
  } catch {
    // A gateway in between may answer with something else than JSON; the status still says what happened.
  }
  const message = typeof body['error'] === 'string' ? body['error'] : `The server answered ${response.status}.`
  const code = typeof body['code'] === 'string' ? body['code'] : 'http_error'
  return new BulkheadError(message, { code, status: response.status, details: body })
}

/** SQLSTATEs of policies and constraints; the functions of the database name a code of their own. */
const BY_SQLSTATE: Record<string, string> = {
  '42501': 'forbidden',
  '23505': 'conflict',
  '23503': 'not_found',
  '23514': 'invalid_request',
  '23502': 'invalid_request',
  '22P02': 'invalid_request',
  '22001': 'invalid_request',
  PGRST116: 'not_found',
  PGRST301: 'unauthenticated',
  PGRST303: 'unauthenticated',
}

/** Reads what supabase-js reports when the Data API refuses: functions of the database put `{"code": …}` into the details. */
export function errorFromPostgrest(
  failure: { code?: string; message: string; details?: string | null; hint?: string | null },
  status: number,
): BulkheadError {
  const sqlState = failure.code ?? ''
  const isOurs = sqlState.startsWith('PT')
  let details: Record<string, unknown> = {}
  if (isOurs) {
    try {
      details = asRecord(JSON.parse(failure.details ?? ''))
    } catch {
      // The status of a PTxyz code still says what happened.
    }
  }
  const own = typeof details['code'] === 'string' ? details['code'] : undefined
  const code = own ?? BY_SQLSTATE[sqlState] ?? (status === 0 ? 'network' : 'http_error')
  return new BulkheadError(failure.message, {
    code,
    status,
    details: { ...details, ...(failure.hint ? { hint: failure.hint } : {}), ...(isOurs ? {} : { sqlstate: sqlState }) },
  })
}
