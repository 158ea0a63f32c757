import { BulkheadError } from '../../../client/errors.ts'

/** What a person is told of an error, whatever raised it. */
export type ToldError = {
  message: string
  /** One of docs/errors.md, or the code of PostgREST or Auth. */
  code: string
  /** Names the request in the server's log. */
  requestId: string | null
  /** What to do about it. */
  hint: string | null
  /** HTTP status, 0 without an answer; null where it is not known. */
  status: number | null
}

const HINTS: Record<string, string> = {
  network: 'Check the connection, then try again. Nothing was lost.',
  rate_limited: 'Wait a moment, then try again.',
  insufficient_credits: 'The budget of this period is used up. An admin can raise it under Usage.',
  not_found: 'It is gone, or it is not yours to see.',
  forbidden: 'Ask an admin of this tenant for the right to do this.',
  not_a_member: 'Ask an admin of this tenant to invite you again.',
  invalid_credentials: 'Check the e-mail address and the password.',
}

const field = (value: unknown, name: string): string | null => {
  if (typeof value !== 'object' || value === null) return null
  const found = (value as Record<string, unknown>)[name]
  return typeof found === 'string' && found !== '' ? found : null
}

const parsed = (json: string | null): unknown => {
  try {
    return json === null ? null : (JSON.parse(json) as unknown)
  } catch {
    return null
  }
}

/** Reads errors of the typed client, PostgREST, Auth, Storage and of the browser itself. */
export function tellError(error: unknown): ToldError {
  if (error instanceof BulkheadError) {
    const hint = field(error.details, 'hint') ?? HINTS[error.code] ?? null
    return { message: error.message, code: error.code, requestId: error.requestId ?? null, hint, status: error.status }
  }
  const isOffline = error instanceof TypeError && /fetch|network/i.test(error.message)
  if (isOffline) {
    const message = 'The server cannot be reached.'
    return { message, code: 'network', requestId: null, hint: HINTS['network'] ?? null, status: 0 }
  }
  // A refusal of one of our SQL functions: PostgREST's code says the status, `details` has ours.
  const details = parsed(field(error, 'details'))
  const code = field(details, 'code') ?? field(error, 'code') ?? field(error, 'name') ?? 'unexpected'
  const status =
    typeof (error as { status?: unknown } | null)?.status === 'number' ? (error as { status: number }).status : null
  return {
    message: field(error, 'message') ?? 'Something unexpected happened.',
    code,
    requestId: field(details, 'request_id') ?? field(error, 'request_id') ?? field(error, 'requestId'),
    hint: field(error, 'hint') ?? HINTS[code] ?? null,
    status,
  }
}

/** The data of a supabase-js answer. @throws its error. */
export function dataOf<T>(answer: { data: T; error: unknown; status?: number }): NonNullable<T> {
  if (answer.error) {
    const error = answer.error as { message?: string }
    // A request that never got an answer has status 0 and the browser's own words.
    if (answer.status === 0) throw new BulkheadError('The server cannot be reached.', { code: 'network', status: 0 })
    throw Object.assign(error, { status: answer.status })
  }
  return answer.data as NonNullable<T>
}
