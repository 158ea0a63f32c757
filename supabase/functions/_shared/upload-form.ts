import { MAX_FILE_BYTES, parseJson, readMultipart } from './body.ts'
import type { Bytes } from './body.ts'
import { AppError } from './errors.ts'

/** A file from a multipart body, with the text fields beside it. */
export type UploadForm = {
  fileName: string
  bytes: Bytes
  /** The field `name`: what to call the file; undefined when absent or blank. */
  name: string | undefined
  /** Text of a field; undefined when absent or blank. */
  text: (name: string) => string | undefined
  /** All texts of a field, one per occurrence and per comma. */
  texts: (name: string) => string[]
  /** Names of the fields that are not among the given ones. */
  otherFields: (known: readonly string[]) => string[]
}

const MAX_NAME_CHARS = 1000

/**
 * Reads the multipart body of an upload.
 * @throws AppError as `readMultipart`; `invalid_request` for a file or name that is not acceptable; `payload_too_large`.
 */
export async function readUploadForm(request: Request): Promise<UploadForm> {
  const form = await readMultipart(request)
  const file = form.get('file')
  if (file === null || typeof file === 'string') throw new AppError('invalid_request', 'No file provided')
  // Web APIs call a part without a file name `blob`.
  if (file.name === '' || file.name === 'blob') throw new AppError('invalid_request', 'No filename')
  if (file.size > MAX_FILE_BYTES) {
    throw new AppError('payload_too_large', `The file is larger than ${MAX_FILE_BYTES} bytes.`, {
      hint: 'Use POST /sources/uploads for large files.',
    })
  }
  const texts = (name: string) =>
    form
      .getAll(name)
      .filter((value): value is string => typeof value === 'string')
      .flatMap((value) => value.split(','))
      .map((value) => value.trim())
      .filter((value) => value !== '')
  const text = (name: string) => {
    const value = form.get(name)
    return typeof value === 'string' && value.trim() !== '' ? value.trim() : undefined
  }
  const name = text('name')
  if (name !== undefined && name.length > MAX_NAME_CHARS) {
    throw new AppError('invalid_request', `name may have at most ${MAX_NAME_CHARS} characters`)
  }
  return {
    fileName: file.name,
    bytes: new Uint8Array(await file.arrayBuffer()),
    name,
    text,
    texts,
    otherFields: (known) => [...new Set(form.keys())].filter((name) => name !== 'file' && !known.includes(name)),
  }
}

/**
 * The `metadata` field of a form: a JSON object.
 * @throws AppError `invalid_request` `Invalid metadata JSON`, or as `parseJson`.
 */
export function parseMetadata(text: string | undefined): Record<string, unknown> | undefined {
  if (text === undefined) return undefined
  try {
    const parsed = parseJson(text)
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) return { ...parsed }
  } catch (error) {
    if (error instanceof AppError) throw error
    // Falls through to the same answer as JSON of another kind.
  }
  throw new AppError('invalid_request', 'Invalid metadata JSON')
}
