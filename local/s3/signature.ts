import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { S3Error } from './errors.ts'
import { encodeRfc3986, type S3Request } from './request.ts'

export type S3Credentials = { accessKeyId: string; secretAccessKey: string }

/** What a verified signature says of the body; the body itself is still to be checked against it. */
export type VerifiedSignature = {
  presigned: boolean
  /** `x-amz-content-sha256`: a hex digest or one of the named modes. */
  contentSha256: string
  /** What signatures of chunks are chained to. */
  chain: { signingKey: Buffer; timestamp: string; scope: string; signature: string }
}

export type VerifyOptions = { credentials: S3Credentials[]; region: string; now?: () => number }

const ALGORITHM = 'AWS4-HMAC-SHA256'
const MAX_SKEW_MS = 15 * 60 * 1000
const MAX_EXPIRES_SECONDS = 7 * 24 * 60 * 60
export const UNSIGNED_PAYLOAD = 'UNSIGNED-PAYLOAD'
export const EMPTY_SHA256 = createHash('sha256').digest('hex')

type Claimed = {
  presigned: boolean
  credential: string
  signedHeaders: string[]
  signature: string
  timestamp: string
  contentSha256: string
}

/**
 * Checks a Signature Version 4, in the Authorization header or in the query of a presigned URL.
 * Specification: AWS, "Signature Version 4 signing process" for Amazon S3.
 * @throws S3Error `AccessDenied`, `SignatureDoesNotMatch`, `InvalidAccessKeyId`, `RequestTimeTooSkewed` and relatives
 */
export function verifySignature(request: S3Request, options: VerifyOptions): VerifiedSignature {
  const claimed = readClaim(request)
  const malformed = claimed.presigned ? 'AuthorizationQueryParametersError' : 'AuthorizationHeaderMalformed'
  const [accessKeyId, date, region, service, terminator, ...rest] = claimed.credential.split('/')
  const isScope = service === 's3' && terminator === 'aws4_request' && rest.length === 0
  if (!isScope || !date || !claimed.timestamp.startsWith(date)) throw new S3Error(malformed)
  if (region !== options.region) {
    throw new S3Error(malformed, `The region '${region}' is wrong; expecting '${options.region}'`)
  }
  const credentials = options.credentials.find((known) => known.accessKeyId === accessKeyId)
  if (!credentials) throw new S3Error('InvalidAccessKeyId')
  if (request.headers.has('x-amz-security-token') || request.query.has('X-Amz-Security-Token')) {
    throw new S3Error('InvalidToken', 'The local stack has no temporary credentials.')
  }
  requireSignedHeaders(request, claimed)

  const scope = `${date}/${region}/s3/aws4_request`
  const secret = Buffer.from(`AWS4${credentials.secretAccessKey}`)
  const signingKey = [date, region, 's3', 'aws4_request'].reduce<Buffer>(hmac, secret)
  const digest = sha256(canonicalRequest(request, claimed))
  const expected = hmac(signingKey, `${ALGORITHM}\n${claimed.timestamp}\n${scope}\n${digest}`)
  if (!equals(expected, claimed.signature)) throw new S3Error('SignatureDoesNotMatch')

  requireCurrent(request, claimed, (options.now ?? Date.now)())
  const { presigned, contentSha256, timestamp, signature } = claimed
  return { presigned, contentSha256, chain: { signingKey, timestamp, scope, signature } }
}

/** Compares a signature in hex with the one computed, in constant time. */
export function equals(expected: Buffer, claimedHex: string): boolean {
  const claimed = Buffer.from(/^[0-9a-f]{64}$/.test(claimedHex) ? claimedHex : '', 'hex')
  return claimed.length === expected.length && timingSafeEqual(claimed, expected)
}

export function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function readClaim(request: S3Request): Claimed {
  const { headers, query } = request
  const authorization = headers.get('authorization')
  const inQuery = query.has('X-Amz-Algorithm') || query.has('X-Amz-Signature')
  if (authorization !== null && inQuery) {
    throw new S3Error('InvalidArgument', 'Only one auth mechanism allowed')
  }
  if (authorization === null && !inQuery) throw new S3Error('AccessDenied')

  if (authorization === null) {
    const parameter = (name: string) => {
      const value = query.get(`X-Amz-${name}`)
      if (!value) throw new S3Error('AuthorizationQueryParametersError', `The parameter X-Amz-${name} is missing`)
      return value
    }
    if (parameter('Algorithm') !== ALGORITHM) throw new S3Error('AuthorizationQueryParametersError')
    return {
      presigned: true,
      credential: parameter('Credential'),
      signedHeaders: parameter('SignedHeaders').split(';'),
      signature: parameter('Signature'),
      timestamp: requireTimestamp(parameter('Date'), 'AuthorizationQueryParametersError'),
      contentSha256: headers.get('x-amz-content-sha256') ?? query.get('X-Amz-Content-Sha256') ?? UNSIGNED_PAYLOAD,
    }
  }

  if (!authorization.startsWith(`${ALGORITHM} `)) {
    throw new S3Error('InvalidRequest', `Please use ${ALGORITHM}.`)
  }
  const fields = new Map(
    authorization
      .slice(ALGORITHM.length)
      .split(',')
      .map((field) => field.trim().split('=') as [string, string]),
  )
  const field = (name: string) => {
    const value = fields.get(name)
    if (!value) throw new S3Error('AuthorizationHeaderMalformed')
    return value
  }
  const contentSha256 = headers.get('x-amz-content-sha256')
  if (!contentSha256) throw new S3Error('InvalidRequest', 'Missing required header: x-amz-content-sha256')
  return {
    presigned: false,
    credential: field('Credential'),
    signedHeaders: field('SignedHeaders').split(';'),
    signature: field('Signature'),
    timestamp: requireTimestamp(headers.get('x-amz-date') ?? '', 'AccessDenied'),
    contentSha256,
  }
}

/** A header that changes what happens must be signed: the host, and everything of Amazon's. */
function requireSignedHeaders(request: S3Request, claimed: Claimed): void {
  const signed = new Set(claimed.signedHeaders)
  const needed = [...request.headers.keys()].filter((name) => name === 'host' || name.startsWith('x-amz-'))
  const unsigned = ['host', ...needed].filter((name) => !signed.has(name))
  if (unsigned.length > 0) {
    throw new S3Error('AccessDenied', `There were headers present in the request which were not signed: ${unsigned[0]}`)
  }
}

function canonicalRequest(request: S3Request, claimed: Claimed): string {
  const host = request.headers.get('host') ?? new URL(request.raw.url).host
  const query = [...request.query]
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]) => [encodeRfc3986(name), encodeRfc3986(value)] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`)
    .join('&')
  const headers = claimed.signedHeaders.map((name) => {
    const value = name === 'host' ? host : (request.headers.get(name) ?? '')
    return `${name}:${value.trim().replace(/ +/g, ' ')}\n`
  })
  return [
    request.method,
    request.canonicalPath,
    query,
    headers.join(''),
    claimed.signedHeaders.join(';'),
    claimed.contentSha256,
  ].join('\n')
}

function requireTimestamp(text: string, otherwise: 'AccessDenied' | 'AuthorizationQueryParametersError'): string {
  if (!/^\d{8}T\d{6}Z$/.test(text)) {
    throw new S3Error(otherwise, 'AWS authentication requires a valid Date or x-amz-date header')
  }
  return text
}

function requireCurrent(request: S3Request, claimed: Claimed, now: number): void {
  const signedAt = Date.parse(
    claimed.timestamp.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'),
  )
  if (!claimed.presigned) {
    if (!(Math.abs(now - signedAt) <= MAX_SKEW_MS)) throw new S3Error('RequestTimeTooSkewed')
    return
  }
  const expires = request.query.get('X-Amz-Expires') ?? ''
  if (!/^\d{1,6}$/.test(expires) || Number(expires) < 1 || Number(expires) > MAX_EXPIRES_SECONDS) {
    throw new S3Error('AuthorizationQueryParametersError', 'X-Amz-Expires must be between 1 and 604800 seconds')
  }
  if (!(signedAt <= now + MAX_SKEW_MS)) throw new S3Error('AccessDenied', 'Request is not valid yet')
  if (now >= signedAt + Number(expires) * 1000) throw new S3Error('AccessDenied', 'Request has expired')
}
