// From SQLSTATE to an HTTP answer, as PostgREST does it: https://docs.postgrest.org/en/stable/references/errors.html

export type DatabaseError = Error & { code: string; detail?: string | null; hint?: string | null }

export const isDatabaseError = (error: unknown): error is DatabaseError =>
  error instanceof Error && /^[0-9A-Z]{5}$/.test(String((error as { code?: unknown }).code ?? ''))

/** Statuses by exact SQLSTATE; those of whole classes follow. */
const BY_CODE: Record<string, number> = {
  '23503': 409,
  '23505': 409,
  '25006': 405,
  '42883': 404,
  '42P01': 404,
  '42P17': 500,
  '53400': 500,
  P0001: 400,
}

const BY_CLASS: Record<string, number> = {
  '08': 503,
  '53': 503,
  '0L': 403,
  '0P': 403,
  '28': 403,
  ...Object.fromEntries(
    ['09', '25', '2D', '38', '39', '3B', '40', '54', '55', '57', '58', 'F0', 'HV', 'P0', 'XX'].map((name) => [
      name,
      500,
    ]),
  ),
}

/** @param anonymous whether the request ran as `anon`: what it may not do might be allowed after signing in. */
export const statusOf = ({ code, message }: DatabaseError, anonymous: boolean): number => {
  if (code === '42501') return anonymous ? 401 : 403
  if (code === '21000') return message.endsWith('requires a WHERE clause') ? 400 : 500
  if (code.startsWith('PT')) {
    const status = Number(code.slice(2))
    return status >= 200 && status <= 599 ? status : 500
  }
  return BY_CODE[code] ?? BY_CLASS[code.slice(0, 2)] ?? 400
}

/** The answer to a request whose statement failed with `error`. */
export const databaseErrorResponse = (error: DatabaseError, anonymous: boolean): Response => {
  const status = statusOf(error, anonymous)
  const body = JSON.stringify({
    code: error.code,
    details: error.detail ?? null,
    hint: error.hint ?? null,
    message: error.message,
  })
  const headers = new Headers({ 'content-type': 'application/json; charset=utf-8' })
  if (status === 401) headers.set('www-authenticate', 'Bearer')
  return new Response(status === 204 || status === 205 || status === 304 ? null : body, { status, headers })
}
