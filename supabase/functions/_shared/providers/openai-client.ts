import OpenAI from 'openai'
import type { Env } from '../env.ts'
import { optional } from '../env.ts'
import { AppError } from '../errors.ts'

/** Until the response headers, per attempt. */
const REQUEST_TIMEOUT_MS = 30_000
const MAX_RETRIES = 2

/** Timeouts in milliseconds; tests shorten them. */
export type OpenAiTimeouts = { requestMs?: number; stallMs?: number; maxRetries?: number }

/** A client of the endpoint that OPENAI_BASE_URL names; without one, of OpenAI. */
export function createSdk(env: Env, timeouts: OpenAiTimeouts): OpenAI {
  return new OpenAI({
    // Given in full, so that the SDK looks for nothing in the environment itself.
    apiKey: optional(env, 'OPENAI_API_KEY') ?? 'none',
    baseURL: optional(env, 'OPENAI_BASE_URL') ?? 'https://api.openai.com/v1',
    organization: null,
    project: null,
    logLevel: 'off',
    maxRetries: timeouts.maxRetries ?? MAX_RETRIES,
    timeout: timeouts.requestMs ?? REQUEST_TIMEOUT_MS,
  })
}

/** How servers say that a prompt is too long when they do not send the code for it. */
const TOO_LONG =
  /context[ _-]?(?:length|window|size)|maximum context|(?:prompt|input|request) is too long|maximum number of tokens|too many (?:input )?tokens/i
/** Refusals that are about what was sent; undefined is an error inside a stream that had begun. */
const ABOUT_THE_REQUEST: readonly (number | undefined)[] = [undefined, 400, 413, 422]

function isTooLong(error: InstanceType<typeof OpenAI.APIError>): boolean {
  if (error.code === 'context_length_exceeded') return true
  return ABOUT_THE_REQUEST.includes(error.status) && TOO_LONG.test(`${error.type ?? ''} ${error.message}`)
}

const isRateLimit = ({ status, code }: InstanceType<typeof OpenAI.APIError>): boolean =>
  status === 429 || String(code) === '429' || code === 'rate_limit_exceeded'

/** What is kept of a refusal: a provider's own sentence may quote keys, prompts and documents. */
function withoutTexts(error: InstanceType<typeof OpenAI.APIError>): Error & { status: number | undefined } {
  const { status, type, code, param, requestID } = error
  const words = [type, code, param, requestID].filter((word) => typeof word === 'string' || typeof word === 'number')
  const plain = words.map((word) =>
    String(word)
      .replace(/[^\w.[\]-]/g, '_')
      .slice(0, 80),
  )
  const kept = new Error([status === undefined ? 'in the stream' : `HTTP ${status}`, ...plain].join(' '))
  return Object.assign(kept, { status })
}

/**
 * What a failed call means. No text of the provider is in it; its `cause` has the HTTP status as `status`, if there was one.
 * @returns `context_length_exceeded`, `rate_limited`, `upstream_timeout` or `upstream_failed`.
 */
export function providerError(error: unknown): AppError {
  if (error instanceof AppError) return error
  if (error instanceof OpenAI.APIConnectionTimeoutError) {
    return new AppError('upstream_timeout', 'The model provider did not answer in time.', { cause: error })
  }
  if (error instanceof OpenAI.APIError && !(error instanceof OpenAI.APIConnectionError)) {
    const cause = withoutTexts(error)
    if (isTooLong(error)) {
      return new AppError('context_length_exceeded', 'The prompt is too long for the model.', { cause })
    }
    if (isRateLimit(error)) {
      return new AppError('rate_limited', 'The model provider refuses more requests for now.', { cause })
    }
    const status = error.status === undefined ? 'in its answer' : `(HTTP ${error.status})`
    return new AppError('upstream_failed', `The model provider refused the request ${status}.`, { cause })
  }
  return new AppError('upstream_failed', 'The connection to the model provider broke off.', { cause: error })
}
