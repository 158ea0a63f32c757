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
