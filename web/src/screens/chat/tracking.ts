import { useSyncExternalStore } from 'react'
import type { Bulkhead, Citation, RunEvent, RunFollower, RunState } from '../../../../client/index.ts'
import { type Activity, activityOf, NO_ACTIVITY } from '../runs/activity.ts'

/** A run that this window follows, and what of it the reducer of the client does not keep. */
export type TrackedRun = {
  follower: RunFollower
  /** Steps and calls so far; the same object until something changes. */
  activity(): Activity
  /** What marks of the answer may stand for, known before the answer is. */
  candidates(): readonly Citation[]
}

const DELTAS = new Set(['content_delta', 'reasoning_delta', 'chunk'])

/** Follows a run by Realtime and its log, and with `withStream` by an event stream as well. */
export function trackRun(bulkhead: Bulkhead, userId: string, runId: string, withStream: boolean): TrackedRun {
  const events: RunEvent[] = []
  let activity: Activity | null = NO_ACTIVITY
  let candidates: readonly Citation[] = []
  const follower = bulkhead.followRun(runId, {
    topic: `chat:${userId}`,
    withStream,
    onEvent(event) {
      const kind = event.event ?? event.type ?? ''
      if (DELTAS.has(kind)) return
      if (kind === 'start' && Array.isArray(event['citation_candidates'])) {
        candidates = event['citation_candidates'] as Citation[]
      }
      events.push(event)
      activity = null
    },
  })
  return { follower, activity: () => (activity ??= activityOf(events)), candidates: () => candidates }
}

const nothing = { subscribe: () => () => undefined, state: () => null }

/** The state of a tracked run, rendered anew with each change; null without one. */
export function useTrackedRun(run: TrackedRun | null): RunState | null {
  const store = run?.follower ?? nothing
  return useSyncExternalStore<RunState | null>(store.subscribe, store.state)
}
