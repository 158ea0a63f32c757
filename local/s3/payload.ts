import type { Algorithm } from '../storage/digests.ts'
import type { FileStore, ReceivedFile } from '../storage/files.ts'
import { chunkedMode, decodeChunked } from './chunked.ts'
import { S3Error } from './errors.ts'
import { amzValue, type S3Request } from './request.ts'
import { EMPTY_SHA256, UNSIGNED_PAYLOAD, type VerifiedSignature } from './signature.ts'

const CHECKSUMS: Record<string, Algorithm> = {
  'x-amz-checksum-sha256': 'sha256',
  'x-amz-checksum-sha1': 'sha1',
  'x-amz-checksum-crc32': 'crc32',
}
const UNKNOWN_CHECKSUMS = ['x-amz-checksum-crc32c', 'x-amz-checksum-crc64nvme']
const DIGEST_BYTES = { md5: 16, sha1: 20, sha256: 32, crc32: 4 }

/** Bytes that arrived and agree with everything the request says of them. */
export type ReceivedPayload = {
  file: ReceivedFile
  /** Base64, when the uploader sent one. */
  checksumSHA256: string | undefined
}

/**
 * Receives the body of a verified request into a temporary file and checks it: length, payload hash or chunk
 * signatures, Content-MD5 and `x-amz-checksum-*`, in headers, query or trailers.
 * @throws S3Error `BadDigest`, `IncompleteBody`, `EntityTooLarge` ...; nothing is left behind then
 */
export async function receivePayload(
  request: S3Request,
  signature: VerifiedSignature,
  files: FileStore,
  maxBytes: number,
): Promise<ReceivedPayload> {
  const mode = chunkedMode(signature.contentSha256)
  const lengthHeader = request.headers.get(mode ? 'x-amz-decoded-content-length' : 'content-length')
  if (lengthHeader === null) throw new S3Error('MissingContentLength')
  if (!/^\d{1,15}$/.test(lengthHeader)) throw new S3Error('InvalidArgument')
  if (Number(lengthHeader) > maxBytes) throw new S3Error('EntityTooLarge')
  const trailerNames = (request.headers.get('x-amz-trailer') ?? '').split(',').map((name) => name.trim().toLowerCase())
  const trailers = new Map<string, string>()
  const stated = (name: string) => amzValue(request, name) ?? trailers.get(name)
  for (const name of UNKNOWN_CHECKSUMS) {
    if (amzValue(request, name) !== undefined || trailerNames.includes(name)) {
      throw new S3Error('NotImplemented', `The local stack does not compute ${name}`)
    }
  }

  const body = mode ? decodeChunked(request.body, mode, signature.chain, trailers) : request.body
  const file = await files.receive(body, { maxBytes, algorithms: Object.values(CHECKSUMS) })
  try {
    if (file.sizeBytes !== Number(lengthHeader)) throw new S3Error('IncompleteBody')
    if (!mode) requireSha256(signature.contentSha256, file.digests.sha256?.toString('hex') ?? '')
    const contentMd5 = request.headers.get('content-md5')
    if (contentMd5 !== null) requireDigest(file, 'md5', contentMd5)
    for (const [name, algorithm] of Object.entries(CHECKSUMS)) {
      const value = stated(name)
      if (value !== undefined) requireDigest(file, algorithm, value)
      else if (trailerNames.includes(name)) throw new S3Error('InvalidRequest', `The trailer ${name} is missing`)
    }
  } catch (error) {
    await files.discard(file)
    throw error
  }
  return { file, checksumSHA256: stated('x-amz-checksum-sha256') }
}

/** A small body as text, checked like any other. */
export async function readSmallBody(
  request: S3Request,
  signature: VerifiedSignature,
  files: FileStore,
  readFile: (path: string) => Promise<string>,
): Promise<string> {
  const { file } = await receivePayload(request, signature, files, 2 * 1024 * 1024)
  try {
    return await readFile(file.path)
  } finally {
    await files.discard(file)
  }
}

/** For requests whose body does not matter: what was signed must be no body. @throws S3Error */
export function requireNoPayload(signature: VerifiedSignature): void {
  if (signature.contentSha256 !== UNSIGNED_PAYLOAD && signature.contentSha256 !== EMPTY_SHA256) {
    throw new S3Error('XAmzContentSHA256Mismatch')
  }
}

function requireSha256(claimed: string, actual: string): void {
  if (claimed === UNSIGNED_PAYLOAD) return
  if (!/^[0-9a-f]{64}$/.test(claimed)) throw new S3Error('InvalidArgument', 'x-amz-content-sha256 is not valid')
  if (claimed !== actual) throw new S3Error('XAmzContentSHA256Mismatch')
}

function requireDigest(file: ReceivedFile, algorithm: Algorithm, claimed: string): void {
  const digest = Buffer.from(claimed, 'base64')
  if (digest.length !== DIGEST_BYTES[algorithm] || digest.toString('base64') !== claimed) {
    throw new S3Error('InvalidDigest')
  }
  if (!file.digests[algorithm]?.equals(digest)) {
    throw new S3Error(
      'BadDigest',
      `The ${algorithm.toUpperCase()} you specified did not match the calculated checksum.`,
    )
  }
}
