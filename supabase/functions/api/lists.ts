import type { Context } from 'hono'
import { AppError, unwrap } from '../_shared/errors.ts'
import type { PostgrestFailure } from '../_shared/errors.ts'
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

/** What PostgREST says of a page that begins behind the last row of a list whose rows it counts. */
const BEHIND_THE_END = 'PGRST103'

/**
 * The rows of a page, and how many there are in all. A page behind the last row is empty: clients that read on until nothing
 * comes meet it at the end of every list.
 * @throws AppError as `unwrap`.
 */
export function unwrapPage<T>(answer: { data: T[] | null; count: number | null; error: PostgrestFailure | null }): {
  rows: T[]
  total: number
} {
  if (answer.error?.code === BEHIND_THE_END) {
    return { rows: [], total: Number(/only (\d+) rows/.exec(answer.error.details ?? '')?.[1] ?? 0) }
  }
  return { rows: unwrap<T[]>(answer), total: answer.count ?? 0 }
}

/** `total, limit, offset` of a list's answer. */
export function pageFields(request: ListRequest, total: number): { total: number; limit: number; offset: number } {
  return { total, limit: request.limit, offset: request.offset }
}
