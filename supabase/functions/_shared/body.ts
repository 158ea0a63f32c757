import { AppError } from './errors.ts'
import { joinBytes } from './join-bytes.ts'
import { MultipartError, parseMultipart } from './multipart.ts'

/** Bytes in a buffer of their own: `Uint8Array<ArrayBuffer>`, which TypeScript 5.6 of Deno 2.1 cannot say. */
export type Bytes = ReturnType<Uint8Array['slice']>

/** Largest JSON body, in bytes. */
export const MAX_JSON_BYTES = 1024 * 1024
/** Largest file sent through a function, in bytes; larger ones go straight to storage. */
export const MAX_FILE_BYTES = 20 * 1024 * 1024
/** Room for the other fields and the boundaries of a multipart body, in bytes. */
const MULTIPART_OVERHEAD_BYTES = 256 * 1024

const tooLarge = (limit: number) =>
  new AppError('payload_too_large', `The request body is larger than ${limit} bytes.`, {
    hint: 'Send less, or upload large files through POST /sources/uploads.',
  })

/** Bytes of a refused body that are still taken, so that the answer is not lost with the connection. */
const DISCARD_BYTES = 32 * 1024 * 1024

/** Reads a refused body away: a server that closes while the client still writes breaks the connection, not the news. */
async function discard(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  let size = 0
  try {
    while (size < DISCARD_BYTES) {
      const { done, value } = await reader.read()
      if (done) return
      size += value.byteLength
    }
    await reader.cancel()
  } catch {
    // The client has gone; there is nobody to answer.
  }
}

/**
 * The request's bytes, refused as soon as they exceed the limit: by the declared length, and while reading, because the
 * header may lie or be absent. Never more than the limit is kept.
 * @throws AppError `payload_too_large`.
 */
async function readLimited(request: Request, limit: number): Promise<Bytes> {
  if (!request.body) return new Uint8Array()
  const reader = request.body.getReader()
  const parts: Uint8Array[] = []
  let size = Number(request.headers.get('content-length') ?? '0') > limit ? Infinity : 0
  while (size <= limit) {
    const { done, value } = await reader.read()
    if (done) break
    size += value.byteLength
    parts.push(value)
  }
  if (size > limit) {
    await discard(reader)
    throw tooLarge(limit)
  }
  return joinBytes(parts)
}

const mediaType = (request: Request) =>
  (request.headers.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? ''

/** Whether the request brings a form with files. */
export const isMultipart = (request: Request): boolean => mediaType(request) === 'multipart/form-data'

/**
 * The bytes of a request of any kind.
 * @throws AppError `payload_too_large` over what a body of this kind may have.
 */
export function readBytes(request: Request): Promise<Bytes> {
  return readLimited(request, isMultipart(request) ? MAX_FILE_BYTES + MULTIPART_OVERHEAD_BYTES : MAX_JSON_BYTES)
}

/** Postgres stores neither NUL nor half a surrogate pair; say so before it does. */
const UNSTORABLE = /\0|\p{Surrogate}/u

function refuseUnstorable(this: unknown, key: string, value: unknown): unknown {
  if (UNSTORABLE.test(key) || (typeof value === 'string' && UNSTORABLE.test(value))) {
    throw new AppError('invalid_request', 'A text contains a character that cannot be stored.')
  }
  return value
}

/** Levels of lists and objects that JSON of a client may have; PostgREST takes 1,000, and other readers of it recurse as well. */
const MAX_JSON_DEPTH = 500

/** Whether a text that may be JSON opens more lists and objects within each other than is allowed. */
function isTooDeep(text: string): boolean {
  let depth = 0
  let isInText = false
  for (let at = 0; at < text.length && depth <= MAX_JSON_DEPTH; at++) {
    const char = text[at]
    if (char === '"') isInText = !isInText
    else if (isInText) at += char === '\\' ? 1 : 0
    else if (char === '[' || char === '{') depth++
    else if (char === ']' || char === '}') depth--
  }
  return depth > MAX_JSON_DEPTH
}

/**
 * The value of a JSON text of a client.
 * @throws AppError `invalid_request` when it is nested too deeply or holds a character that cannot be stored; SyntaxError.
 */
export function parseJson(text: string): unknown {
  if (isTooDeep(text)) {
    throw new AppError('invalid_request', `The JSON is nested more than ${MAX_JSON_DEPTH} levels deep.`)
  }
  return JSON.parse(text, refuseUnstorable)
}

/**
 * The JSON body of a request.
 * @throws AppError `unsupported_media_type` without a JSON content type, `payload_too_large` over 1 MB, `invalid_request` when
 * it is not UTF-8 JSON, is nested too deeply or holds a character that cannot be stored.
 */
export async function readJson(request: Request): Promise<unknown> {
  const type = mediaType(request)
  if (type !== 'application/json' && !type.endsWith('+json')) {
    throw new AppError('unsupported_media_type', 'The request body must be JSON (Content-Type: application/json).')
  }
  const bytes = await readLimited(request, MAX_JSON_BYTES)
  try {
    return parseJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    if (error instanceof AppError) throw error
    throw new AppError('invalid_request', 'The request body is not valid JSON.', { cause: error })
  }
}

/**
 * The fields of a multipart body.
 * @throws AppError `unsupported_media_type`, `payload_too_large` over 20 MB, or `invalid_request` when it is not multipart.
 */
export async function readMultipart(request: Request): Promise<FormData> {
  const contentType = request.headers.get('content-type') ?? ''
  if (!isMultipart(request)) {
    throw new AppError('unsupported_media_type', 'Send the file as multipart/form-data.')
  }
  const bytes = await readLimited(request, MAX_FILE_BYTES + MULTIPART_OVERHEAD_BYTES)
  try {
    return parseMultipart(bytes, contentType)
  } catch (error) {
    if (!(error instanceof MultipartError)) throw error
    throw new AppError('invalid_request', 'The multipart body is malformed.', { cause: error, hint: error.message })
  }
}
