import { AppError } from '../_shared/errors.ts'

/** Names of extraction models that clients of the agent API may send. There is one extraction per file type here. */
const KNOWN = ['auto', 'mistral', 'paddleocr', 'lighton', 'opendataloader', 'fitz', 'pdfplumber', 'llamaparse']

/**
 * Checks the model a request names.
 * @returns a warning when it is one that has no effect here.
 * @throws AppError `invalid_request` for a name that is nobody's.
 */
export function checkExtractionModel(model: string | null | undefined): string[] {
  if (model == null || model === '' || model === 'auto') return []
  if (KNOWN.includes(model)) return ['extraction_model is ignored: there is one extraction per file type.']
  throw new AppError('invalid_request', `extraction_model must be one of ${KNOWN.join(', ')}`)
}
