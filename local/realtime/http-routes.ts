import { Hono, type Context } from 'hono'
import { cors } from 'hono/cors'
import { ProbeUnavailable, type Caller } from './authorization.ts'
import type { Hub } from './hub.ts'
import { bodyBytes, isObject, type Body } from './messages.ts'
import { checkKey } from './token-check.ts'

/** The API gateway's prefix, the one clients derive from `/socket/websocket`, and the server's own. */
const PREFIXES = ['/realtime/v1', '/socket', '']

const NOT_HERE = { error: 'not available on the local gateway' }

/** The `x-*` headers of a request, lower case, as policies read them from `request.headers`. */
export const callerHeaders = (entries: Iterable<[string, string | string[] | undefined]>): Record<string, string> =>
  Object.fromEntries(
    [...entries].flatMap(([name, value]) =>
      value !== undefined && /^x-/i.test(name) ? [[name.toLowerCase(), String(value)]] : [],
    ),
  )

type BatchMessage = { topic: string; event: string; payload: Record<string, unknown>; private: boolean }
type FieldErrors = Record<string, string[]>

const readBatchMessage = (value: unknown, maxPayloadBytes: number): BatchMessage | FieldErrors => {
  const item = isObject(value) ? value : {}
  const { topic, event, payload, private: isPrivate = false } = item
  const errors: FieldErrors = {}
  if (typeof topic !== 'string' || topic === '') errors['topic'] = [topic ? 'is invalid' : "can't be blank"]
  if (typeof event !== 'string' || event === '') errors['event'] = [event ? 'is invalid' : "can't be blank"]
  if (!isObject(payload)) errors['payload'] = [payload == null ? "can't be blank" : 'is invalid']
  else if (Buffer.byteLength(JSON.stringify(payload)) > maxPayloadBytes) {
    errors['payload'] = ['Payload size exceeds tenant limit']
  }
  if (typeof isPrivate !== 'boolean') errors['private'] = ['is invalid']
  return Object.keys(errors).length > 0 ? errors : ({ topic, event, payload, private: isPrivate } as BatchMessage)
}

const isBatchMessage = (value: BatchMessage | FieldErrors): value is BatchMessage =>
  typeof (value as BatchMessage).topic === 'string'

/**
 * Who sends: the bearer token if there is one, else the `apikey` header. Null when neither is valid; a bearer token
 * that is present but invalid is not replaced by the key.
 */
const identify = async (hub: Hub, request: Request): Promise<Caller | null> => {
  const bearer = /^Bearer\s+(\S.*)$/i.exec(request.headers.get('authorization') ?? '')?.[1]
  const presented = bearer ?? request.headers.get('apikey')
  if (!presented) return null
  try {
    const claims = await checkKey(hub.tokens, hub.resolveApiKey, presented)
    return { claims, headers: callerHeaders(request.headers.entries()) }
  } catch {
    return null
  }
}

const mayWrite = async (hub: Hub, caller: Caller, topic: string): Promise<boolean> => {
  try {
    return await hub.authorizer.mayWrite(caller, topic, 'broadcast')
  } catch (error) {
    if (error instanceof ProbeUnavailable) return false
    throw error
  }
}

const parseJson = (text: string): { value: unknown } | null => {
  try {
    return { value: JSON.parse(text) as unknown }
  } catch {
    return null
  }
}

const batch = (hub: Hub) => async (c: Context) => {
  const caller = await identify(hub, c.req.raw)
  if (!caller) return c.json({ message: 'Unauthorized' }, 401)
  if (hub.events.exceeded) return c.json({ message: 'You have exceeded your rate limit' }, 429)
  const parsed = parseJson(await c.req.text())
  const list = parsed && isObject(parsed.value) ? parsed.value['messages'] : undefined
  if (!Array.isArray(list) || list.length === 0) {
    return c.json({ errors: { messages: [list === undefined ? "can't be blank" : 'is invalid'] } }, 422)
  }
  if (list.some((item) => isObject(item) && item['persist'])) {
    return c.json({ message: 'The batch endpoint cannot store messages' }, 422)
  }
  const messages = list.map((item) => readBatchMessage(item, hub.limits.maxPayloadBytes))
  if (!messages.every(isBatchMessage)) {
    return c.json({ errors: { messages: messages.map((item) => (isBatchMessage(item) ? {} : item)) } }, 422)
  }
  const verdicts = new Map<string, boolean>()
  for (const message of messages) {
    const { topic, event, private: isPrivate } = message
    if (isPrivate && !verdicts.has(topic)) verdicts.set(topic, await mayWrite(hub, caller, topic))
    if (isPrivate && !verdicts.get(topic)) continue // as upstream: skipped without a word
    const body: Body = { kind: 'json', text: JSON.stringify(message.payload) }
    await hub.rooms.publish(topic, isPrivate, { event, body, framing: 'text' })
  }
  return c.body(null, 202)
}

const readBody = async (request: Request): Promise<Body | 'unsupported' | 'malformed'> => {
  const type = (request.headers.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase()
  if (type === 'application/octet-stream') {
    return { kind: 'binary', bytes: new Uint8Array(await request.arrayBuffer()) }
  }
  if (type !== 'application/json') return 'unsupported'
  const text = await request.text()
  const parsed = parseJson(text)
  if (!parsed) return 'malformed'
  // Upstream's body parser wraps whatever is not an object; clients should send objects.
  return { kind: 'json', text: isObject(parsed.value) ? text : JSON.stringify({ _json: parsed.value }) }
}

const single = (hub: Hub) => async (c: Context) => {
  const caller = await identify(hub, c.req.raw)
  if (!caller) return c.json({ message: 'Unauthorized' }, 401)
  if (hub.events.exceeded) return c.json({ message: 'You have exceeded your rate limit' }, 429)
  const query = new URL(c.req.url).searchParams
  if ([...query.keys()].some((key) => key.startsWith('persist'))) {
    return c.json({ message: 'The local gateway does not store broadcasts' }, 422)
  }
  const topic = c.req.param('topic') ?? ''
  const isPrivate = query.get('private') === 'true'
  const body = await readBody(c.req.raw)
  if (body === 'unsupported') return c.json({ message: 'Unsupported media type' }, 415)
  if (body === 'malformed') return c.json({ message: 'The body is not valid JSON' }, 422)
  if (bodyBytes(body) > hub.limits.maxPayloadBytes) return c.json({ message: 'Payload size exceeds tenant limit' }, 422)
  if (isPrivate && !(await mayWrite(hub, caller, topic))) return c.json({ message: 'Unauthorized' }, 403)
  await hub.rooms.publish(topic, isPrivate, { event: c.req.param('event') ?? '', body, framing: 'binary' })
  return c.body(null, 202)
}

/** The HTTP side of Realtime: both broadcast endpoints and the health checks; everything else is 404. */
export const createRoutes = (hub: Hub): Hono => {
  const app = new Hono()
  app.use(cors({ origin: '*', exposeHeaders: ['x-rate-rolling', 'x-rate-limit', 'x-rate-limit-remaining'] }))
  app.use(async (c, next) => {
    await next()
    const { limit, rolling } = hub.events
    c.header('x-rate-rolling', String(Math.round(rolling * 100) / 100))
    if (limit === null) return
    c.header('x-rate-limit', String(limit))
    c.header('x-rate-limit-remaining', String(Math.max(0, Math.floor(limit - rolling))))
  })
  for (const prefix of PREFIXES) {
    app.post(`${prefix}/api/broadcast`, batch(hub))
    app.post(`${prefix}/api/broadcast/:topic/events/:event`, single(hub))
    app.get(`${prefix}/api/ping`, (c) => c.json({ message: 'Success' }))
    app.get(`${prefix}/healthcheck`, (c) => c.text('ok'))
  }
  app.notFound((c) => c.json(NOT_HERE, 404))
  app.onError((error, c) => {
    hub.log.warn('request_failed', { path: c.req.path, error: String(error) })
    return c.json({ message: 'Internal server error' }, 500)
  })
  return app
}
