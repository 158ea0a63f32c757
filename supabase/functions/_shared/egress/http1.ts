import { EgressError } from './errors.ts'

/** Gives the next bytes of a connection, or null at its end. */
export type Read = () => Promise<Uint8Array | null>

/** The head of an answer, and its body as it was framed: still compressed. */
export type RawResponse = {
  status: number
  headers: Headers
  body: AsyncGenerator<Uint8Array>
}

/** Headers of an answer may have this many bytes together, and be this many. */
export const MAX_HEAD_BYTES = 32 * 1024
const MAX_HEADERS = 200
const MAX_INTERIM_RESPONSES = 4
const MAX_CHUNK_LINE_BYTES = 256
/** Chunks of whatever size that are taken; more only if they bring, on average, what is worth the work of reading one. */
const FREE_CHUNKS = 10_000
const MIN_CHUNK_BYTES = 16

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

const malformed = () => new EgressError('bad_response', 'The server did not answer in valid HTTP.')
const headTooLarge = () => new EgressError('too_large', 'The headers of the answer are too large.')

/** Whether a text can be a header's name. */
export const isHeaderName = (name: string): boolean => TOKEN.test(name)
/** Whether a text can be a header's value: no line breaks, no other control characters, nothing outside Latin-1. */
export const isHeaderValue = (value: string): boolean => FIELD_VALUE.test(value)

const latin1 = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0))
// Not TextDecoder: its "latin1" is windows-1252.
const fromLatin1 = (bytes: Uint8Array): string => {
  let text = ''
  for (const byte of bytes) text += String.fromCharCode(byte)
  return text
}

/**
 * The head of a request, ready to be sent. All parts must have been checked.
 * @throws EgressError `bad_request` if something in it could end a line after all.
 */
export function encodeHead(method: string, path: string, headers: readonly (readonly [string, string])[]): Uint8Array {
  const fine = TOKEN.test(method) && /^[\x21-\x7e]+$/.test(path)
  if (!fine || !headers.every(([name, value]) => isHeaderName(name) && isHeaderValue(value))) {
    throw new EgressError('bad_request', 'A header holds characters that cannot be sent.')
  }
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`)
  return latin1(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`)
}

/** Bytes that arrive in pieces, taken by line or by count. */
class Input {
  private buffer: Uint8Array = new Uint8Array()
  private readonly read: Read

  constructor(read: Read) {
    this.read = read
  }

  /** Whatever there is, or null at the end. */
  some(): Promise<Uint8Array | null> {
    if (this.buffer.byteLength === 0) return this.read()
    const taken = this.buffer
    this.buffer = new Uint8Array()
    return Promise.resolve(taken)
  }

  /** Puts back what belongs to what comes next. */
  unread(bytes: Uint8Array): void {
    this.buffer = bytes
  }

  /** A line without its CRLF. @throws EgressError `bad_response`; what `tooLong` makes if it is longer than `max` bytes. */
  async line(max: number, tooLong: () => EgressError): Promise<string> {
    let text = ''
    for (;;) {
      const bytes = await this.some()
      if (bytes === null) throw malformed()
      const end = bytes.indexOf(10)
      text += fromLatin1(end === -1 ? bytes.subarray(0, max + 3) : bytes.subarray(0, end + 1))
      if (text.length > max + 2) throw tooLong()
      if (end === -1) continue
      this.unread(bytes.subarray(end + 1))
      if (!text.endsWith('\r\n')) throw malformed()
      return text.slice(0, -2)
    }
  }
}

async function readHead(input: Input, budget: { left: number }): Promise<{ status: number; headers: Headers }> {
  const line = async () => {
    const text = await input.line(budget.left, headTooLarge)
    budget.left -= text.length + 2
    return text
  }
  const status = /^HTTP\/1\.[01] ([1-9]\d\d)(?: |$)/.exec(await line())?.[1]
  if (status === undefined) throw malformed()
  const headers = new Headers()
  for (let count = 0; ; count++) {
    const field = await line()
    if (field === '') return { status: Number(status), headers }
    if (count >= MAX_HEADERS) throw headTooLarge()
    const colon = field.indexOf(':')
    const name = field.slice(0, colon)
    const value = field.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '')
    if (colon < 1 || !isHeaderName(name) || !isHeaderValue(value)) throw malformed()
    headers.append(name, value)
  }
}

async function* exactly(input: Input, length: number): AsyncGenerator<Uint8Array> {
  for (let left = length; left > 0; ) {
    const bytes = await input.some()
    if (bytes === null) throw new EgressError('connection_failed', 'The connection ended before the answer did.')
    const taken = bytes.subarray(0, left)
    input.unread(bytes.subarray(taken.byteLength))
    left -= taken.byteLength
    yield taken
  }
}

async function* chunked(input: Input): AsyncGenerator<Uint8Array> {
  let size = 0
  for (let count = 0; ; count++) {
    if (count > FREE_CHUNKS && size < count * MIN_CHUNK_BYTES) {
      throw new EgressError('bad_response', 'The server sends its answer in too many pieces.')
    }
    const digits = /^([0-9a-f]{1,12})[ \t]*(?:;|$)/i.exec(await input.line(MAX_CHUNK_LINE_BYTES, malformed))?.[1]
    if (digits === undefined) throw malformed()
    const length = parseInt(digits, 16)
    // Trailers are not read: the connection is not used again.
    if (length === 0) return
    size += length
    yield* exactly(input, length)
    if ((await input.line(0, malformed)) !== '') throw malformed()
  }
}

async function* untilEnd(input: Input): AsyncGenerator<Uint8Array> {
  for (let bytes = await input.some(); bytes !== null; bytes = await input.some()) yield bytes
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

function framedBody(input: Input, method: string, status: number, headers: Headers): AsyncGenerator<Uint8Array> {
  if (method === 'HEAD' || status === 204 || status === 304) return nothing()
  const coding = headers.get('transfer-encoding')
  if (coding !== null) {
    if (coding.trim().toLowerCase() !== 'chunked') throw malformed()
    return chunked(input)
  }
  const lengths = new Set((headers.get('content-length') ?? '').split(',').map((length) => length.trim()))
  const [length = ''] = lengths
  if (length === '' && lengths.size === 1) return untilEnd(input)
  if (lengths.size > 1 || !/^\d{1,15}$/.test(length)) throw malformed()
  return exactly(input, Number(length))
}

/**
 * Reads an answer of HTTP/1.1 on a connection that is used once. Strict where leniency is how two readers come to
 * disagree: line ends, header names, lengths.
 * @throws EgressError `bad_response`, `too_large` for the head, `connection_failed` if the body ends early.
 */
export async function readResponse(read: Read, method: string): Promise<RawResponse> {
  const input = new Input(read)
  const budget = { left: MAX_HEAD_BYTES }
  for (let interim = 0; interim <= MAX_INTERIM_RESPONSES; interim++) {
    const { status, headers } = await readHead(input, budget)
    if (status === 101) throw malformed()
    if (status >= 200) return { status, headers, body: framedBody(input, method, status, headers) }
  }
  throw malformed()
}
