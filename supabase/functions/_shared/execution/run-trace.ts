import type { Emit } from '../sse.ts'

/** Events that are not kept with a run: the frame, and pieces of what is kept as a whole. */
const NOT_KEPT = new Set(['start', 'chunk', 'complete', 'content_delta', 'reasoning_delta'])
/** Characters of a tool result in a kept event; the whole is in the run's tool calls. */
const MAX_KEPT_CHARS = 2_000
const MAX_EVENTS = 1_000

/** The events of a run that are stored with it. */
export type RunTrace = { emit: Emit; events: Record<string, unknown>[] }

/** Passes events on and keeps those that say how a run went. */
export function recordEvents(emit: Emit): RunTrace {
  const events: Record<string, unknown>[] = []
  return {
    events,
    emit(event, fields) {
      emit(event, fields)
      if (NOT_KEPT.has(event) || events.length >= MAX_EVENTS) return
      const result = fields['result']
      events.push({
        event,
        type: event,
        ...fields,
        ...(typeof result === 'string' ? { result: result.slice(0, MAX_KEPT_CHARS) } : {}),
        ts: new Date().toISOString(),
      })
    },
  }
}
