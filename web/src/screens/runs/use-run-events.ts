import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useEffect, useMemo, useState, useSyncExternalStore } from 'react'
import type { RunEvent } from '../../../../client/index.ts'
import { useBackend } from '../../app/backend.ts'
import { activityOf, NO_ACTIVITY, type Activity } from './activity.ts'
import { isActiveStatus, readActivity, readLog, type RunDetail } from './data.ts'

/** The log of a run, with what it amounts to. */
export type RunEvents = { events: readonly RunEvent[]; activity: Activity; content: string; isLoaded: boolean }

const DELTAS = new Set(['content_delta', 'reasoning_delta'])

/** Reads the log, and goes on with it live while the run does. The pieces of its answer are left out of `events`. */
export function useRunEvents(run: RunDetail): RunEvents {
  const { supabase, bulkhead, user } = useBackend()
  const queryClient = useQueryClient()
  const isActive = isActiveStatus(run.status)
  // A run that was active when it was opened is followed to its end.
  const [wasActive, setWasActive] = useState(isActive)
  if (isActive && !wasActive) setWasActive(true)

  const live = useMemo(() => {
    if (!wasActive) return null
    const events: RunEvent[] = []
    let seen = { events: [] as readonly RunEvent[], activity: NO_ACTIVITY, count: 0 }
    const follower = bulkhead.followRun(run.run_id, {
      topic: run.user_id === user.id ? `chat:${user.id}` : `run:${run.run_id}`,
      onEvent(event) {
        if (!DELTAS.has(event.event ?? event.type ?? '')) events.push(event)
      },
    })
    const read = () => {
      if (seen.count !== events.length)
        seen = { events: [...events], activity: activityOf(events), count: events.length }
      return seen
    }
    return { follower, read }
  }, [bulkhead, run.run_id, run.user_id, user.id, wasActive])

  const store = live?.follower ?? NOTHING
  const state = useSyncExternalStore(store.subscribe, store.state)
  const steps = state?.toolCalls
  useEffect(() => {
    // Status, usage and the like are read anew when something of weight has happened.
    if (state) void queryClient.invalidateQueries({ queryKey: ['runs', 'one'] })
  }, [state?.status, steps, queryClient])

  const stored = useQuery({
    queryKey: ['runs', 'log', run.id],
    enabled: !wasActive,
    queryFn: async ({ signal }) => {
      const events = await readLog(supabase, run.id, signal)
      const activity = activityOf(events)
      return { events, activity: activity.steps.length > 0 ? activity : await readActivity(supabase, run.id, signal) }
    },
    staleTime: Infinity,
  })
  if (live) {
    const { events, activity } = live.read()
    return { events, activity, content: state?.content ?? '', isLoaded: (state?.seq ?? 0) > 0 }
  }
  return {
    events: stored.data?.events ?? [],
    activity: stored.data?.activity ?? NO_ACTIVITY,
    content: '',
    isLoaded: stored.isFetched,
  }
}

const NOTHING = { subscribe: () => () => undefined, state: () => null }
