import type { Context } from 'hono'
import type { z } from 'zod'
import { parse, parseLenientBody } from '../_shared/http.ts'

/**
 * As `parseLenientBody`, for routes whose clients may have nothing to say: they send no body, some with a content type.
 * @throws AppError as `parseLenientBody`.
 */
export async function parseOptionalBody<S extends z.ZodObject>(
  c: Context,
  schema: S,
  alsoIgnored?: (body: z.output<S>, sent: Record<string, unknown>) => string[],
): Promise<{ body: z.output<S>; warnings: string[] }> {
  const isEmpty =
    c.req.header('content-type') === undefined || c.req.header('content-length') === '0' || c.req.raw.body === null
  return isEmpty ? { body: parse(schema, {}), warnings: [] } : await parseLenientBody(c, schema, alsoIgnored)
}
