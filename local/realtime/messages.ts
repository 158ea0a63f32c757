/** Refs are opaque to the server and echoed as they came. */
export type Ref = string | number | null

/** Serializer a socket asked for: 1 is the JSON object form, 2 the JSON array and binary form. */
export type Vsn = 1 | 2

/** A payload as it travels: JSON stays text, so numbers and key order survive; raw bytes cannot reach a vsn 1 socket. */
export type Body = { kind: 'json'; text: string } | { kind: 'binary'; bytes: Uint8Array }

/** A broadcast a client pushes. */
export type Push = { event: string; body: Body; persist: boolean; framing: Framing }

/** Which form a vsn 2 subscriber gets: upstream decides it by where the message came from. */
export type Framing = 'binary' | 'text'

/** A broadcast on its way to the subscribers of a room. */
export type Broadcast = {
  event: string
  body: Body
  framing: Framing
  /** `id` is the row's id (messages from the database only); `replayed` marks a replayed one. */
  meta?: { id: string; replayed?: true }
}

export type ClientMessage = { joinRef: Ref; ref: Ref; topic: string; event: string; payload: unknown; push?: Push }

export type ServerMessage = { joinRef: Ref; ref: Ref; topic: string; event: string; payload: unknown }

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Bytes of a payload as the limits count them. */
export const bodyBytes = (body: Body): number =>
  body.kind === 'json' ? Buffer.byteLength(body.text) : body.bytes.byteLength
