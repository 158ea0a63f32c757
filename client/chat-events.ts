/** What an answer's mark `[citation_key]` stands for. */
export type Citation = {
  citation_key: number
  item_id: string | null
  source_id: string | null
  /** At most 300 characters of the cited passage. */
  text_excerpt: string
  meta: {
    chunk_id?: string
    source_name?: string
    /** From 1. */
    pages?: number[]
    start_char?: number
    end_char?: number
    score?: number
    [key: string]: unknown
  }
}

type Positioned = {
  /** Position in the run's stream, from 1 without gaps. */
  seq?: number
  /** It stands for the positions `from_seq` to `seq`: pieces that were folded after the run. */
  from_seq?: number
  /** ISO 8601, UTC. */
  ts?: string
}

/** The events of a chat, in the order they arrive: `session`, `start`, deltas, `chunk` with the whole text, `complete`. */
export type ChatEvent = Positioned &
  /** The conversation that the question belongs to. */
  (| { event: 'session'; session_id: string }
    | {
        event: 'start'
        run_id: string
        session_id: string
        chat_session_id?: string
        context_handler_id?: string | null
      }
    /** `off`: where it begins in the text, as `String.prototype.length` counts. */
    | { event: 'content_delta'; delta: string; off?: number }
    | { event: 'reasoning_delta'; delta: string }
    | { event: 'reasoning'; content: string }
    /** A step begins again: of the text only what lies before `off` stays. */
    | { event: 'step_reset'; step: number; reason: string; off?: number }
    | { event: 'chunk'; content: string }
    /** The time for one stream is over: the run goes on, and can be read on from position `after`. */
    | { event: 'stream_end'; run_id: string; after: number; reason: string }
    /** `step`: the model has failed in this step. Another without it follows, before `complete`. */
    | { event: 'error'; error: string; message?: string; code?: string; step?: number; request_id?: string }
    | {
        event: 'complete'
        run_id: string
        session_id: string
        content: string
        status: 'completed' | 'failed' | 'cancelled'
        error: string | null
        retrieved_items?: number
        is_new_session?: boolean
        citations?: Citation[]
        usage?: Record<string, number>
        message_id?: string
      }
    /** Kinds that later versions add; ignore what you do not know. */
    | { event: 'other'; name: string; data: Record<string, unknown> }
  )

const KNOWN = new Set([
  'session',
  'start',
  'content_delta',
  'reasoning_delta',
  'reasoning',
  'step_reset',
  'chunk',
  'stream_end',
  'error',
  'complete',
])

/** Parses the `data` of one server-sent event; null for something that is no event of ours. */
export function parseChatEvent(data: string): ChatEvent | null {
  let value: unknown
  try {
    value = JSON.parse(data)
  } catch {
    return null
  }
  if (typeof value !== 'object' || value === null) return null
  const record = value as Record<string, unknown>
  const name = record['event']
  if (typeof name !== 'string') return null
  if (KNOWN.has(name)) return record as ChatEvent
  // Its position counts like that of any other: whoever reads on must not be given it again.
  const { seq, ts } = record as Positioned
  return {
    event: 'other',
    name,
    data: record,
    ...(seq === undefined ? {} : { seq }),
    ...(ts === undefined ? {} : { ts }),
  }
}
