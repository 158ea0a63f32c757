import type { Caller } from '../_shared/context.ts'
import type { Env } from '../_shared/env.ts'
import { optional, projectSettings } from '../_shared/env.ts'
import { AppError, ERROR_STATUS } from '../_shared/errors.ts'
import type { ErrorCode } from '../_shared/errors.ts'
import { readSse } from '../_shared/sse.ts'

/** One event of an agent's stream: its kind and whatever else it carries. */
export type AgentEvent = { event: string } & Record<string, unknown>

/** What an agent is asked. */
export type AgentCall = {
  agentId: string
  message: string
  sessionId: string
  contextItems: Record<string, unknown>[]
  /** Whether our own agent may search its knowledge bases besides; not if the person has said where to look. */
  maySearch?: boolean
  /** The stored question; our own api stores the answer to it when the run ends. */
  messageId: string
  /** Whose token goes along; used with our own `api` only. */
  caller: Caller
  requestId: string
  /** Aborted when the asker has left: once the run has begun, its stream is not read on. Absent: it is read to its end. */
  left?: AbortSignal
}

/** Where answers come from: our own function `api`, or any server that speaks the agent API. */
export type AgentEndpoint = {
  /** Our own api gets the caller's identity; a foreign one gets the context and nothing else. */
  readonly isOwn: boolean
  /**
   * The events of one run. Ends when the stream does, whole or not.
   * @throws AppError `upstream_failed`, `upstream_timeout`, `rate_limited`, or what our own api refuses; SseReadError when the
   * stream breaks or stalls.
   */
  stream(call: AgentCall, signal: AbortSignal): AsyncGenerator<AgentEvent, void, undefined>
}

/** Options of `createAgentEndpoint`. */
export type AgentEndpointOptions = {
  /** Base URL below which `/api` lies. */
  baseUrl: string
  /** Key of a foreign endpoint; null: it is our own api. */
  apiKey: string | null
  /** `apikey` for our own api. */
  publishableKey: string
  /** Milliseconds until the first byte of the answer. */
  connectTimeoutMs?: number
  /** Milliseconds of silence that are borne; our api sends something at least every 15 s. */
  stallTimeoutMs?: number
}

const MAX_ERROR_BODY_CHARS = 10_000

/** Makes the endpoint. */
export function createAgentEndpoint(options: AgentEndpointOptions): AgentEndpoint {
  const isOwn = options.apiKey === null

  async function open(call: AgentCall, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    const key = options.apiKey ?? call.caller.token
    const headers: Record<string, string> = {
      'content-type': 'application/json',
      accept: 'text/event-stream',
      apikey: options.apiKey ?? options.publishableKey,
      authorization: `Bearer ${key}`,
      'x-request-id': call.requestId,
    }
    if (isOwn && call.caller.tenantId !== null) headers['x-tenant-id'] = call.caller.tenantId
    const patience = new AbortController()
    const timer = setTimeout(() => patience.abort(), options.connectTimeoutMs ?? 30_000)
    let response: Response
    try {
      response = await fetch(`${options.baseUrl}/api/agents/${encodeURIComponent(call.agentId)}/run/stream`, {
        method: 'POST',
        headers,
        body: JSON.stringify({
          message: call.message,
          session_id: call.sessionId,
          context_items: call.contextItems,
          citations_enabled: true,
          ...(isOwn ? { chat_message_id: call.messageId } : {}),
          ...(isOwn && call.maySearch === false ? { knowledge_search: false } : {}),
        }),
        // A key must not follow a redirect to another host.
        redirect: 'error',
        signal: AbortSignal.any([signal, patience.signal]),
      })
    } catch (error) {
      if (patience.signal.aborted) {
        throw new AppError('upstream_timeout', 'The agent did not answer in time.', { cause: error })
      }
      throw new AppError('upstream_failed', 'The agent cannot be reached.', { cause: error })
    } finally {
      clearTimeout(timer)
    }
    const type = response.headers.get('content-type') ?? ''
    if (!response.ok || !response.body || !type.startsWith('text/event-stream')) throw await refusal(response, isOwn)
    return response.body
  }

  return {
    isOwn,
    async *stream(call, signal) {
      const body = await open(call, signal)
      const until = call.left ? AbortSignal.any([signal, call.left]) : signal
      for await (const data of readSse(body, { signal: until, stallMs: options.stallTimeoutMs ?? 60_000 })) {
        const event = parseEvent(data)
        if (event !== null) yield event
      }
    },
  }
}

/** What an answer without a stream means. Texts of a foreign server are not passed on. */
async function refusal(response: Response, isOwn: boolean): Promise<AppError> {
  const text = await response.text().catch(() => '')
  if (response.status === 429) return new AppError('rate_limited', 'The agent refuses more requests for now.')
  if (isOwn) {
    try {
      const { error, code } = JSON.parse(text.slice(0, MAX_ERROR_BODY_CHARS)) as { error?: unknown; code?: unknown }
      if (typeof error === 'string' && typeof code === 'string' && Object.hasOwn(ERROR_STATUS, code)) {
        return new AppError(code as ErrorCode, error)
      }
    } catch {
      // Not our envelope, e.g. the gateway's answer for a function that does not start.
    }
  }
  return new AppError('upstream_failed', `The agent refused the request (HTTP ${response.status}).`)
}

function parseEvent(data: string): AgentEvent | null {
  try {
    const parsed: unknown = JSON.parse(data)
    if (typeof parsed === 'object' && parsed !== null && typeof (parsed as AgentEvent).event === 'string') {
      return parsed as AgentEvent
    }
  } catch {
    // A line that is no event is no reason to lose the rest.
  }
  return null
}

/**
 * The endpoint an environment names: AGENT_BASE_URL with AGENT_API_KEY, else the project's own function `api`.
 * @throws Error when a foreign endpoint is named without a key.
 */
export function agentEndpointFromEnv(env: Env): AgentEndpoint {
  const { supabaseUrl, publishableKey } = projectSettings(env)
  const own = `${supabaseUrl}/functions/v1`
  const baseUrl = (optional(env, 'AGENT_BASE_URL') ?? own).replace(/\/+$/, '')
  if (baseUrl === own) return createAgentEndpoint({ baseUrl, apiKey: null, publishableKey })
  const apiKey = optional(env, 'AGENT_API_KEY')
  if (apiKey === undefined) throw new Error('AGENT_BASE_URL names another server; set AGENT_API_KEY for it.')
  return createAgentEndpoint({ baseUrl, apiKey, publishableKey })
}
