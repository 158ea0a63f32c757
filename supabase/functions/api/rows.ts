import { AppError, fromPostgrest } from '../_shared/errors.ts'
import type { PostgrestFailure } from '../_shared/errors.ts'
import type { ErrorCode } from '../_shared/errors.ts'

/**
 * The row of a write, or the failure with the words of the thing that was written.
 * @param words what to say for a code instead of the database's general text.
 * @throws AppError what `fromPostgrest` makes of the error.
 */
export function written<Row>(
  answer: { data: Row | null; error: PostgrestFailure | null },
  words: Partial<Record<ErrorCode, string | AppError>>,
): Row {
  if (!answer.error) return answer.data as Row
  const failure = fromPostgrest(answer.error)
  const said = words[failure.code]
  if (said === undefined) throw failure
  throw typeof said === 'string' ? new AppError(failure.code, said, { cause: answer.error }) : said
}
