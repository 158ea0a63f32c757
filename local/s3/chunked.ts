import { createHash } from 'node:crypto'
import { S3Error } from './errors.ts'
import { EMPTY_SHA256, equals, hmac, sha256, type VerifiedSignature } from './signature.ts'

/** The signed-chunk algorithms, by what their `x-amz-content-sha256` begins with. */
export type ChunkedMode = { signed: boolean; trailer: boolean }

const MODES: Record<string, ChunkedMode> = {
  'STREAMING-AWS4-HMAC-SHA256-PAYLOAD': { signed: true, trailer: false },
  'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER': { signed: true, trailer: true },
  'STREAMING-UNSIGNED-PAYLOAD-TRAILER': { signed: false, trailer: true },
}
const MAX_LINE_BYTES = 16 * 1024
const CRLF = Buffer.from('\r\n')

/** The chunked mode a content hash stands for; undefined for a body sent as it is. */
export function chunkedMode(contentSha256: string): ChunkedMode | undefined {
  return Object.hasOwn(MODES, contentSha256) ? MODES[contentSha256] : undefined
}

/**
 * Decodes an `aws-chunked` body, verifying each chunk's signature when chunks are signed. Bytes are passed on before
 * their chunk is verified: the reader must drop them when this throws. Trailers are added to the map given.
 * @throws S3Error `SignatureDoesNotMatch`, `IncompleteBody`, `InvalidRequest`
 */
export async function* decodeChunked(
  body: AsyncIterable<Uint8Array>,
  mode: ChunkedMode,
  chain: VerifiedSignature['chain'],
  trailers: Map<string, string>,
): AsyncGenerator<Uint8Array> {
  const source = new LineSource(body)
  let previous = chain.signature
  const requireSignature = (kind: 'PAYLOAD' | 'TRAILER', claimed: string, digests: string) => {
    const text = `AWS4-HMAC-SHA256-${kind}\n${chain.timestamp}\n${chain.scope}\n${previous}\n${digests}`
    if (!equals(hmac(chain.signingKey, text), claimed)) throw new S3Error('SignatureDoesNotMatch')
    previous = claimed
  }

  for (;;) {
    const [, size, signature] = /^([0-9a-f]{1,8})(?:;chunk-signature=([0-9a-f]{64}))?$/i.exec(await source.line()) ?? []
    if (size === undefined || mode.signed !== (signature !== undefined)) throw new S3Error('InvalidRequest')
    const sizeBytes = parseInt(size, 16)
    const hash = createHash('sha256')
    for await (const piece of source.bytes(sizeBytes)) {
      if (mode.signed) hash.update(piece)
      yield piece
    }
    if (signature) requireSignature('PAYLOAD', signature, `${EMPTY_SHA256}\n${hash.digest('hex')}`)
    if (sizeBytes === 0) break
    if ((await source.line()) !== '') throw new S3Error('InvalidRequest')
  }

  let canonical = ''
  let trailerSignature: string | undefined
  for (let line = await source.line(); line !== ''; line = await source.line(true)) {
    const [, name, value] = /^([\w-]+):\s*(.*)$/.exec(line) ?? []
    if (!name || value === undefined) throw new S3Error('InvalidRequest')
    if (name.toLowerCase() === 'x-amz-trailer-signature') trailerSignature = value.trim()
    else {
      trailers.set(name.toLowerCase(), value.trim())
      canonical += `${name.toLowerCase()}:${value.trim()}\n`
    }
  }
  if (mode.signed && mode.trailer) requireSignature('TRAILER', trailerSignature ?? '', sha256(canonical))
  if (!mode.trailer && trailers.size > 0) throw new S3Error('InvalidRequest')
  await source.requireEnd()
}

class LineSource {
  readonly #chunks: AsyncIterator<Uint8Array>
  #buffer: Buffer = Buffer.alloc(0)

  constructor(body: AsyncIterable<Uint8Array>) {
    this.#chunks = body[Symbol.asyncIterator]()
  }

  async #fill(): Promise<boolean> {
    const { value, done } = await this.#chunks.next()
    if (done) return false
    const chunk = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk])
    return true
  }

  /** The next line without its end; with `orEnd`, the end of the body counts as an empty line. */
  async line(orEnd = false): Promise<string> {
    let end: number
    while ((end = this.#buffer.indexOf(CRLF)) < 0) {
      if (this.#buffer.length > MAX_LINE_BYTES) throw new S3Error('InvalidRequest')
      if (!(await this.#fill())) {
        if (orEnd && this.#buffer.length === 0) return ''
        throw new S3Error('IncompleteBody')
      }
    }
    const line = this.#buffer.subarray(0, end).toString('latin1')
    this.#buffer = this.#buffer.subarray(end + CRLF.length)
    return line
  }

  async *bytes(count: number): AsyncGenerator<Uint8Array> {
    for (let left = count; left > 0; ) {
      if (this.#buffer.length === 0 && !(await this.#fill())) throw new S3Error('IncompleteBody')
      const piece = this.#buffer.subarray(0, left)
      this.#buffer = this.#buffer.subarray(piece.length)
      left -= piece.length
      if (piece.length > 0) yield piece
    }
  }

  async requireEnd(): Promise<void> {
    while (this.#buffer.length === 0) if (!(await this.#fill())) return
    throw new S3Error('InvalidRequest')
  }
}
