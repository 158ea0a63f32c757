import type { Env } from '../env.ts'
import { optional } from '../env.ts'
import type { ToolResult } from '../tools/types.ts'
import { EgressError } from './errors.ts'
import type { Egress } from './types.ts'

/** An endpoint the operator has configured for a tool: JSON is posted to it, JSON comes back. */
export type OutsideService = {
  url: string
  /** Sent as a bearer token. */
  apiKey: string | null
}

/** A service that did not answer as it should. The message may be shown to a model. */
export class ServiceError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'ServiceError'
  }
}

/**
 * The service of these two variables, or null when the first is unset.
 * @throws Error when the first is no http(s) URL.
 */
export function serviceFromEnv(env: Env, urlName: string, keyName: string): OutsideService | null {
  const url = optional(env, urlName)
  if (url === undefined) return null
  if (!/^https?:\/\//i.test(url) || !URL.canParse(url)) {
    throw new Error(`The environment variable ${urlName} is not an http or https URL.`)
  }
  return { url, apiKey: optional(env, keyName) ?? null }
}

/**
 * Posts JSON to a service and gives what it answers. The service may stand inside the operator's network; redirects are
 * not followed, because the key goes along.
 * @throws EgressError, ServiceError; what `signal` was aborted with.
 */
export async function callService(
  egress: Egress,
  service: OutsideService,
  payload: Record<string, unknown>,
  limits: { signal: AbortSignal; timeoutMs: number; maxBytes: number },
): Promise<unknown> {
  const answer = await egress.trusting(service.url).fetch(service.url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json',
      ...(service.apiKey === null ? {} : { authorization: `Bearer ${service.apiKey}` }),
    },
    body: JSON.stringify(payload),
    ...limits,
    // It may think for as long as it has.
    idleTimeoutMs: limits.timeoutMs,
    overflow: 'refuse',
    maxRedirects: 0,
  })
  // What it says of a failure is not passed on: it may repeat the key.
  if (answer.status < 200 || answer.status > 299)
    throw new ServiceError(`The service answered with HTTP ${answer.status}.`)
  try {
    return JSON.parse(answer.text())
  } catch {
    throw new ServiceError('The service did not answer with JSON.')
  }
}

/** A failure of the outside as a result for the model. @throws the error itself when it is of another kind. */
export function failureResult(error: unknown): ToolResult {
  if (error instanceof EgressError || error instanceof ServiceError) return { text: error.message, isError: true }
  throw error
}
