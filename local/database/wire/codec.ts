// Messages of the PostgreSQL frontend/backend protocol 3.0: https://www.postgresql.org/docs/17/protocol-message-formats.html

export type Message = {
  /** The type letter. */
  type: string
  /** The whole message, with type and length. */
  bytes: Buffer
}

const HEADER_BYTES = 5
/** Longer messages are refused: nothing a client of a local stack sends comes near. */
const MAX_MESSAGE_BYTES = 512 * 2 ** 20

export class ProtocolError extends Error {
  override name = 'ProtocolError'
}

export const message = (type: string, body: Buffer = Buffer.alloc(0)): Buffer => {
  const bytes = Buffer.alloc(HEADER_BYTES + body.length)
  bytes.write(type, 0, 'latin1')
  bytes.writeInt32BE(4 + body.length, 1)
  body.copy(bytes, HEADER_BYTES)
  return bytes
}

/** Text with its closing zero byte. */
export const cstring = (text: string): Buffer => Buffer.concat([Buffer.from(text), Buffer.from([0])])

/** Text that starts at `offset`, and the offset behind its zero byte. */
export const readCstring = (bytes: Buffer, offset: number): [text: string, behind: number] => {
  const end = bytes.indexOf(0, offset)
  if (end < 0) throw new ProtocolError('A text in a message does not end.')
  return [bytes.toString('utf8', offset, end), end + 1]
}

export const bodyOf = ({ bytes }: Message): Buffer => bytes.subarray(HEADER_BYTES)

/** The first complete message of `buffer` and what follows it; null while it is incomplete. */
export const takeMessage = (buffer: Buffer): { message: Message; rest: Buffer } | null => {
  if (buffer.length < HEADER_BYTES) return null
  const length = buffer.readInt32BE(1)
  if (length < 4 || length > MAX_MESSAGE_BYTES) throw new ProtocolError('A message has an impossible length.')
  if (buffer.length < 1 + length) return null
  const bytes = buffer.subarray(0, 1 + length)
  return { message: { type: String.fromCharCode(bytes[0] ?? 0), bytes }, rest: buffer.subarray(1 + length) }
}

/** All messages of a complete answer. */
export const splitMessages = (bytes: Buffer): Message[] => {
  const messages: Message[] = []
  for (let rest = bytes; ; ) {
    const taken = takeMessage(rest)
    if (!taken) return messages
    messages.push(taken.message)
    rest = taken.rest
  }
}

export type Startup =
  | { kind: 'startup'; parameters: Record<string, string> }
  | { kind: 'encryption' }
  | { kind: 'cancel' }

const SSL_REQUEST = 80877103
const GSS_REQUEST = 80877104
const CANCEL_REQUEST = 80877102
const PROTOCOL_3 = 3
const MAX_STARTUP_BYTES = 10_000

/** The packet a connection begins with (it has no type letter); null while it is incomplete. */
export const takeStartup = (buffer: Buffer): { startup: Startup; rest: Buffer } | null => {
  if (buffer.length < 8) return null
  const length = buffer.readInt32BE(0)
  if (length < 8 || length > MAX_STARTUP_BYTES) throw new ProtocolError('The start packet has an impossible length.')
  if (buffer.length < length) return null
  const code = buffer.readInt32BE(4)
  const rest = buffer.subarray(length)
  if (code === SSL_REQUEST || code === GSS_REQUEST) return { startup: { kind: 'encryption' }, rest }
  if (code === CANCEL_REQUEST) return { startup: { kind: 'cancel' }, rest }
  if (code >> 16 !== PROTOCOL_3) throw new ProtocolError(`Protocol version ${code >> 16} is not supported.`)
  const fields = buffer.toString('utf8', 8, length).split('\0')
  const parameters: Record<string, string> = {}
  for (let index = 0; index + 1 < fields.length && fields[index]; index += 2) {
    parameters[fields[index] ?? ''] = fields[index + 1] ?? ''
  }
  return { startup: { kind: 'startup', parameters }, rest }
}

export type TransactionStatus = 'I' | 'T' | 'E'

export const authenticationOk = (): Buffer => message('R', Buffer.from([0, 0, 0, 0]))
export const parameterStatus = (name: string, value: string): Buffer =>
  message('S', Buffer.concat([cstring(name), cstring(value)]))
export const readyForQuery = (status: TransactionStatus): Buffer => message('Z', Buffer.from(status))
export const sync = (): Buffer => message('S')
export const commandComplete = (tag: string): Buffer => message('C', cstring(tag))
/** Asks the client to send the data of a COPY, in text format; the number of columns does not matter to clients. */
export const copyInResponse = (): Buffer => message('G', Buffer.from([0, 0, 0]))

export const backendKeyData = (processId: number, secret: number): Buffer => {
  const body = Buffer.alloc(8)
  body.writeInt32BE(processId, 0)
  body.writeInt32BE(secret, 4)
  return message('K', body)
}

export const notificationResponse = (channel: string, payload: string): Buffer =>
  message('A', Buffer.concat([Buffer.alloc(4), cstring(channel), cstring(payload)]))

export const errorResponse = (
  code: string,
  text: string,
  { severity = 'ERROR', hint }: { severity?: 'ERROR' | 'FATAL'; hint?: string } = {},
): Buffer => {
  const fields = [`S${severity}`, `V${severity}`, `C${code}`, `M${text}`, ...(hint ? [`H${hint}`] : [])]
  return message('E', Buffer.concat([...fields.map(cstring), Buffer.from([0])]))
}
