import { StorageError } from './errors.ts'

const MAX_KEY_BYTES = 1024
/** The characters the platform allows in keys: those S3 calls safe and some that need care. */
const KEY_CHARACTERS = /^[\w/!\-.*'() &$@=;:+,?]+$/
const BUCKET_CHARACTERS = /^[\w!\-.*'() &$@=;:+,?]+$/

/**
 * True for a name an object may have: the platform's characters, and beyond it no empty, `.` or `..` segments, so that
 * a folder in a policy is the folder a person reads.
 */
export function isValidKey(name: string): boolean {
  return (
    name.length > 0 &&
    name.length <= MAX_KEY_BYTES &&
    KEY_CHARACTERS.test(name) &&
    name.split('/').every((segment) => segment !== '' && segment !== '.' && segment !== '..')
  )
}

/** True for a name a bucket may have. */
export function isValidBucketName(name: string): boolean {
  return name.length > 0 && name.length <= 63 && BUCKET_CHARACTERS.test(name) && name !== '.' && name !== '..'
}

/** @throws StorageError `InvalidKey` */
export function requireKey(name: string): string {
  if (!isValidKey(name)) throw new StorageError('InvalidKey', `Invalid key: ${name}`)
  return name
}

/** @throws StorageError `InvalidBucketName` */
export function requireBucketName(name: string): string {
  if (!isValidBucketName(name)) throw new StorageError('InvalidBucketName')
  return name
}

const UNIT_BYTES: Record<string, number> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
}

/**
 * Bytes of a size like `50MiB`, `1MB`, `20kb` or a plain number.
 * @throws StorageError `InvalidRequest` for anything else
 */
export function parseSize(size: string | number): number {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(String(size).trim()) ?? []
  const factor = UNIT_BYTES[(unit || 'b').toLowerCase()]
  if (amount === undefined || factor === undefined) {
    throw new StorageError('InvalidRequest', 'Invalid file size format, hint: use 20GB / 20MB / 30KB / 3B')
  }
  return Math.floor(Number(amount) * factor)
}

const MIME_TYPE = /^[\w!#$&^.+-]+\/[\w!#$&^.+*-]+$/

/**
 * A media type as it may be stored and sent back in a header.
 * @throws StorageError `InvalidMimeType` when it is not one, or is not in the list of the bucket (`image/*` allowed)
 */
export function requireMimeType(value: string, allowed: string[] | null): string {
  const type = (value.split(';')[0] ?? '').trim().toLowerCase()
  const refusal = new StorageError('InvalidMimeType', `mime type ${type.slice(0, 100)} is not supported`)
  if (!MIME_TYPE.test(type) || !/^[\x20-\x7e]{1,255}$/.test(value)) throw refusal
  if (!allowed || allowed.length === 0) return value
  const matches = allowed.some((pattern) => {
    const wanted = pattern.toLowerCase()
    return wanted === '*/*' || wanted === type || (wanted.endsWith('/*') && type.startsWith(wanted.slice(0, -1)))
  })
  if (!matches) throw refusal
  return value
}
