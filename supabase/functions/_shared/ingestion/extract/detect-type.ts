import { Buffer } from 'node:buffer'
import { corrupt, encrypted, unsupported } from './failure.ts'

/** What the worker can turn into text. Whatever else is plain text is read as `text`, as it stands. */
export type DocumentType = 'pdf' | 'docx' | 'html' | 'markdown' | 'csv' | 'text'

const BY_EXTENSION: Record<string, DocumentType> = {
  '.pdf': 'pdf',
  '.docx': 'docx',
  '.html': 'html',
  '.htm': 'html',
  '.xhtml': 'html',
  '.md': 'markdown',
  '.markdown': 'markdown',
  '.csv': 'csv',
  '.tsv': 'csv',
}

// Formats known by their first bytes that hold no text we read; the name goes into the sentence for the user.
const REFUSED: [string, string][] = [
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
  ['{\\rtf', 'An RTF document'],
  ['%!PS', 'A PostScript file'],
]

const latin1 = (bytes: Uint8Array, from: number, to: number): string =>
  new TextDecoder('latin1').decode(bytes.subarray(from, to))

/** Whether the names at the ends of an archive's central directory include `part`. */
const mentions = (bytes: Uint8Array, part: string): boolean =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).includes(part)

function archiveType(bytes: Uint8Array): DocumentType {
  if (mentions(bytes, 'word/document')) return 'docx'
  if (mentions(bytes, 'xl/workbook')) throw unsupported('A spreadsheet (XLSX)')
  if (mentions(bytes, 'ppt/presentation')) throw unsupported('A presentation (PPTX)')
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
  if (head.includes('%PDF-')) return 'pdf'
  if (head.startsWith('PK\x03\x04') || head.startsWith('PK\x05\x06')) return archiveType(bytes)
  if (head.startsWith('\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1')) return compoundFileType(bytes)
  for (const [signature, name] of REFUSED) if (head.startsWith(signature)) throw unsupported(name)

  const promised = BY_EXTENSION[fileType.toLowerCase()]
  if (promised === 'pdf') throw corrupt('PDF')
  if (promised === 'docx') throw corrupt('Word document (DOCX)')
  if (isHtml(head)) return 'html'
  return promised ?? 'text'
}

/**
 * Only an opening that nothing but HTML has; Markdown often begins with a tag too. A comment ends at its first end mark and
 * nowhere else, or there would be a number of ways to read a row of comments that doubles with each.
 */
const isHtml = (head: string): boolean =>
  /^(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?:(?!-->)[\s\S])*-->\s*)*<(?:!doctype\s+html|html)\b/i.test(head)
