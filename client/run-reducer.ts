import type { Citation } from './chat-events.ts'

/**
 * One event of a run, however it came: a server-sent event, a Realtime message or a row of the log. Unknown kinds and fields
 * are kept as they are.
 */
export type RunEvent = {
  /** Its kind, e.g. `content_delta` or `tool_call`. Older transports call it `type`. */
  event?: string
  type?: string
  /** Number of the run; an event of another run is ignored. */
  run_id?: string
  /** Position in the run's log, from 1 without gaps. Events without one are no part of the log. */
  seq?: number
  /** The row stands for the positions `from_seq` to `seq`: deltas that were folded after the run. */
  from_seq?: number
  /** ISO 8601, UTC. */
  ts?: string
  /** Offset of a `content_delta` in the text; for `step_reset`, where the text goes on. As `String.prototype.length` counts. */
  off?: number
  delta?: string
  /** True: the event is too large for a broadcast and has to be read from the log. */
  ref?: boolean
  [field: string]: unknown
}

/** A call of a tool, as far as it has come. */
export type RunToolCall = {
  callId: string
  toolName: string
  arguments: unknown
  status: 'running' | 'waiting' | 'interrupted' | 'finished' | 'failed'
  /** What it gave, once it is finished. */
  result: unknown
}

/** What the events of a run amount to. */
export type RunState = {
  runId: string | null
  /** `unknown` before the first event; `waiting` while a person has to decide about a call. */
  status: 'unknown' | 'running' | 'waiting' | 'completed' | 'failed' | 'cancelled'
  /** The answer so far; of a run that is over, the answer. */
  content: string
  /** What the model thought aloud. */
  reasoning: string
  toolCalls: readonly RunToolCall[]
  citations: readonly Citation[]
  usage: Readonly<Record<string, number>> | null
  error: { message: string; code: string | null } | null
  /** Everything up to this position has been applied. */
  seq: number
  /** True: later events are known of than could be applied, so the log has to be read after `RunReducer.after()`. */
  hasGap: boolean
}

/** How a run is known to stand from elsewhere than its events. */
export type RunSummary = {
  status: string
  /** Number of the last event of its log. */
  lastSeq: number
  content: string | null
  error: string | null
  errorCode: string | null
}

export type RunReducer = {
  /** Takes one event from whatever transport, in whatever order. @returns whether the state has changed. */
  push(event: RunEvent): boolean
  /**
   * Takes how the run stands. A run that is over and whose log is gone ends here; later positions than ours are a gap.
   * @returns whether the state has changed.
   */
  settle(summary: RunSummary, isLogRead?: boolean): boolean
  /** The same object until something changes. */
  state(): RunState
  /** Position after which the log has to be read to go on. */
  after(): number
  isOver(): boolean
}

export type RunReducerOptions = {
  runId?: string
  /** Each event of the log once and in order; deltas as far as they are new. */
  onEvent?: (event: RunEvent) => void
  /** Events that may wait behind a gap; more are let go, because the log has them. Default 1000. */
  maxWaiting?: number
}

const OVER = new Set(['completed', 'failed', 'cancelled'])
const isOverStatus = (status: unknown): status is 'completed' | 'failed' | 'cancelled' => OVER.has(status as string)
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) > 0
const text = (value: unknown): string => (typeof value === 'string' ? value : '')
const kindOf = (event: RunEvent): string => text(event.event) || text(event.type)

/**
 * Puts the events of one run together, from any number of transports at once: server-sent events, Realtime and the log carry
 * the same events with the same positions, in pieces that may be cut differently. An event is applied once its predecessors
 * are; of text only what lies beyond the text so far.
 */
export function createRunReducer(options: RunReducerOptions = {}): RunReducer {
  const maxWaiting = options.maxWaiting ?? 1_000
  let runId = options.runId ?? null
  let status: RunState['status'] = 'unknown'
  let content = ''
  let reasoning = ''
  let toolCalls: readonly RunToolCall[] = []
  let citations: readonly Citation[] = []
  let usage: RunState['usage'] = null
  let error: RunState['error'] = null
  /** Everything up to here is applied. */
  let applied = 0
  /** The latest position that is known to exist. */
  let known = 0
  /** Steps that began again: of text from before `seq` only what lies before `off` counts. */
  let resets: { seq: number; off: number }[] = []
  /** Where the thoughts of a position begin: they carry no offsets. */
  let thoughtStarts = new Map<number, number>()
  /** Position of the last piece of the answer. Its rest may be missing, if it came in parts. */
  let textAt = 0
  /** True: it is, because a later piece begins beyond the text. */
  let hasHole = false
  let stepReasoning = 0
  const waiting = new Map<number, RunEvent[]>()
  let waitingCount = 0
  let snapshot: RunState | null = null

  const firstOf = (event: RunEvent, seq: number): number =>
    isCount(event.from_seq) && event.from_seq <= seq ? event.from_seq : seq

  function put(event: RunEvent): void {
    options.onEvent?.(event)
  }

  /** Adds what is new of a piece of the answer. @returns whether something was; null when text before it is missing. */
  function addText(event: RunEvent, seq: number): boolean | null {
    const delta = text(event.delta)
    // Without an offset it can only go on where the text ends, and its position says whether it is new.
    if (typeof event.off !== 'number' && seq <= applied) return false
    const start = event.off ?? content.length
    if (start > content.length) return null
    const limit = Math.min(Infinity, ...resets.filter((reset) => reset.seq > seq).map((reset) => reset.off))
    const fresh = delta.slice(Math.max(0, content.length - start), Math.max(0, limit - start))
    if (seq > applied || fresh !== '') textAt = Math.max(textAt, seq)
    if (fresh === '') return false
    const off = content.length
    content += fresh
    put({ ...event, delta: fresh, off })
    return true
  }

  /** The same of its thoughts, which come whole. */
  function addThought(event: RunEvent, seq: number): void {
    const first = firstOf(event, seq)
    const start = thoughtStarts.get(first) ?? reasoning.length
    thoughtStarts.set(first, start)
    const fresh = text(event.delta).slice(reasoning.length - start)
    if (fresh === '') return
    reasoning += fresh
    put({ ...event, delta: fresh })
  }

  function setCall(event: RunEvent, fields: Partial<RunToolCall>): void {
    const callId = text(event['call_id'])
    if (callId === '') return
    const at = toolCalls.findIndex((call) => call.callId === callId)
    const before: RunToolCall = toolCalls[at] ?? {
      callId,
      toolName: text(event['tool_name']),
      arguments: event['arguments'] ?? event['tool_input'] ?? {},
      status: 'running',
      result: null,
    }
    const call = { ...before, ...fields }
    toolCalls = at < 0 ? [...toolCalls, call] : toolCalls.with(at, call)
  }

  function end(event: RunEvent): void {
    status = isOverStatus(event['status']) ? event['status'] : 'completed'
    if (typeof event['content'] === 'string') content = event['content']
    if (Array.isArray(event['citations'])) citations = event['citations'] as Citation[]
    if (typeof event['usage'] === 'object' && event['usage'] !== null) usage = event['usage'] as Record<string, number>
    if (status === 'failed') {
      const code = event['code']
      error = {
        message: text(event['error']) || (error?.message ?? 'The run failed.'),
        code: typeof code === 'string' ? code : (error?.code ?? null),
      }
    } else {
      // What was told of an error before was not the end of it.
      error = null
    }
    hasHole = false
    waiting.clear()
    waitingCount = 0
  }

  function applyKind(event: RunEvent, kind: string, seq: number): void {
    switch (kind) {
      case 'step_started':
        stepReasoning = reasoning.length
        break
      case 'step_reset':
        // The step begins again: what it has said so far is taken back.
        resets.push({ seq, off: typeof event.off === 'number' ? event.off : content.length })
        content = content.slice(0, resets.at(-1)?.off)
        reasoning = reasoning.slice(0, stepReasoning)
        thoughtStarts = new Map()
        break
      case 'chunk':
        // The whole answer, possibly worded anew: late pieces from before say nothing about it.
        content = text(event['content'])
        resets.push({ seq, off: 0 })
        break
      case 'tool_call':
        setCall(event, { status: 'running' })
        break
      case 'approval_requested':
        setCall(event, { status: 'waiting' })
        break
      case 'call_interrupted':
        setCall(event, { status: 'interrupted' })
        break
      case 'tool_result':
        setCall(event, { status: event['is_error'] === true ? 'failed' : 'finished', result: event['result'] ?? null })
        break
      case 'error':
        // One within a step ends nothing by itself: what it comes to is told at the end of the run.
        if (event['step'] !== undefined) break
        error = {
          message: text(event['message']) || text(event['error']),
          code: typeof event['code'] === 'string' ? event['code'] : null,
        }
        break
      default:
    }
    status = kind === 'approval_requested' || kind === 'call_interrupted' ? 'waiting' : 'running'
  }

  /** Applies an event whose predecessors are applied. @returns false when it has to wait for missing text. */
  function apply(event: RunEvent, seq: number, kind: string): boolean {
    if (kind === 'content_delta') {
      if (addText(event, seq) === null) {
        hasHole = true
        return false
      }
      hasHole = false
      status = 'running'
    } else if (kind === 'reasoning_delta') {
      addThought(event, seq)
      status = 'running'
    } else {
      if (kind === 'complete') end(event)
      else applyKind(event, kind, seq)
      put(event)
    }
    applied = Math.max(applied, seq)
    return true
  }

  function keep(event: RunEvent, first: number): boolean {
    // The log has what does not fit.
    if (waitingCount >= maxWaiting) return false
    const there = waiting.get(first)
    if (there === undefined) waiting.set(first, [event])
    else if (there.some((other) => other.seq === event.seq && other.off === event.off && other.delta === event.delta))
      return false
    else there.push(event)
    waitingCount++
    return true
  }

  /** Applies what waited for this. */
  function drain(): void {
    for (let progressed = true; progressed && waitingCount > 0 && !isOverStatus(status); ) {
      progressed = false
      // Usually the next one; where rows overlap, any that begins at or before it.
      const ready = waiting.has(applied + 1)
        ? [applied + 1]
        : [...waiting.keys()].filter((first) => first <= applied + 1).sort((a, b) => a - b)
      for (const first of ready) {
        const events = (waiting.get(first) ?? []).sort((a, b) => (a.off ?? 0) - (b.off ?? 0))
        waiting.delete(first)
        waitingCount -= events.length
        const before = applied
        const left: RunEvent[] = []
        let isNew = false
        for (const event of events) {
          const outcome = take(event)
          if (outcome === 'waits') left.push(event)
          else isNew ||= outcome === 'applied'
        }
        for (const event of left) keep(event, first)
        progressed ||= isNew || applied > before
      }
    }
  }

  /** What becomes of a numbered event now. */
  function take(event: RunEvent): 'applied' | 'known' | 'waits' {
    const seq = event.seq as number
    const kind = kindOf(event)
    const first = firstOf(event, seq)
    if (first > applied + 1) return 'waits'
    if (seq > applied) return apply(event, seq, kind) ? 'applied' : 'waits'
    // Of what is applied only the rest of a piece that came in parts is news.
    return kind === 'content_delta' && addText(event, seq) === true ? 'applied' : 'known'
  }

  function push(event: RunEvent): boolean {
    const kind = kindOf(event)
    if (kind === '' || isOverStatus(status)) return false
    if (typeof event.run_id === 'string') {
      if (runId !== null && event.run_id !== runId) return false
      runId = event.run_id
    }
    const { seq } = event
    if (!isCount(seq) || (kind === 'complete' && seq <= applied)) {
      // Not of the log. Its end counts all the same: whoever says so has seen the run end.
      if (kind === 'complete') {
        end(event)
        put(event)
      } else if (kind === 'error') {
        applyKind(event, kind, applied)
      } else return false
      snapshot = null
      return true
    }
    const before = { applied, known, hasHole }
    known = Math.max(known, seq)
    let outcome: 'applied' | 'known' | 'waits' = 'known'
    if (event.ref !== true) {
      outcome = take(event)
      if (outcome === 'waits') keep(event, firstOf(event, seq))
      else if (outcome === 'applied') drain()
    }
    const hasChanged =
      outcome === 'applied' || applied !== before.applied || known !== before.known || hasHole !== before.hasHole
    if (hasChanged) snapshot = null
    return hasChanged
  }

  const hasGap = (): boolean => !isOverStatus(status) && (known > applied || hasHole)

  return {
    push,
    settle(summary, isLogRead = false) {
      if (isOverStatus(status)) return false
      const before = { status, known }
      known = Math.max(known, summary.lastSeq)
      if (isOverStatus(summary.status) && isLogRead) {
        // Its log is gone, or no longer whole: the run itself has the answer.
        const code = summary.errorCode ?? undefined
        end({
          event: 'complete',
          status: summary.status,
          error: summary.error,
          content: summary.content ?? content,
          code,
        })
      } else if (!isOverStatus(summary.status) && summary.lastSeq >= applied) {
        // What was read before the last event says nothing about it.
        status = summary.status === 'waiting' ? 'waiting' : 'running'
      }
      const hasChanged = status !== before.status || known !== before.known
      if (hasChanged) snapshot = null
      return hasChanged
    },
    state() {
      snapshot ??= {
        runId,
        status,
        content,
        reasoning,
        toolCalls,
        citations,
        usage,
        error,
        seq: applied,
        hasGap: hasGap(),
      }
      return snapshot
    },
    after: () => (hasHole && textAt > 0 ? textAt - 1 : applied),
    isOver: () => isOverStatus(status),
  }
}
