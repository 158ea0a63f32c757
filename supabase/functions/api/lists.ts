import type { Context } from 'hono'
import { AppError } from '../_shared/errors.ts'
import { likePattern, pageOf } from '../_shared/http.ts'

/** How a list of the agent API is asked for: `limit`, `offset`, `q`, `sort`, `order`. */
export type ListRequest = {
  limit: number
  offset: number
  /** LIKE pattern for the name, or null. */
  pattern: string | null
  sort: string
  ascending: boolean
}

/**
 * Reads the query of a list. Bad numbers fall back, unknown sort keys do not.
 * @param sortKeys what may be sorted by; the first is the default.
 * @throws AppError `invalid_request` for `sort` or `order`.
 */
export function listRequest(c: Context, sortKeys: readonly [string, ...string[]], maxLimit: number): ListRequest {
  const sort = c.req.query('sort') ?? sortKeys[0]
  if (!sortKeys.includes(sort)) {
    throw new AppError('invalid_request', `sort must be one of ${sortKeys.join(', ')}`)
  }
  const order = c.req.query('order') ?? (sort === 'name' ? 'asc' : 'desc')
  if (order !== 'asc' && order !== 'desc') throw new AppError('invalid_request', 'order must be asc or desc')
  const q = (c.req.query('q') ?? '').trim().slice(0, 200)
  return {
    ...pageOf(c, 50, maxLimit),
    pattern: q === '' ? null : likePattern(q),
    sort,
    ascending: order === 'asc',
  }
}

/** `total, limit, offset` of a list's answer. */
export function pageFields(
  request: ListRequest,
  total: number | null,
): { total: number; limit: number; offset: number } {
  return { total: total ?? 0, limit: request.limit, offset: request.offset }
}
