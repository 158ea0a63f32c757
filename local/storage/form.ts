import { StorageError } from './errors.ts'

/** One part of a multipart body. Its bytes must be read to the end before the next part is asked for. */
export type FormPart = {
  name: string
  filename: string | undefined
  contentType: string | undefined
  bytes: AsyncIterable<Uint8Array>
}

const MAX_PARTS = 20
const MAX_HEADER_BYTES = 16 * 1024
const CRLF = Buffer.from('\r\n')
const HEADER_END = Buffer.from('\r\n\r\n')

/** The boundary of a `multipart/form-data` content type; undefined for any other. */
export function formBoundary(contentType: string): string | undefined {
  if (!/^multipart\/form-data\s*;/i.test(contentType)) return undefined
  const [, quoted, plain] = /;\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i.exec(contentType) ?? []
  return quoted ?? plain
}

/**
 * Reads a multipart body part by part as it arrives, never holding more than one chunk and a boundary.
 * @throws StorageError `InvalidRequest` for a body that is malformed or ends too early
 */
export async function* readForm(body: AsyncIterable<Uint8Array>, boundary: string): AsyncGenerator<FormPart> {
  const source = new Source(body)
  const delimiter = Buffer.from(`\r\n--${boundary}`)
  // The first boundary has no line break before it; lending it one makes it like all others.
  source.prepend(CRLF)
  for await (const preamble of source.until(delimiter)) {
    if (preamble.length > 0) throw malformed()
  }
  for (let count = 0; ; count++) {
    const next = await source.take(2)
    if (next.toString('latin1') === '--') return
    if (!next.equals(CRLF) || count === MAX_PARTS) throw malformed()
    const headers = await source.headers()
    yield { ...headers, bytes: source.until(delimiter) }
  }
}

/** Collects a small part as text. @throws StorageError `InvalidRequest` above the limit */
export async function readText(bytes: AsyncIterable<Uint8Array>, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of bytes) {
    size += chunk.byteLength
    if (size > maxBytes) throw new StorageError('InvalidRequest', 'A form field is too long')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** A body with a small look-ahead buffer. */
class Source {
  readonly #chunks: AsyncIterator<Uint8Array>
  #buffer: Buffer = Buffer.alloc(0)

  constructor(body: AsyncIterable<Uint8Array>) {
    this.#chunks = body[Symbol.asyncIterator]()
  }

  prepend(bytes: Buffer): void {
    this.#buffer = Buffer.concat([bytes, this.#buffer])
  }

  async #fill(): Promise<void> {
    const { value, done } = await this.#chunks.next()
    if (done) throw malformed()
    const chunk = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk])
  }

  /** Yields everything before the delimiter and consumes the delimiter. */
  async *until(delimiter: Buffer): AsyncGenerator<Uint8Array> {
    for (;;) {
      const index = this.#buffer.indexOf(delimiter)
      if (index >= 0) {
        const found = this.#buffer.subarray(0, index)
        this.#buffer = this.#buffer.subarray(index + delimiter.length)
        if (found.length > 0) yield found
        return
      }
      // What could be the beginning of the delimiter stays.
      const safe = this.#buffer.length - delimiter.length + 1
      if (safe > 0) {
        const found = this.#buffer.subarray(0, safe)
        this.#buffer = this.#buffer.subarray(safe)
        yield found
      }
      await this.#fill()
    }
  }

  async take(count: number): Promise<Buffer> {
    while (this.#buffer.length < count) await this.#fill()
    const taken = this.#buffer.subarray(0, count)
    this.#buffer = this.#buffer.subarray(count)
    return taken
  }

  async headers(): Promise<Omit<FormPart, 'bytes'>> {
    let end: number
    while ((end = this.#buffer.indexOf(HEADER_END)) < 0) {
      if (this.#buffer.length > MAX_HEADER_BYTES) throw malformed()
      await this.#fill()
    }
    const lines = this.#buffer.subarray(0, end).toString('utf8').split('\r\n')
    this.#buffer = this.#buffer.subarray(end + HEADER_END.length)
    const value = (name: string) =>
      lines
        .find((line) => line.toLowerCase().startsWith(`${name}:`))
        ?.slice(name.length + 1)
        .trim()
    const disposition = value('content-disposition') ?? ''
    const parameter = (name: string) => new RegExp(`;\\s*${name}="([^"]*)"`, 'i').exec(disposition)?.[1]
    return { name: parameter('name') ?? '', filename: parameter('filename'), contentType: value('content-type') }
  }
}

function malformed(): StorageError {
  return new StorageError('InvalidRequest', 'The multipart body is malformed')
}
