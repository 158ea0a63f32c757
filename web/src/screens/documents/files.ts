/** What may be uploaded, told and checked before any byte is sent; the server checks again. */

/** Extensions of files whose text can be extracted, with their names. */
export const FILE_TYPES: Readonly<Record<string, string>> = {
  '.pdf': 'PDF',
  '.docx': 'Word',
  '.xlsx': 'Excel',
  '.pptx': 'PowerPoint',
  '.html': 'HTML',
  '.htm': 'HTML',
  '.md': 'Markdown',
  '.markdown': 'Markdown',
  '.txt': 'Text',
  '.csv': 'CSV',
}

/** Largest file, in bytes. */
export const MAX_FILE_BYTES = 20 * 1024 * 1024

export const LIMITS_TOLD =
  'PDF, Word (.docx), Excel (.xlsx), PowerPoint (.pptx), HTML, Markdown, text or CSV; 20 MB at most each.'

/** Name of a file type, e.g. of `.pdf`. */
export const typeName = (fileType: string): string => FILE_TYPES[fileType] ?? fileType.replace(/^\./, '').toUpperCase()

/** Why a file is not worth sending, null when it is. */
export function refusalOf(file: { name: string; size: number }): string | null {
  const extension = /\.[^.]*$/.exec(file.name)?.[0].toLowerCase() ?? ''
  if (!Object.hasOwn(FILE_TYPES, extension)) {
    const what = extension === '' ? 'A file without an extension' : `A ${extension} file`
    return `${what} cannot be read. Convert it to PDF or DOCX.`
  }
  if (file.size === 0) return 'The file is empty.'
  if (file.size > MAX_FILE_BYTES) return `The file has ${bytesText(file.size)}; 20 MB is the most. Split it.`
  return null
}

/** A number of bytes as people read it, e.g. `1.4 MB`. */
export function bytesText(bytes: number): string {
  if (bytes === 1) return '1 byte'
  const units = ['bytes', 'kB', 'MB', 'GB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}
