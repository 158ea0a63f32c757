import { MAX_FILE_BYTES } from '../_shared/body.ts'
import type { Bytes } from '../_shared/body.ts'
import { EgressError } from '../_shared/egress/index.ts'
import type { Egress, EgressErrorCode } from '../_shared/egress/index.ts'
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

/** Extension for a media type; the first that has it. */
function extensionOf(contentType: string): string {
  const type = contentType.split(';')[0]?.trim().toLowerCase()
  const found = Object.entries(FILE_TYPES).find(([, mimeType]) => mimeType === type)
  if (found) return found[0]
  throw new AppError(
    'unsupported_type',
    `What is there is ${JSON.stringify((type ?? '').slice(0, 60))}, which cannot be read.`,
  )
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

/**
 * Fetches a public page by the egress rules.
 * @throws AppError `invalid_request` for an address that is refused, `upstream_failed`, `upstream_timeout`,
 * `payload_too_large`, `unsupported_type`.
 */
export async function fetchPage(egress: Pick<Egress, 'fetch'>, url: string): Promise<WebPage> {
  try {
    const answer = await egress.fetch(url, { timeoutMs: TIMEOUT_MS, maxBytes: MAX_FILE_BYTES, overflow: 'refuse' })
    if (answer.status !== 200) throw new AppError('upstream_failed', `The page answered with HTTP ${answer.status}.`)
    const extension = extensionOf(answer.headers.get('content-type') ?? '')
    return { fileName: nameOf(new URL(answer.url), extension), bytes: answer.body.slice(), url: answer.url }
  } catch (error) {
    if (!(error instanceof EgressError)) throw error
    throw new AppError(CODES[error.code] ?? 'upstream_failed', error.message, { cause: error })
  }
}
