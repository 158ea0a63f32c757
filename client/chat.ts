import { type ChatEvent, parseChatEvent } from './chat-events.ts'
import type { Connection } from './connection.ts'
import { BulkheadError } from './errors.ts'
import { readEvents } from './read-events.ts'
import { isOfStreamAlone } from './run-follower.ts'

export type ChatOptions = {
  message: string
  /** Default: a new session; the first event names it. */
  sessionId?: string
  /** Default: the session's agent, or the tenant's default agent. */
  agentId?: string
  knowledgeBaseIds?: string[]
  signal?: AbortSignal
}

/** Asking, and reading on where a stream broke off. */
export function chatMethods(connection: Connection) {
  const { open } = connection
  return {
    /**
     * Asks, and yields the events of the answer as they arrive. Print either the deltas or the final `chunk`, not both.
     * A connection that breaks, and a stream that fails or whose time is over, go on where they stopped, in the log of the run.
     * Leaving the loop or aborting the signal closes the connection; the answer is still finished and stored.
     * Throws `stream_cut` when the connection ends before `complete` and cannot be had again.
     */
    async *chat(chat: ChatOptions): AsyncGenerator<ChatEvent, void, undefined> {
      const body = {
        message: chat.message,
        ...(chat.sessionId ? { session_id: chat.sessionId } : {}),
        ...(chat.agentId ? { agent_id: chat.agentId } : {}),
        ...(chat.knowledgeBaseIds ? { knowledge_base_ids: chat.knowledgeBaseIds } : {}),
      }
      let position = { runId: '', sessionId: '', seq: 0 }
      // A run that waits for another of its session is in the log before it has any event.
      let isInLog = false
      const unheard = createPieces()
      let stream = await open('chat', { method: 'POST', body, signal: chat.signal })
      for (let attempt = 0; ; attempt++) {
        let cause: unknown
        try {
          for await (const event of eventsOf(stream)) {
            // What is resumed names the agent's session; the person's is the one of the beginning.
            const told =
              position.sessionId !== '' && (event.event === 'start' || event.event === 'complete')
                ? { ...event, session_id: position.sessionId }
                : event
            if (event.event === 'session') position = { ...position, sessionId: event.session_id }
            if (event.event === 'start') {
              position = { ...position, runId: event.run_id, sessionId: position.sessionId || event.session_id }
            }
            if (event.event === 'stream_end') {
              position = { ...position, runId: event.run_id }
              isInLog = true
              // Its time is over, and the server says so: that is no failure, however little it has brought.
              if (event.reason === 'time_limit') attempt = 0
              continue
            }
            if (event.seq !== undefined && event.seq > 0) {
              if (event.seq <= position.seq) continue
              position = { ...position, seq: event.seq }
              isInLog = true
              attempt = 0
            }
            // The stream has failed, not the run: that goes on in its log.
            if (isInLog && isOfStreamAlone(event)) break
            const rest = unheard(told)
            if (rest !== null) yield rest
            if (event.event === 'complete') return
          }
        } catch (error) {
          cause = error
        }
        chat.signal?.throwIfAborted()
        // Events without numbers are those of a foreign agent: they are in no log.
        if (!isInLog || attempt >= RESUME_DELAYS_MS.length) throw cutOff(cause)
        stream = await resume(position, attempt, chat.signal)
      }
    },
  }

  /** Opens the stream of a run where another broke off, as soon as it can be had. */
  async function resume(
    { runId, seq }: { runId: string; seq: number },
    attempt: number,
    signal: AbortSignal | undefined,
  ): Promise<ReadableStream<Uint8Array>> {
    for (let next = attempt; ; next++) {
      await new Promise((resolve) => setTimeout(resolve, RESUME_DELAYS_MS[next]))
      signal?.throwIfAborted()
      try {
        return await open(`api/agents/runs/${encodeURIComponent(runId)}/stream?after=${seq}`, { method: 'GET', signal })
      } catch (error) {
        signal?.throwIfAborted()
        const isHopeless = error instanceof BulkheadError && error.status >= 400 && error.status < 429
        if (isHopeless || next + 1 >= RESUME_DELAYS_MS.length) throw cutOff(error)
      }
    }
  }
}

/** Milliseconds before each attempt to get a stream again that broke off. */
const RESUME_DELAYS_MS = [100, 500, 1_000, 2_000, 5_000]

const cutOff = (cause: unknown): BulkheadError => {
  const error = new BulkheadError('The answer was cut off.', { code: 'stream_cut', status: 0 })
  error.cause = cause
  return error
}

/**
 * Lets of a piece of text only what has not been told yet. Some minutes after a run its neighbouring pieces are folded, so that what
 * is read on after one of them begins before it; null where nothing is left.
 */
function createPieces(): (event: ChatEvent) => ChatEvent | null {
  const pieces: { seq: number; chars: number }[] = []
  return (event) => {
    if ((event.event !== 'content_delta' && event.event !== 'reasoning_delta') || event.seq === undefined) return event
    const { seq, from_seq: first = seq, ...rest } = event
    let known = 0
    // Their positions only grow.
    for (let at = pieces.length - 1; at >= 0; at--) {
      const piece = pieces[at]
      if (piece === undefined || piece.seq < first) break
      known += piece.chars
    }
    const delta = event.delta.slice(known)
    pieces.push({ seq, chars: delta.length })
    if (known === 0) return event
    if (delta === '') return null
    const off = rest.event === 'content_delta' && rest.off !== undefined ? { off: rest.off + known } : {}
    return { ...rest, seq, delta, ...off }
  }
}

async function* eventsOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<ChatEvent, void, undefined> {
  for await (const data of readEvents(stream)) {
    const event = parseChatEvent(data)
    if (event) yield event
  }
}
