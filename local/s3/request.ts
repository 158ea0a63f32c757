import { bodyOf } from '../storage/upload-body.ts'
import { S3Error } from './errors.ts'

/** A request as the signature covers it: the same reading serves the verification and the handlers. */
export type S3Request = {
  method: string
  headers: Headers
  /** Decoded path segments, joined by slashes, as on the wire. */
  canonicalPath: string
  bucket: string
  key: string
  /** Decoded; no parameter appears twice. */
  query: Map<string, string>
  body: AsyncIterable<Uint8Array>
  raw: Request
}

/**
 * Parses a path-style request below the mount path.
 * @throws S3Error `InvalidURI` or `InvalidArgument` for what could be read in two ways
 */
export function parseRequest(raw: Request, mountPath: string): S3Request {
  const url = new URL(raw.url)
  const segments = url.pathname.split('/').map(decode)
  const canonicalPath = segments.map(encodeRfc3986).join('/')
  const [bucket = '', ...key] = segments.slice(mountPath.split('/').length)
  return {
    method: raw.method,
    headers: raw.headers,
    canonicalPath,
    bucket,
    key: key.join('/'),
    query: parseQuery(url.search),
    body: bodyOf(raw),
    raw,
  }
}

/** Percent-encodes all but RFC 3986's unreserved characters, as signatures require. */
export function encodeRfc3986(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}

/**
 * An `x-amz-*` value of a request. In presigned URLs they may stand in the query, where the signature covers them too.
 */
export function amzValue(request: S3Request, name: string): string | undefined {
  const header = request.headers.get(name)
  if (header !== null) return header
  for (const [parameter, value] of request.query) if (parameter.toLowerCase() === name) return value
  return undefined
}

function parseQuery(search: string): Map<string, string> {
  const query = new Map<string, string>()
  for (const pair of search.slice(1).split('&')) {
    if (pair === '') continue
    const [name = '', ...value] = pair.split('=')
    const key = decode(name)
    if (query.has(key)) throw new S3Error('InvalidArgument', `The query parameter ${key} is given twice`)
    query.set(key, decode(value.join('=')))
  }
  return query
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new S3Error('InvalidURI')
  }
}
