import { isObject, type Body, type Broadcast, type ClientMessage } from './messages.ts'

const USER_BROADCAST_PUSH = 3
const USER_BROADCAST = 4
const ENCODING_BYTES = 0
const ENCODING_JSON = 1
/** Lengths are one byte each, so no header field is longer than this. */
const MAX_FIELD_BYTES = 255

const utf8 = new TextDecoder('utf-8', { fatal: true })

const decodeBody = (encoding: number, bytes: Uint8Array): Body | null => {
  if (encoding === ENCODING_BYTES) return { kind: 'binary', bytes }
  if (encoding !== ENCODING_JSON) return null
  const text = utf8.decode(bytes)
  JSON.parse(text) // subscribers parse it; one bad body must not reach them
  return { kind: 'json', text }
}

/**
 * Reads a frame of kind 3: `03, len(join_ref), len(ref), len(topic), len(event), len(meta), encoding`, then the fields
 * and the body. Returns null for any other kind and for anything malformed.
 */
export const decodePush = (frame: Uint8Array): ClientMessage | null => {
  if (frame.length < 7 || frame[0] !== USER_BROADCAST_PUSH) return null
  const lengths = frame.subarray(1, 6)
  const headerBytes = lengths.reduce((sum, length) => sum + length, 7)
  if (frame.length < headerBytes) return null
  try {
    let offset = 7
    const [joinRef = '', ref = '', topic = '', event = '', metaText = ''] = Array.from(lengths, (length) =>
      utf8.decode(frame.subarray(offset, (offset += length))),
    )
    const meta: unknown = metaText === '' ? {} : JSON.parse(metaText)
    const body = decodeBody(frame[6] ?? -1, frame.subarray(headerBytes))
    if (body === null || !isObject(meta)) return null
    return {
      joinRef: joinRef === '' ? null : joinRef,
      ref: ref === '' ? null : ref,
      topic,
      event: 'broadcast',
      payload: null,
      push: { event, body, persist: Boolean(meta['persist']), framing: 'binary' },
    }
  } catch {
    return null
  }
}

/**
 * Writes a frame of kind 4: `04, len(topic), len(event), len(meta), encoding`, then the fields and the body.
 * Returns null when a field does not fit into its length byte.
 */
export const encodeBroadcastFrame = (topic: string, broadcast: Broadcast): Buffer | null => {
  const fields = [
    Buffer.from(topic),
    Buffer.from(broadcast.event),
    Buffer.from(broadcast.meta ? JSON.stringify(broadcast.meta) : ''),
  ]
  if (fields.some((field) => field.length > MAX_FIELD_BYTES)) return null
  const { body } = broadcast
  const json = body.kind === 'json'
  const header = [USER_BROADCAST, ...fields.map((field) => field.length), json ? ENCODING_JSON : ENCODING_BYTES]
  return Buffer.concat([Buffer.from(header), ...fields, json ? Buffer.from(body.text) : body.bytes])
}
