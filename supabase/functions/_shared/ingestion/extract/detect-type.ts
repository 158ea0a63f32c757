import { Buffer } from 'node:buffer'
import { findParts } from './archive.ts'
import { corrupt, encrypted, misnamed, unsupported } from './failure.ts'

/** What the worker can turn into text. Whatever else is plain text is read as `text`, as it stands. */
export type DocumentType = 'pdf' | 'docx' | 'xlsx' | 'pptx' | 'html' | 'markdown' | 'csv' | 'text'

const BY_EXTENSION: Record<string, DocumentType> = {
  '.pdf': 'pdf',
  '.docx': 'docx',
  '.xlsx': 'xlsx',
  '.pptx': 'pptx',
  '.html': 'html',
  '.htm': 'html',
  '.xhtml': 'html',
  '.md': 'markdown',
  '.markdown': 'markdown',
  '.csv': 'csv',
  '.tsv': 'csv',
}

// Formats known by their first bytes that hold no text we read; the name goes into the sentence for the user. A text may
// begin with the same letters.
const BINARY: [string, string][] = [
  ['\x89PNG', 'An image'],
  ['\xff\xd8\xff', 'An image'],
  ['GIF8', 'An image'],
  ['II*\0', 'An image'],
  ['MM\0*', 'An image'],
  ['RIFF', 'A media file'],
  ['ID3', 'A media file'],
  ['OggS', 'A media file'],
  ['\x1f\x8b', 'A compressed archive'],
  ['7z\xbc\xaf', 'A compressed archive'],
  ['Rar!', 'A compressed archive'],
  ['BZh', 'A compressed archive'],
  ['\xfd7zXZ', 'A compressed archive'],
  ['\x7fELF', 'A program'],
]
const REFUSED_TEXT: [string, string][] = [
  ['{\\rtf', 'An RTF document'],
  ['%!PS', 'A PostScript file'],
]

/** No control characters but those that texts have, in whatever encoding. */
// deno-lint-ignore no-control-regex
const isText = (head: string): boolean => !/[\0-\x08\x0e-\x1a\x1c-\x1f]/.test(head)

const latin1 = (bytes: Uint8Array, from: number, to: number): string =>
  new TextDecoder('latin1').decode(bytes.subarray(from, to))

const mentions = (bytes: Uint8Array, part: string): boolean =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).includes(part)

type OfficeType = 'docx' | 'xlsx' | 'pptx'

const OFFICE_NAMES: Record<OfficeType, string> = {
  docx: 'Word document (DOCX)',
  xlsx: 'spreadsheet (XLSX)',
  pptx: 'presentation (PPTX)',
}

// The directory decides: an archive may hold others whose names can be read in its bytes, as a chart holds its spreadsheet.
const OFFICE_PARTS = {
  'word/document.xml': 'docx',
  'xl/workbook.xml': 'xlsx',
  'ppt/presentation.xml': 'pptx',
} as const satisfies Record<string, OfficeType>
const BINARY_WORKBOOK = 'xl/workbook.bin'

const isOffice = (type: DocumentType | undefined): type is OfficeType =>
  type !== undefined && Object.hasOwn(OFFICE_NAMES, type)

function archiveType(bytes: Uint8Array, fileType: string, promised: DocumentType | undefined): DocumentType {
  const names = Object.keys(OFFICE_PARTS) as (keyof typeof OFFICE_PARTS)[]
  const parts = findParts(bytes, [...names, BINARY_WORKBOOK])
  if (parts === null && isOffice(promised)) throw corrupt(OFFICE_NAMES[promised])
  const types = names.filter((name) => parts?.has(name)).map((name) => OFFICE_PARTS[name])
  const found = types.find((type) => type === promised) ?? types[0]
  if (found && isOffice(promised) && found !== promised) throw misnamed(fileType, OFFICE_NAMES[found])
  if (found) return found
  if (parts?.has(BINARY_WORKBOOK)) throw unsupported('A binary spreadsheet (XLSB)')
  if (mentions(bytes, 'application/epub+zip')) throw unsupported('An e-book (EPUB)')
  if (mentions(bytes, 'application/vnd.oasis.opendocument')) throw unsupported('An OpenDocument file')
  throw unsupported('A ZIP archive')
}

/** OLE2 is the container of Office 97 files and of Office files encrypted with a password. */
function compoundFileType(bytes: Uint8Array): never {
  if (mentions(bytes, 'E\0n\0c\0r\0y\0p\0t\0e\0d\0P\0a\0c\0k\0a\0g\0e\0')) throw encrypted('Office document')
  throw unsupported('An Office 97-2003 document')
}

/**
 * Decides what a file is: by its first bytes where they say so, else by its extension (lower case, with the dot).
 * @throws ExtractionFailure `unsupported_type`, `encrypted_document`, or `corrupt_document` when the name promises a
 *   format that the content is not.
 */
export function detectType(bytes: Uint8Array, fileType: string): DocumentType {
  const head = latin1(bytes, 0, 1024)
  const promised = BY_EXTENSION[fileType.toLowerCase()]
  // Some PDFs have a few bytes before their mark; texts name it.
  if (head.startsWith('%PDF-') || (head.includes('%PDF-') && (promised === 'pdf' || !isText(head)))) return 'pdf'
  if (head.startsWith('PK\x03\x04') || head.startsWith('PK\x05\x06')) {
    return archiveType(bytes, fileType, promised)
  }
  if (head.startsWith('\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1')) return compoundFileType(bytes)
  for (const [signature, name] of isText(head) ? REFUSED_TEXT : BINARY) {
    if (head.startsWith(signature)) throw unsupported(name)
  }

  if (promised === 'pdf') throw corrupt('PDF')
  if (isOffice(promised)) throw corrupt(OFFICE_NAMES[promised])
  if (isHtml(head)) return 'html'
  return promised ?? 'text'
}

/**
 * Only an opening that nothing but HTML has; Markdown often begins with a tag too. A comment ends at its first end mark and
 * nowhere else, or there would be a number of ways to read a row of comments that doubles with each.
 */
const isHtml = (head: string): boolean =>
  /^(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?:(?!-->)[\s\S])*-->\s*)*<(?:!doctype\s+html|html)\b/i.test(head)
