import { decodePush, encodeBroadcastFrame } from './binary-frames.ts'
import {
  isObject,
  type Broadcast,
  type ClientMessage,
  type Push,
  type Ref,
  type ServerMessage,
  type Vsn,
} from './messages.ts'

/** The serializer a `vsn` query parameter asks for; absent means 1.0.0. Returns null when there is none. */
export const parseVsn = (vsn: string | null): Vsn | null => {
  if (vsn === null || /^1\.0\.\d+$/.test(vsn)) return 1
  return /^2\.0\.\d+$/.test(vsn) ? 2 : null
}

const isRef = (value: unknown): value is Ref | undefined =>
  value === undefined || value === null || typeof value === 'string' || typeof value === 'number'

/** A `broadcast` pushed as text: `{type, event, payload}`. */
const textPush = (payload: unknown): Push | undefined => {
  if (!isObject(payload) || typeof payload['event'] !== 'string') return undefined
  return {
    event: payload['event'],
    body: { kind: 'json', text: JSON.stringify(payload['payload'] ?? {}) },
    persist: Boolean(payload['persist']),
    framing: 'text',
  }
}

const decodeText = (vsn: Vsn, text: string): ClientMessage | null => {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return null
  }
  let fields: unknown[]
  if (vsn === 2) {
    if (!Array.isArray(json) || json.length !== 5) return null
    fields = json
  } else {
    if (!isObject(json)) return null
    fields = [json['join_ref'], json['ref'], json['topic'], json['event'], json['payload']]
  }
  const [joinRef, ref, topic, event, payload] = fields
  if (!isRef(joinRef) || !isRef(ref) || typeof topic !== 'string' || typeof event !== 'string') return null
  const push = event === 'broadcast' ? textPush(payload) : undefined
  return { joinRef: joinRef ?? null, ref: ref ?? null, topic, event, payload, ...(push ? { push } : {}) }
}

/** Reads one client frame. Returns null when it is malformed; the socket then stays open and ignores it. */
export const decode = (vsn: Vsn, data: Buffer, isBinary: boolean): ClientMessage | null => {
  if (isBinary) return vsn === 2 ? decodePush(data) : null
  try {
    return decodeText(vsn, data.toString('utf8'))
  } catch {
    // Parsed, but nested too deeply to be written again.
    return null
  }
}

const textFrame = (vsn: Vsn, message: Omit<ServerMessage, 'payload'>, payloadJson: string): string => {
  const [joinRef, ref, topic, event] = [message.joinRef, message.ref, message.topic, message.event].map((field) =>
    JSON.stringify(field),
  )
  return vsn === 2
    ? `[${joinRef},${ref},${topic},${event},${payloadJson}]`
    : `{"topic":${topic},"event":${event},"payload":${payloadJson},"ref":${ref}}`
}

/** Writes any message but a broadcast; vsn 1 output carries no join_ref. */
export const encode = (vsn: Vsn, message: ServerMessage): string =>
  textFrame(vsn, message, JSON.stringify(message.payload))

/**
 * Writes a broadcast for one serializer. `topic` includes the `realtime:` prefix; `joinRef` is set on replay only.
 * Returns null when the message cannot be carried: raw bytes towards vsn 1, or raw bytes with an over-long field.
 */
export const encodeBroadcast = (
  vsn: Vsn,
  topic: string,
  broadcast: Broadcast,
  joinRef: Ref = null,
): string | Buffer | null => {
  const { body, event, meta } = broadcast
  if (vsn === 2 && (broadcast.framing === 'binary' || body.kind === 'binary')) {
    const frame = encodeBroadcastFrame(topic, broadcast)
    if (frame) return frame
  }
  if (body.kind === 'binary') return null
  const metaJson = meta ? `,"meta":${JSON.stringify(meta)}` : ''
  const payload = `{"type":"broadcast","event":${JSON.stringify(event)},"payload":${body.text}${metaJson}}`
  return textFrame(vsn, { joinRef, ref: null, topic, event: 'broadcast' }, payload)
}
