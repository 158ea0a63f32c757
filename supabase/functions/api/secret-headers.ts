import { z } from 'zod'
import { AppError } from '../_shared/errors.ts'
import { secretHost } from '../_shared/secrets.ts'
import type { SecretBox, SecretContext } from '../_shared/secrets.ts'

/** What stands in answers for the value of a secret header; sent back, it means the value that is stored. */
const MASK = '***'

/** Headers as a request gives them. Their values are written, never read back. */
export const secretHeaders = z
  .record(z.string(), z.string('headers: values are texts'), 'headers must be an object')
  .refine(
    (headers) => Object.keys(headers).every((name) => /^[A-Za-z0-9_.-]{1,100}$/.test(name)),
    'headers: a name may hold letters, digits, _ . and -',
  )

/** Headers as answers show them. */
export function maskedHeaders(names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, MASK]))
}

/** What a request does to the secret headers of a row: undefined, nothing; else these are all it has afterwards. */
export type HeaderChange = Record<string, string> | undefined

/**
 * Reads what a request wants the headers to be. Masked values stand for what is stored, which nobody here can read: so
 * either all headers stay, or all are given.
 * @throws AppError `invalid_request`.
 */
export function headerChange(
  given: Record<string, string> | null | undefined,
  stored: readonly string[],
): HeaderChange {
  if (given === undefined || given === null) return undefined
  const names = Object.keys(given)
  const masked = names.filter((name) => given[name] === MASK)
  if (masked.length === 0) return given
  const unknown = masked.find((name) => !stored.includes(name))
  if (unknown === undefined && names.length === masked.length && names.length === stored.length) return undefined
  throw new AppError('invalid_request', `headers: give the value of ${JSON.stringify(unknown ?? masked[0])} again`, {
    hint: 'Stored values cannot be read. Send the values of all headers, or leave headers out to keep them.',
  })
}

/** Columns of a row that get new headers. @throws AppError as `SecretBox.seal`. */
export async function sealedColumns(
  box: Pick<SecretBox, 'seal'>,
  headers: Record<string, string>,
  context: Omit<SecretContext, 'host'> & { url: string },
): Promise<{ header_names: string[]; secret_headers: string | null }> {
  const names = Object.keys(headers)
  if (names.length === 0) return { header_names: [], secret_headers: null }
  const { url, ...bound } = context
  return { header_names: names, secret_headers: await box.seal(headers, { ...bound, host: secretHost(url) }) }
}
