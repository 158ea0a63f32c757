import { Hono } from 'hono'
import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { z } from 'zod'
import { readJson } from './body.ts'
import type { AppEnv, Deps } from './context.ts'
import { allowOrigins } from './cors.ts'
import { AppError, missing, onError } from './errors.ts'
import { isSafeId, isUuid } from './ids.ts'
import { droppedKeys } from './ignored-input.ts'

/**
 * A Hono app with what every function has: request ids, CORS, the dependencies in the context, one error envelope, also
 * for unknown routes.
 * @param basePath the function's name with a slash: the platform keeps it in the path.
 */
export function createRouter<D extends Deps>(basePath: string, deps: D): Hono<AppEnv<D>> {
  const app = new Hono<AppEnv<D>>().basePath(basePath)
  app.onError(onError)
  app.notFound((c) => onError(new AppError('not_found', 'No such route.'), c))
  app.use(
    createMiddleware<AppEnv<D>>(async (c, next) => {
      const given = c.req.header('x-request-id')
      // A caller's id goes into logs and headers, so only a plain one is taken over.
      const requestId = isSafeId(given) ? given : crypto.randomUUID()
      c.set('requestId', requestId)
      c.set('deps', deps)
      c.header('x-request-id', requestId)
      c.header('x-content-type-options', 'nosniff')
      await next()
      // Nobody reads that body, and what it comes from, a stored object or a run that is followed, would be held open for good.
      if (c.req.method === 'HEAD') await c.res.body?.cancel().catch(() => {})
    }),
  )
  app.use(allowOrigins(deps.corsOrigins))
  return app
}

/** Texts zod makes itself; they need the field's name in front. Ours are whole sentences. */
const ZOD_TEXT = /^(Invalid|Too small|Too big|Unrecognized)/

function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0]
  if (!issue) return 'Invalid request.'
  if (!ZOD_TEXT.test(issue.message)) return issue.message
  const path = issue.path.map(String).join('.')
  return path === '' ? issue.message : `${path}: ${issue.message}`
}

/**
 * A value as the schema has it.
 * @throws AppError `invalid_request` with the first thing that is wrong.
 */
export function parse<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const result = schema.safeParse(value)
  if (!result.success) throw new AppError('invalid_request', firstIssue(result.error), { cause: result.error })
  return result.data
}

/**
 * The JSON body of a request as the schema has it.
 * @throws AppError as `readJson` and `parse` do.
 */
export async function parseBody<S extends z.ZodType>(c: Context, schema: S): Promise<z.output<S>> {
  return parse(schema, await readJson(c.req.raw))
}

/**
 * The JSON body of a request for routes whose clients were written for another server: fields that are not in the
 * schema are not refused but named in `warnings`; with `Prefer: handling=strict` they are refused.
 * @param alsoIgnored warnings about what else of the body has no effect; `sent` is the body before the schema. They are part
 * of `warnings`, and refused in the same way.
 * @throws AppError as `readJson`, `parse` and `refuseIfStrict` do.
 */
export async function parseLenientBody<S extends z.ZodObject>(
  c: Context,
  schema: S,
  alsoIgnored?: (body: z.output<S>, sent: Record<string, unknown>) => string[],
): Promise<{ body: z.output<S>; warnings: string[] }> {
  const value = await readJson(c.req.raw)
  const body = parse(schema, value)
  const sent = Object(value) as Record<string, unknown>
  const warnings = [...droppedKeys('', sent, Object.keys(schema.shape)), ...(alsoIgnored?.(body, sent) ?? [])]
  refuseIfStrict(c, warnings)
  return { body, warnings }
}

/** Whether the caller wants errors instead of warnings (RFC 7240, section 4.4). */
const isStrict = (c: Context) => /(^|[,;\s])handling=strict($|[,;\s])/.test(c.req.header('prefer') ?? '')

/** A warning as it is said before anything is done. */
const asRefusal = (warning: string) =>
  warning
    .replace(/ and was (ignored|not stored)\.$/, '.')
    .replace(/ (is stored (but|and) has no effect|was ignored)(?=[.:])/, ' has no effect')

/**
 * Refuses a request in which something is ignored, where the caller wants that (`Prefer: handling=strict`). To be called
 * before the first effect, and only with warnings about what is ignored: what came of a request is nothing to refuse.
 * @throws AppError `invalid_request` that names all of it.
 */
export function refuseIfStrict(c: Context, warnings: readonly string[]): void {
  if (warnings.length > 0 && isStrict(c)) throw new AppError('invalid_request', warnings.map(asRefusal).join(' '))
}

/** `{ warnings }` when there are any, to spread into an answer. */
export function warningsField(warnings: readonly string[]): { warnings?: readonly string[] } {
  return warnings.length > 0 ? { warnings } : {}
}

/**
 * A path parameter that must be a UUID. One that is not names nothing, so the answer is that of an unknown id.
 * @throws AppError of `missing(kind)`.
 */
export function uuidParam(c: Context, name: string, kind: Parameters<typeof missing>[0]): string {
  const value = c.req.param(name)
  if (!isUuid(value)) throw missing(kind)
  return value.toLowerCase()
}

/**
 * Query parameters as the schema has them; repeated ones count once.
 * @throws AppError `invalid_request`.
 */
export function parseQuery<S extends z.ZodType>(c: Context, schema: S): z.output<S> {
  return parse(schema, c.req.query())
}

/** `limit` and `offset` of the agent API: bad numbers fall back silently, as its clients expect. */
export function pageOf(c: Context, defaultLimit: number, maxLimit: number): { limit: number; offset: number } {
  const limit = Number(c.req.query('limit') ?? defaultLimit)
  const offset = Number(c.req.query('offset') ?? 0)
  return {
    limit: Number.isInteger(limit) && limit >= 1 ? Math.min(limit, maxLimit) : defaultLimit,
    offset: Number.isInteger(offset) && offset >= 0 ? Math.min(offset, 1_000_000) : 0,
  }
}

/** Free-form JSON object of a request, e.g. `metadata`. */
export const jsonObject = z.record(z.string(), z.unknown())

/** A UUID in any case, given back in lower case. */
export const uuid = z
  .string()
  .refine(isUuid, 'Invalid UUID')
  .transform((value) => value.toLowerCase())

/** The characters of a search term that PostgREST or LIKE would read as syntax, escaped for `ilike`. */
export function likePattern(text: string): string {
  return `%${text.replace(/[\\%_]/g, (char) => `\\${char}`)}%`
}
