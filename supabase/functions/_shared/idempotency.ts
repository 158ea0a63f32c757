import type { Context } from 'hono'
import { isMultipart, readBytes, readMultipart } from './body.ts'
import type { Bytes } from './body.ts'
import type { AppEnv } from './context.ts'
import { AppError, describeError } from './errors.ts'
import { isUuid } from './ids.ts'
import { sha256 } from './tool-tokens.ts'

/** Header of a stream that is a run's, which names it before its first event does; and of an error after which a run goes on. */
export const RUN_ID_HEADER = 'x-run-id'

/** An answer as it is kept: JSON, or where the log of the run is that a stream began. */
export type JsonAnswer = { status: number; body?: unknown; location?: string }

/** Printable ASCII without spaces: what a header carries unharmed. */
const KEY_FORM = /^[\x21-\x7e]{1,255}$/
/** Larger answers are not kept, in characters. */
const MAX_ANSWER_CHARS = 1024 * 1024
/** Seconds after which a request that came while its twin was under way may be sent again. */
const RETRY_AFTER_SECONDS = 2
/** Narrows to nothing, as in the database: a claim that names no tenant is not ignored. */
const NO_TENANT = '00000000-0000-0000-0000-000000000000'

/** SHA-256 of a body. Of a form its fields are taken: the text between them is another one each time. */
async function hashOf(request: Request, bytes: Bytes): Promise<string> {
  if (!isMultipart(request)) return sha256(bytes)
  const form = await readMultipart(new Request(request.url, { method: 'POST', headers: request.headers, body: bytes }))
  const fields = await Promise.all(
    [...form].map(async ([name, value]) =>
      typeof value === 'string'
        ? [name, value]
        : [name, value.name, value.type, await sha256(new Uint8Array(await value.arrayBuffer()))],
    ),
  )
  return sha256(JSON.stringify(fields))
}

/** The tenants that header and token name; the caller's membership in each is looked up. */
function narrowingOf({ caller, identity }: AppEnv['Variables']): string[] {
  const named: unknown[] = [caller.tenantId]
  if (identity.kind === 'user') {
    const { tenant_id, app_metadata } = identity.claims
    named.push(tenant_id, Object(app_metadata).tenant_id)
  }
  return named
    .filter((value) => value !== null && value !== undefined)
    .map((value) => (isUuid(value) ? value.toLowerCase() : NO_TENANT))
}

/** What is kept of an answer; null: nothing, so that the request may be sent again. */
async function answerOf(response: Response): Promise<JsonAnswer | null> {
  const runId = response.headers.get(RUN_ID_HEADER)
  if (!response.ok) {
    // What was refused or failed had no effect, or one that only another attempt can complete.
    if (runId === null) return null
    const { session_id } = (await response.clone().json()) as { session_id?: unknown }
    return { status: 202, body: { run_id: runId, session_id, status: 'running' } }
  }
  if (runId !== null) return { status: 303, location: `../../runs/${runId}/stream` }
  if (!(response.headers.get('content-type') ?? '').startsWith('application/json')) {
    return response.status === 204 ? { status: 204 } : null
  }
  const text = await response.clone().text()
  if (text.length <= MAX_ANSWER_CHARS) return { status: response.status, body: JSON.parse(text) }
  const body = { error: 'The answer was too large to be kept for a repetition.', code: 'conflict' }
  return { status: 409, body }
}

function repeated({ status, body, location }: JsonAnswer): Response {
  const headers = new Headers({ 'idempotency-replayed': 'true' })
  if (location !== undefined) headers.set('location', location)
  if (body === undefined) return new Response(null, { status, headers })
  headers.set('content-type', 'application/json')
  return new Response(JSON.stringify(body), { status, headers })
}

/**
 * Carries out a request with an Idempotency-Key once per caller, tenant and route within 24 hours: a repetition gets the
 * first answer, and for a stream the way to the log of the run that it began (303). Only answers of success are kept; after an
 * error that left a run behind, a repetition is told of that run.
 * Needs the caller in the context.
 * @param next carries the request out.
 * @throws AppError `idempotency_conflict` when the key came with another body; `conflict` with `retry_after` while the first
 * request is under way; `invalid_request` for a key that is none; the errors of reading the body.
 */
export async function once(c: Context, key: string, next: () => Promise<void>): Promise<Response | undefined> {
  if (!KEY_FORM.test(key)) {
    throw new AppError('invalid_request', 'The header Idempotency-Key must have 1 to 255 printable characters.')
  }
  const { deps, caller } = c.var as AppEnv['Variables']
  const request = c.req.raw
  const bytes = await readBytes(request)
  // Whoever handles the request reads the body again.
  c.req.raw = new Request(request, { body: bytes.length === 0 ? null : bytes })
  const { pathname, search } = new URL(request.url)
  const state = await deps.ledger.beginRequest({
    callerId: caller.userId,
    narrowing: narrowingOf(c.var as AppEnv['Variables']),
    key,
    route: `${request.method} ${pathname}${search}`,
    bodyHash: await hashOf(request, bytes),
  })
  if (state.state === 'answered') return repeated(state.response)
  if (state.state === 'in_progress') {
    throw new AppError('conflict', 'The first request with this Idempotency-Key is still under way.', {
      hint: `Send it again in ${RETRY_AFTER_SECONDS} seconds.`,
      extra: { retry_after: RETRY_AFTER_SECONDS },
    })
  }
  await next()
  try {
    await deps.ledger.finishRequest(state.id, caller.userId, await answerOf(c.res))
  } catch (error) {
    // The request has been carried out; repetitions are told that it is under way until its row is given up.
    deps.log.error('answer_not_kept', { request_id: c.get('requestId'), error: describeError(error) })
  }
  return undefined
}
