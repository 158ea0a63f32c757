import type { Emit } from '../sse.ts'

/** Events that are not kept with a run: the frame, and pieces of what is kept as a whole. */
export const NOT_KEPT = ['start', 'chunk', 'complete', 'content_delta', 'reasoning_delta']
/** Characters of a tool result in a kept event; the whole is in the run's tool calls. */
const MAX_KEPT_CHARS = 2_000
export const MAX_EVENTS = 1_000

/** The events of a run that are stored with it. */
export type RunTrace = { emit: Emit; events: Record<string, unknown>[] }

const kept = (event: Record<string, unknown>): Record<string, unknown> => {
  const result = event['result']
  return typeof result === 'string' ? { ...event, result: result.slice(0, MAX_KEPT_CHARS) } : event
}

/** Passes events on and keeps those that say how a run went. @param earlier of the run, from executors before this one. */
export function recordEvents(emit: Emit, earlier: readonly Record<string, unknown>[] = []): RunTrace {
  const events = earlier.map(kept)
  return {
    events,
    emit(event, fields) {
      emit(event, fields)
      if (NOT_KEPT.includes(event) || events.length >= MAX_EVENTS) return
      events.push(kept({ event, type: event, ...fields, ts: new Date().toISOString() }))
    },
  }
}
