import type { AppError, ErrorCode } from '../errors.ts'

/** `reason` of the event `step_reset` for a failure of the model; any other is `model_error`. */
export const RESET_REASON: Partial<Record<ErrorCode, 'rate_limit' | 'prompt_too_long'>> = {
  rate_limited: 'rate_limit',
  context_length_exceeded: 'prompt_too_long',
}

const RETRIABLE: readonly ErrorCode[] = ['rate_limited', 'upstream_failed', 'upstream_timeout']

/** The HTTP status a provider refused a request with, where the error tells. */
function statusOf(error: AppError): number | null {
  const status: unknown = Object(error.cause).status
  return typeof status === 'number' ? status : null
}

/** Whether the same model call, or the same one of another model, may succeed: a refused request will be refused again. */
export function isRetriable(error: AppError): boolean {
  if (!RETRIABLE.includes(error.code)) return false
  const status = statusOf(error)
  return status === null || status >= 500 || status === 408 || status === 409 || status === 429
}
