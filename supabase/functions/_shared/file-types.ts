import { AppError } from './errors.ts'

/** File types that can be extracted, by extension, with the media type they are stored under. */
export const FILE_TYPES: Readonly<Record<string, string>> = {
  '.pdf': 'application/pdf',
  '.docx': 'application/vnd.openxmlformats-officedocument.wordprocessingml.document',
  '.xlsx': 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet',
  '.pptx': 'application/vnd.openxmlformats-officedocument.presentationml.presentation',
  '.html': 'text/html',
  '.htm': 'text/html',
  '.md': 'text/markdown',
  '.markdown': 'text/markdown',
  '.txt': 'text/plain',
  '.csv': 'text/csv',
}

/** Bytes from the start of a file that `refuseForeignContent` wants to see. */
export const SIGNATURE_BYTES = 1024

const MAX_NAME_CHARS = 200
/** Longer names are read from their end, where the extension is. */
const MAX_READ_CHARS = 1000

/**
 * A file name without anything that could mean more than a name: no path, no control or invisible characters, no leading
 * dots, at most 200 characters with its extension kept.
 * @throws AppError `invalid_request` when nothing is left.
 */
export function cleanFileName(name: string): string {
  const last = name.slice(-MAX_READ_CHARS).normalize('NFC').split(/[/\\]/).at(-1) ?? ''
  const plain = withoutOuterDots(last.replace(/[\p{Cc}\p{Cf}\p{Surrogate}]/gu, '').replace(/\s+/g, ' '))
  if (plain === '') throw new AppError('invalid_request', 'The file needs a name.')
  const characters = Array.from(plain)
  if (characters.length <= MAX_NAME_CHARS) return plain
  const extension = /\.[^.]{1,16}$/.exec(plain)?.[0] ?? ''
  return (
    characters
      .slice(0, MAX_NAME_CHARS - extension.length)
      .join('')
      .trimEnd() + extension
  )
}

/** No regular expression: the time of one would grow with the square of the dots. */
function withoutOuterDots(name: string): string {
  let start = 0
  let end = name.length
  while (start < end && '. '.includes(name[start] ?? '')) start++
  while (start < end && '. '.includes(name[end - 1] ?? '')) end--
  return name.slice(start, end)
}

/**
 * The type of a file by its extension, e.g. `.pdf`.
 * @throws AppError `unsupported_type` for extensions that cannot be extracted.
 */
export function fileTypeOf(name: string): { fileType: string; mimeType: string } {
  const fileType = /\.[^.]*$/.exec(name)?.[0].toLowerCase() ?? ''
  const mimeType = Object.hasOwn(FILE_TYPES, fileType) ? FILE_TYPES[fileType] : undefined
  if (mimeType === undefined) {
    throw new AppError(
      'unsupported_type',
      `Unsupported file type '${fileType.slice(0, 20)}'. Accepted: ${Object.keys(FILE_TYPES).join(', ')}`,
    )
  }
  return { fileType, mimeType }
}

const SIGNATURES: [kind: string, bytes: number[]][] = [
  ['.pdf', [0x25, 0x50, 0x44, 0x46, 0x2d]],
  ['a ZIP archive', [0x50, 0x4b, 0x03, 0x04]],
  ['an old Office document', [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1]],
  ['a PNG image', [0x89, 0x50, 0x4e, 0x47]],
  ['a JPEG image', [0xff, 0xd8, 0xff]],
  ['a GIF image', [0x47, 0x49, 0x46, 0x38]],
  ['a GZIP archive', [0x1f, 0x8b, 0x08]],
  ['a program', [0x7f, 0x45, 0x4c, 0x46]],
  ['a program', [0x4d, 0x5a, 0x90, 0x00]],
]

/** Which of them is told apart when the file is read. An Office file with a password is in an old Office container. */
const OFFICE = ['a ZIP archive', 'an old Office document']

/** What each type's file may begin with besides text. */
const EXPECTED: Record<string, string[]> = {
  '.pdf': ['.pdf'],
  '.docx': OFFICE,
  '.xlsx': OFFICE,
  '.pptx': OFFICE,
}

/**
 * Refuses bytes that are plainly something else than the extension says. Damaged files pass: why they cannot be read is for
 * the extraction to find out and to say.
 * @param start the first `SIGNATURE_BYTES` bytes of the file.
 * @throws AppError `unsupported_type`.
 */
export function refuseForeignContent(fileType: string, start: Uint8Array): void {
  const found = SIGNATURES.find(([, bytes]) => bytes.every((byte, index) => start[index] === byte))?.[0]
  if (found === undefined || (EXPECTED[fileType] ?? []).includes(found)) return
  const name = found === '.pdf' ? 'a PDF document' : found
  throw new AppError('unsupported_type', `The file is named ${fileType} but is ${name}.`, {
    hint: 'Rename the file to its real type, or convert it.',
  })
}
