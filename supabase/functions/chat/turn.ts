import type { Citation } from '../_shared/citations.ts'
import type { Caller, Db } from '../_shared/context.ts'
import type { ErrorCode } from '../_shared/errors.ts'
import { describeError } from '../_shared/errors.ts'
import type { AppError } from '../_shared/errors.ts'
import type { ContextItem } from '../_shared/providers/index.ts'
import { contextItemsOf, search } from '../_shared/search.ts'
import { chatHistory } from '../_shared/search/history.ts'
import { commonSettings, readKnowledgeBases } from '../_shared/search/settings.ts'
import type { ChatDeps } from './env.ts'
import { turnFailure } from './failure.ts'
import { answerFromForeignAgent } from './foreign-agent.ts'
import { answerFromOwnAgent } from './own-agent.ts'

/** A turn as public.begin_chat_turn opens it: the question is stored, the answer is to come. */
export type OpenTurn = {
  session_id: string
  is_new_session: boolean
  agent_id: string
  tenant_id: string
  user_id: string
  /** Id of the stored question. */
  message_id: string
  knowledge_base_ids: string[]
}

/** All a turn needs. `db` and `caller` are narrowed to the turn's tenant. */
export type TurnContext = {
  deps: ChatDeps
  db: Db
  caller: Caller
  turn: OpenTurn
  message: string
  /** The agent's session behind the person's: one per agent, because a session of the agent API never changes its agent. */
  agentSessionId: string
  /** Knowledge bases the person has named; null: they left it to the agent. */
  knowledgeBaseIds: string[] | null
  requestId: string
  /** Aborted when the asker has left, and at the end. */
  left: AbortSignal
}

/** Takes the events for the client. */
export type Send = (event: Record<string, unknown>) => void

/** What an agent made of the question. Kept up to date while it streams, so that a cut leaves what there was. */
export type Answer = {
  content: string
  status: 'complete' | 'failed'
  error: { message: string; code: ErrorCode } | null
  /** Internal id of the run behind the answer, once it is known. */
  runUuid: string | null
  /** The agent's own `complete`; null when the stream broke off before it. */
  complete: Record<string, unknown> | null
  citations: Citation[]
  /**
   * The stream ended before the run, which goes on: the answer comes in the run's log after this position. The reason is that of
   * `stream_end`.
   */
  openRun: { run_id: string; after: number; reason: string } | null
}

/** Chunks that are retrieved for a question. */
const MATCH_COUNT = 8
/** The whole answer; the platform ends a request after 150 s. */
const TURN_TIMEOUT_MS = 140_000

/**
 * Answers one question: retrieves under the asker's own token, lets the agent answer, forwards its events and stores the
 * message. Ends with exactly one `complete` event, or with `stream_end` while the run goes on elsewhere. It throws only what nobody
 * expects: `tellCrash` says what is said then.
 */
export async function runTurn(context: TurnContext, send: Send): Promise<void> {
  const { deps, turn } = context
  send({
    event: 'session',
    type: 'session',
    session_id: turn.session_id,
    message_id: turn.message_id,
    agent_id: turn.agent_id,
    is_new_session: turn.is_new_session,
    seq: 0,
    ts: new Date().toISOString(),
  })
  const answer = noAnswer()
  const timeout = new AbortController()
  const timer = setTimeout(() => timeout.abort(), TURN_TIMEOUT_MS)
  try {
    const items = await retrieve(context, context.knowledgeBaseIds ?? turn.knowledge_base_ids, timeout.signal)
    const ask = deps.agentEndpoint.isOwn ? answerFromOwnAgent : answerFromForeignAgent
    await ask(context, items, answer, send, timeout.signal)
  } catch (error) {
    const failure = turnFailure(error)
    deps.log.error('turn_failed', { request_id: context.requestId, code: failure.code, error: describeError(error) })
    answer.status = 'failed'
    answer.error = { message: failure.message, code: failure.code }
    // An error the agent has told itself is not told twice.
    if (answer.complete === null)
      send({ ...errorEvent(failure), session_id: turn.session_id, ts: new Date().toISOString() })
  } finally {
    clearTimeout(timer)
  }
  if (answer.openRun !== null) {
    return send({ event: 'stream_end', type: 'stream_end', ...answer.openRun })
  }
  const messageId = await store(context, answer)
  send({
    ...(answer.complete ?? completeEvent(answer)),
    session_id: turn.session_id,
    is_new_session: turn.is_new_session,
    message_id: messageId,
    user_message_id: turn.message_id,
  })
}

/** The end of a turn that has failed in a way nobody expects: `error`, then `complete`. Nothing is stored. */
export function tellCrash(turn: OpenTurn, error: unknown, send: Send): void {
  const failure = turnFailure(error)
  const answer: Answer = { ...noAnswer(), status: 'failed', error: { message: failure.message, code: failure.code } }
  const ids = { session_id: turn.session_id, user_message_id: turn.message_id }
  send({ ...errorEvent(failure), session_id: turn.session_id, ts: new Date().toISOString() })
  send({ ...completeEvent(answer), ...ids, is_new_session: turn.is_new_session, message_id: null })
}

const noAnswer = (): Answer => ({
  content: '',
  status: 'complete',
  error: null,
  runUuid: null,
  complete: null,
  citations: [],
  openRun: null,
})

async function retrieve(context: TurnContext, ids: string[], signal: AbortSignal): Promise<ContextItem[]> {
  if (ids.length === 0) return []
  const { db, caller, deps, turn, message, requestId } = context
  const settings = commonSettings(await readKnowledgeBases(db, ids))
  // An answer quotes passages; so many whole documents would be more than a model reads.
  const request = { ...settings, query: message, knowledgeBaseIds: ids, topK: MATCH_COUNT, wholeDocuments: false }
  const searcher = {
    db,
    caller,
    spender: { tenantId: turn.tenant_id, userId: turn.user_id, agentId: turn.agent_id },
    history: () => chatHistory(db, turn.session_id, turn.message_id),
  }
  const { hits, warnings } = await search(searcher, deps.search, request, signal)
  if (warnings.length > 0) deps.log.info('retrieval_warnings', { request_id: requestId, warnings })
  return contextItemsOf(hits)
}

const errorEvent = (failure: AppError) => ({
  event: 'error',
  type: 'error',
  error: failure.message,
  message: failure.message,
  code: failure.code,
})

const completeEvent = (answer: Answer) => ({
  event: 'complete',
  type: 'complete',
  content: answer.content,
  status: answer.status === 'complete' ? 'completed' : 'failed',
  error: answer.error?.message ?? null,
  ...(answer.error === null ? {} : { code: answer.error.code }),
  citations: answer.citations,
  tool_calls: [],
  usage: {},
  ts: new Date().toISOString(),
})

/** Stores the answer. @returns its id, or null when it could not be stored, e.g. because the session was deleted meanwhile. */
async function store({ deps, turn, requestId }: TurnContext, answer: Answer): Promise<string | null> {
  try {
    const message = await deps.ledger.finishChatTurn({
      sessionId: turn.session_id,
      userMessageId: turn.message_id,
      ...(answer.runUuid === null ? {} : { runId: answer.runUuid }),
      content: answer.content,
      status: answer.status,
      // What other devices of the person get by Realtime.
      payload: {
        event: 'complete',
        content: answer.content,
        status: answer.status === 'complete' ? 'completed' : 'failed',
        citations: answer.citations,
        ...(answer.error === null ? {} : { error: answer.error.message, code: answer.error.code }),
      },
    })
    return message.id
  } catch (error) {
    deps.log.error('finish_chat_turn_failed', { request_id: requestId, error: describeError(error) })
    return null
  }
}
