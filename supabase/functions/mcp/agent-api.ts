import { z } from 'zod'
import type { Caller } from '../_shared/context.ts'
import { AppError } from '../_shared/errors.ts'
import { boundedFetch } from '../_shared/fetch.ts'

/** Milliseconds an agent may take; the platform ends the request of a free project after 150 s. */
const RUN_TIMEOUT_MS = 140_000

/** What an agent is asked. */
export type AgentQuestion = {
  agentId: string
  message: string
  /** Absent: a new conversation. */
  sessionId?: string | undefined
  requestId: string
}

const runAnswer = z.object({
  run_id: z.string(),
  session_id: z.string(),
  content: z.string().nullish(),
  error: z.string().nullish(),
})
/** `isDone` is false while the run goes on: then there is no answer yet. */
export type AgentAnswer = z.output<typeof runAnswer> & { isDone: boolean }

/** Runs agents through the function `api`. */
export type AgentApi = {
  /**
   * One turn with an agent, on behalf of the caller: their own token goes along, and `api` decides what it may.
   * @throws AppError with what `api` says; `upstream_failed` when that is no answer of it, `upstream_timeout`.
   */
  run(caller: Caller, question: AgentQuestion): Promise<AgentAnswer>
}

/** The status of a run that goes on after the answer: it waits, or takes longer than `api` does. */
const ACCEPTED = 202

/** What is said of a run that goes on. */
export const NOT_DONE = 'The agent is not done yet. Its answer will be in the conversation.'

/** The error an answer of `api` means. Its texts are for callers. */
function refusal(status: number, body: unknown): AppError {
  const { error, code } = Object(body) as { error?: unknown; code?: unknown }
  const message = typeof error === 'string' && status < 500 ? error : 'The agent could not be run.'
  if (code === 'agent_not_found') return new AppError('agent_not_found', message)
  return new AppError(status < 500 ? 'invalid_request' : 'upstream_failed', message)
}

/**
 * Makes the way to `api`.
 * @param supabaseUrl base URL of the project.
 * @param publishableKey sent as `apikey`; carries no rights of its own.
 */
export function createAgentApi(supabaseUrl: string, publishableKey: string, fetchWith: typeof fetch = fetch): AgentApi {
  const bounded = boundedFetch(fetchWith, RUN_TIMEOUT_MS)
  return {
    async run(caller, { agentId, message, sessionId, requestId }) {
      let response: Response
      let body: unknown
      try {
        response = await bounded(`${supabaseUrl}/functions/v1/api/agents/${encodeURIComponent(agentId)}/run`, {
          method: 'POST',
          redirect: 'error',
          headers: {
            apikey: publishableKey,
            authorization: `Bearer ${caller.token}`,
            'content-type': 'application/json',
            'x-request-id': requestId,
            ...(caller.tenantId === null ? {} : { 'x-tenant-id': caller.tenantId }),
          },
          body: JSON.stringify({ message, ...(sessionId === undefined ? {} : { session_id: sessionId }) }),
        })
        body = await response.json()
      } catch (error) {
        if (error instanceof Error && error.name === 'TimeoutError')
          throw new AppError('upstream_timeout', NOT_DONE, { cause: error })
        throw new AppError('upstream_failed', 'The agent could not be run.', { cause: error })
      }
      if (!response.ok) throw refusal(response.status, body)
      const answer = runAnswer.safeParse(body)
      if (!answer.success) throw new AppError('upstream_failed', 'The agent could not be run.', { cause: answer.error })
      return { ...answer.data, isDone: response.status !== ACCEPTED }
    },
  }
}
