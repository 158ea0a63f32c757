import { citationOf, stripCitationMarks } from './citations.ts'
import type { Db, Deps } from './context.ts'
import { AppError, describeError, unwrap } from './errors.ts'
import type { ChatRequest, ContextItem } from './providers/index.ts'
import type { StopReason } from './run-ledger.ts'
import { storable } from './storable.ts'

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

/** A run as it is just opened. Without a lease it waits for its turn, and an executor claims it. */
export type OpenedRun = Omit<StartedRun, 'lease_token'> & {
  lease_token: string | null
  status: 'running' | 'pending'
  /** Number of its last event: 0. */
  last_seq: number
}

/** What becomes of a new run, or of the others, while one of the same session is active. */
export const MULTITASK_STRATEGIES = ['reject', 'queue', 'interrupt', 'rollback'] as const
export type MultitaskStrategy = (typeof MULTITASK_STRATEGIES)[number]

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
  /** The body the caller sent: whoever carries the run out reads it again. */
  request?: Record<string, unknown>
  /** Default `queue`. */
  multitaskStrategy?: MultitaskStrategy
  /** Whether it may use tools. Default true. */
  streams?: boolean
  /** The caller's own message that the run is to answer in a chat. */
  chatMessageId?: string | null
}

/** Characters of earlier turns that go along; older ones are left out. */
const MAX_HISTORY_CHARS = 60_000

/**
 * Opens a run for the caller, who becomes its principal.
 * @throws AppError `agent_not_found`, `session_not_found`, `invalid_request`, `session_busy`, `agent_unpublished`.
 */
export async function startRun(db: Db, opening: RunOpening): Promise<OpenedRun> {
  return unwrap<OpenedRun>(
    await db.schema('ai').rpc('start_run', {
      agent_id: opening.agentId,
      session_id: opening.sessionId,
      message: opening.message,
      model: opening.model,
      provider: opening.provider,
      // Where the context came from, with excerpts: the passages themselves stay where their rights are checked.
      retrieved_context: opening.context.map(citationOf),
      context_handler_id: opening.contextHandlerId ?? null,
      request: storable(opening.request ?? {}),
      multitask_strategy: opening.multitaskStrategy ?? 'queue',
      streams: opening.streams ?? true,
      chat_message_id: opening.chatMessageId ?? null,
    }),
  )
}

/**
 * Opens a run that only its opener can carry out: it never waits, and nobody takes it up.
 * @throws AppError as `startRun`; `session_busy` while another run of the session is active, `limit_reached` while the tenant
 * has all the runs it may have.
 */
export async function startRunHere(db: Db, opening: Omit<RunOpening, 'request'>): Promise<StartedRun> {
  const { lease_token, ...run } = await startRun(db, opening)
  if (lease_token === null) throw new AppError('session_busy', 'Another run of this session is not over.')
  return { ...run, lease_token }
}

/** Milliseconds between two beats, and the seconds a lease lasts that nobody could take over. */
const BEAT_MS = 700
const LEASE_SECONDS = 120

/** The failure of an executor whose lease is lost. */
export const runLost = (): AppError => new AppError('conflict', 'The run was ended elsewhere.')

/** Why the database wants a run to stop, as an error. */
export const stopError = (reason: StopReason): AppError =>
  reason === 'membership_lost'
    ? new AppError('membership_lost', 'The run was stopped: its user is no longer a member.')
    : reason === 'agent_unpublished'
      ? new AppError('agent_unpublished', 'The run was stopped: its agent is no longer published.')
      : new AppError('conflict', 'The run was cancelled.')

/**
 * Renews the lease of a run that only its opener can carry out, until the returned function is called.
 * @param stop is aborted when the lease is lost, with `runLost()` as its reason, and when the database says so.
 */
export function holdRunLease(deps: Deps, run: StartedRun, stop: AbortController): () => void {
  const renew = async () => {
    try {
      const answer = await deps.ledger.beatRun(run.id, run.lease_token, LEASE_SECONDS)
      if (!answer.held) stop.abort(runLost())
      else if (answer.stop !== null) stop.abort(stopError(answer.stop))
    } catch (error) {
      // Tried again at the next beat; the lease outlasts several.
      deps.log.error('lease_renewal_failed', { run_id: run.run_id, error: describeError(error) })
    }
  }
  const timer = setInterval(() => void renew(), BEAT_MS)
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
