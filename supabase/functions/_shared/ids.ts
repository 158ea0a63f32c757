/** Ids that come from outside: what they may look like, checked before they reach a query. */

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
const SAFE_ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/

/** Whether the value is a UUID in its usual text form. */
export function isUuid(value: unknown): value is string {
  return typeof value === 'string' && UUID.test(value)
}

/** Whether the value is a client-chosen id (session, request) that is safe in logs, headers and URLs. */
export function isSafeId(value: unknown): value is string {
  return typeof value === 'string' && SAFE_ID.test(value)
}

/** Position in a list ordered by a time and then by id: the last row of the page before. */
export type Cursor = { at: string; id: string }

/** An opaque cursor for the row a page ended with. */
export function encodeCursor(cursor: Cursor): string {
  return btoa(JSON.stringify([cursor.at, cursor.id]))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replace(/=+$/, '')
}

const TIMESTAMP = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d(:?\d\d)?)$/

/** The position a cursor stands for, or null when it was not made by `encodeCursor`. */
export function decodeCursor(cursor: string): Cursor | null {
  if (!/^[A-Za-z0-9_-]{1,200}$/.test(cursor)) return null
  try {
    const parsed: unknown = JSON.parse(atob(cursor.replaceAll('-', '+').replaceAll('_', '/')))
    if (!Array.isArray(parsed) || parsed.length !== 2) return null
    const [at, id] = parsed as unknown[]
    if (typeof at !== 'string' || !TIMESTAMP.test(at) || Number.isNaN(Date.parse(at)) || !isUuid(id)) return null
    return { at, id }
  } catch {
    return null
  }
}

/**
 * PostgREST `or` filter for the rows behind a cursor, in the order (`column`, id). The cursor's parts were checked when it
 * was decoded, so they cannot carry operators.
 */
export function behindCursor(cursor: Cursor, column: 'created_at' | 'updated_at', descending: boolean): string {
  const operator = descending ? 'lt' : 'gt'
  const at = `"${cursor.at}"`
  return `${column}.${operator}.${at},and(${column}.eq.${at},id.${operator}.${cursor.id})`
}
