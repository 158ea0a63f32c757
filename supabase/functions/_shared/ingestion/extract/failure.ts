/** Why a document cannot become text. Each is explained in docs/errors.md. */
export type ExtractionReason =
  | 'encrypted_document'
  | 'corrupt_document'
  | 'empty_document'
  | 'no_text_layer'
  | 'too_large'
  | 'unsupported_type'
  | 'limit_exceeded'

/** The verdict on a document: final, and with a sentence that whoever uploaded it understands. */
export class ExtractionFailure extends Error {
  override name = 'ExtractionFailure'
  readonly reason: ExtractionReason

  constructor(reason: ExtractionReason, message: string, options?: ErrorOptions) {
    super(message, options)
    this.reason = reason
  }
}

/** What reads a type of document cannot be loaded: that is the fault of the installation, and says nothing of a document. */
export class ReaderUnavailable extends Error {
  override name = 'ReaderUnavailable'
}

export const corrupt = (what: string, cause?: unknown): ExtractionFailure =>
  new ExtractionFailure(
    'corrupt_document',
    `This file is damaged or is not a ${what}. Open it in the program it came from, save it again and upload the new copy.`,
    { cause },
  )

export const encrypted = (what: string): ExtractionFailure =>
  new ExtractionFailure(
    'encrypted_document',
    `This ${what} is protected by a password. Remove the password and upload it again.`,
  )

export const empty = (): ExtractionFailure => new ExtractionFailure('empty_document', 'This file contains no text.')

export const limitExceeded = (what: string): ExtractionFailure =>
  new ExtractionFailure('limit_exceeded', `${what} Split the document and upload the parts.`)

export const tooMuchText = (maxCharacters: number): ExtractionFailure =>
  limitExceeded(`This document holds more than ${maxCharacters.toLocaleString('en')} characters of text.`)

/** The name promises one type of Office document, and the content is another. */
export const misnamed = (extension: string, what: string): ExtractionFailure =>
  new ExtractionFailure(
    'unsupported_type',
    `The file is named ${extension} but is a ${what}. Rename it to its real type and upload it again.`,
  )

export const unsupported = (what: string): ExtractionFailure =>
  new ExtractionFailure(
    'unsupported_type',
    `${what} cannot be read. Upload it as PDF, DOCX, XLSX, PPTX, HTML, Markdown, plain text or CSV.`,
  )

/** What an error of a reader says about the document. @throws ReaderUnavailable, which says nothing of it. */
export function verdictOf(error: unknown): ExtractionFailure {
  if (error instanceof ReaderUnavailable) throw error
  if (error instanceof ExtractionFailure) return error
  if (error instanceof RangeError) return limitExceeded('This document is nested too deeply or too large to be read.')
  return corrupt('document of its type', error)
}
