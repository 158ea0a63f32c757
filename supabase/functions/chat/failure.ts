import { AppError, toAppError } from '../_shared/errors.ts'
import { SseReadError } from '../_shared/sse.ts'

/** Why there is no whole answer, as the person is told. */
export function turnFailure(error: unknown): AppError {
  if (error instanceof SseReadError) {
    return error.reason === 'stalled' || error.reason === 'aborted'
      ? new AppError('upstream_timeout', 'The agent stopped answering.', { cause: error })
      : new AppError('upstream_failed', 'The answer was cut off.', { cause: error })
  }
  return toAppError(error)
}
