import { MAX_FILE_BYTES } from '../_shared/body.ts'
import type { Bytes } from '../_shared/body.ts'
import { collect } from '../_shared/egress/collect.ts'
import { EgressError } from '../_shared/egress/index.ts'
import type { Egress, EgressErrorCode } from '../_shared/egress/index.ts'
import { redirectTarget } from '../_shared/egress/request.ts'
import { charsetInHeader, charsetInPage } from '../_shared/egress/text.ts'
import { AppError } from '../_shared/errors.ts'
import type { ErrorCode } from '../_shared/errors.ts'
import { FILE_TYPES } from '../_shared/file-types.ts'

/** Milliseconds one page may take. */
const TIMEOUT_MS = 10_000
const MAX_NAME_CHARS = 150

const CODES: Partial<Record<EgressErrorCode, ErrorCode>> = {
  bad_url: 'invalid_request',
  blocked_scheme: 'invalid_request',
  blocked_port: 'invalid_request',
  blocked_address: 'invalid_request',
  too_large: 'payload_too_large',
  timeout: 'upstream_timeout',
}

/** A page as a file that can be uploaded. */
export type WebPage = { fileName: string; bytes: Bytes; url: string }

/** What servers say of files that they know nothing about; then the address says what they are. */
const UNKNOWN_TYPES = ['', 'application/octet-stream', 'binary/octet-stream']
/** Texts that many servers call plain. */
const PLAIN_TEXTS = ['.md', '.markdown', '.csv']

/** Extension for a media type; the first that has it. @param path what is asked for, which may tell more than the type. */
function extensionOf(contentType: string, path: string): string {
  const type = contentType.split(';')[0]?.trim().toLowerCase() ?? ''
  const ending = /\.[a-z]+$/i.exec(path)?.[0].toLowerCase() ?? ''
  const isNamed = UNKNOWN_TYPES.includes(type) && Object.hasOwn(FILE_TYPES, ending)
  if (isNamed || (type === 'text/plain' && PLAIN_TEXTS.includes(ending))) return ending
  const found = Object.entries(FILE_TYPES).find(([, mimeType]) => mimeType === type)
  if (found) return found[0]
  throw new AppError('unsupported_type', `What is there is ${JSON.stringify(type.slice(0, 60))}, which cannot be read.`)
}

/** A path as people write it; as it stands when it is not what `encodeURIComponent` makes. */
function decoded(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}

/** A file name that says where a page is from. */
function nameOf(url: URL, extension: string): string {
  const path = decoded(url.pathname)
    .slice(0, MAX_NAME_CHARS)
    .replace(/[^\p{L}\p{N}._-]+/gu, '-')
    .replace(/^-|-$/g, '')
  const name = `${url.hostname}${path === '' ? '' : `-${path}`}`.slice(0, MAX_NAME_CHARS)
  return name.toLowerCase().endsWith(extension) ? name : `${name}${extension}`
}

/** The usual name of an encoding; null when none is named, or none that is known. */
function encodingOf(label: string | undefined): string | null {
  try {
    return new TextDecoder(label ?? '').encoding
  } catch {
    return null
  }
}

function decodedAs(encoding: string, bytes: Bytes): string | null {
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes)
  } catch {
    return null
  }
}

/**
 * A text as UTF-8 where only the header of its answer says what it is in: the file that is made of it has no header. What
 * is UTF-8 whatever the header says, or says itself what it is in, stays as it is.
 */
function readable(bytes: Bytes, contentType: string): Bytes {
  const encoding = /^\s*text\//i.test(contentType) ? encodingOf(charsetInHeader(contentType)) : null
  if (encoding === null || /^utf-/.test(encoding) || decodedAs('utf-8', bytes) !== null) return bytes
  if (encodingOf(charsetInPage(bytes)) === encoding) return bytes
  const text = decodedAs(encoding, bytes)
  return text === null ? bytes : new TextEncoder().encode(text)
}

/** How one page is fetched. */
export type FetchOptions = {
  /** Bytes a page may have; `MAX_FILE_BYTES` when absent. */
  maxBytes?: number
  /** Ends the request, with what it was aborted with. */
  signal?: AbortSignal
  /** `manual`: a redirect is given back instead of followed. */
  redirects?: 'follow' | 'manual'
}

/** The part of the egress that pages are fetched with. */
export type PageEgress = Pick<Egress, 'fetch' | 'stream'>

/** What the egress refused, in the words of this API. */
export function pageError(error: unknown): unknown {
  if (!(error instanceof EgressError)) return error
  return new AppError(CODES[error.code] ?? 'upstream_failed', error.message, { cause: error })
}

/**
 * Fetches a public page by the egress rules, or says where it redirects to (with `redirects: 'manual'`). The body of what
 * cannot be read is not fetched.
 * @throws AppError `invalid_request` for an address that is refused, `upstream_failed`, `upstream_timeout`,
 * `payload_too_large`, `unsupported_type`.
 */
export async function openPage(
  egress: PageEgress,
  url: string,
  { maxBytes = MAX_FILE_BYTES, signal, redirects = 'follow' }: FetchOptions = {},
): Promise<{ page: WebPage } | { redirect: string }> {
  try {
    const answer = await egress.stream(url, {
      timeoutMs: TIMEOUT_MS,
      maxBytes,
      ...(signal === undefined ? {} : { signal }),
      ...(redirects === 'follow' ? {} : { maxRedirects: 'manual' as const }),
    })
    try {
      const location = redirectTarget(answer.status, answer.headers)
      if (redirects === 'manual' && location !== null) {
        if (URL.canParse(location, answer.url)) return { redirect: new URL(location, answer.url).href }
        throw new AppError('upstream_failed', 'The page redirects to no valid address.')
      }
      if (answer.status !== 200) throw new AppError('upstream_failed', `The page answered with HTTP ${answer.status}.`)
      const contentType = answer.headers.get('content-type') ?? ''
      const from = new URL(answer.url)
      const extension = extensionOf(contentType, from.pathname)
      const { body } = await collect(answer, maxBytes, 'refuse')
      const bytes = readable(body.slice(), contentType)
      return { page: { fileName: nameOf(from, extension), bytes, url: answer.url } }
    } finally {
      answer.close()
    }
  } catch (error) {
    throw pageError(error)
  }
}

/** Fetches a public page by the egress rules. @throws AppError as `openPage`. */
export async function fetchPage(egress: PageEgress, url: string): Promise<WebPage> {
  const opened = await openPage(egress, url)
  if ('page' in opened) return opened.page
  throw new AppError('upstream_failed', 'The page redirects.')
}
