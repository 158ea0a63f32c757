import { citationOf, stripCitationMarks } from './citations.ts'
import type { Db, Deps } from './context.ts'
import { AppError, describeError, unwrap } from './errors.ts'
import type { ChatRequest, ContextItem } from './providers/index.ts'

/** A run as ai.start_run opens it. */
export type StartedRun = {
  id: string
  /** Public id, `run_` and 12 hex digits. */
  run_id: string
  /** Public id of the session. */
  session_id: string
  session_uuid: string
  is_new_session: boolean
  /** Fencing token: only its holder may finish the run. */
  lease_token: string
  tenant_id: string
  user_id: string | null
  /** The completed turns of the session, oldest first. */
  history: { role: string; content: string | null }[]
}

/** What a run is opened with. */
export type RunOpening = {
  agentId: string
  /** Public id; null begins a session. */
  sessionId: string | null
  message: string
  /** Who answers, stored with the run. */
  model: string
  provider: string
  context: readonly ContextItem[]
  /** Stored retrieval that the context is. */
  contextHandlerId?: string | null
}

/** Characters of earlier turns that go along; older ones are left out. */
const MAX_HISTORY_CHARS = 60_000

/**
 * Opens a run for the caller, who becomes its principal.
 * @throws AppError `agent_not_found`, `session_not_found`, `invalid_request`.
 */
export async function startRun(db: Db, opening: RunOpening): Promise<StartedRun> {
  return unwrap<StartedRun>(
    await db.schema('ai').rpc('start_run', {
      agent_id: opening.agentId,
      session_id: opening.sessionId,
      message: opening.message,
      model: opening.model,
      provider: opening.provider,
      // Where the context came from, with excerpts: the passages themselves stay where their rights are checked.
      retrieved_context: opening.context.map(citationOf),
      context_handler_id: opening.contextHandlerId ?? null,
    }),
  )
}

/** How often a run's lease is renewed, in milliseconds; it lasts two minutes. */
const LEASE_RENEWAL_MS = 30_000

/** The failure of an executor whose lease is lost. */
export const runLost = (): AppError => new AppError('conflict', 'The run was ended elsewhere.')

/**
 * Renews a run's lease until the returned function is called.
 * @param stop is aborted, with `runLost()` as its reason, when the lease is lost.
 */
export function holdRunLease(deps: Deps, run: StartedRun, stop: AbortController): () => void {
  const renew = async () => {
    try {
      if (!(await deps.ledger.renewRunLease(run.id, run.lease_token))) stop.abort(runLost())
    } catch (error) {
      // Tried again at the next beat; the lease outlasts several.
      deps.log.error('lease_renewal_failed', { run_id: run.run_id, error: describeError(error) })
    }
  }
  const timer = setInterval(() => void renew(), LEASE_RENEWAL_MS)
  return () => clearInterval(timer)
}

/** Earlier turns as messages for a model: newest that fit, without citation marks, which meant other items then. */
export function historyMessages(history: StartedRun['history']): ChatRequest['messages'] {
  const messages: ChatRequest['messages'] = []
  let left = MAX_HISTORY_CHARS
  for (let i = history.length - 2; i >= 0; i -= 2) {
    const question = history[i]?.content
    const answer = history[i + 1]?.content
    if (!question || !answer) continue
    left -= question.length + answer.length
    if (left < 0) break
    messages.unshift({ role: 'user', content: question }, { role: 'assistant', content: stripCitationMarks(answer) })
  }
  return messages
}
