import { useMemo, useSyncExternalStore } from 'react'
import type { SupabaseClient } from '@supabase/supabase-js'
import type { Database } from './database.types.ts'
import { followRun } from './follow-run.ts'
import type { FollowRunOptions } from './follow-run.ts'
import type { RunFollower } from './run-follower.ts'
import type { RunState } from './run-reducer.ts'

// React is a peer: the app brings it.

const NOTHING = { subscribe: () => () => undefined, state: () => null }

/**
 * The state of a run that is followed elsewhere, e.g. with a stream of its own pushed into it; null without one.
 * Follows while the component is mounted.
 */
export function useRunFollower(follower: RunFollower | null): RunState | null {
  const store = follower ?? NOTHING
  return useSyncExternalStore<RunState | null>(store.subscribe, store.state, store.state)
}

/**
 * Follows a run while the component is mounted, and renders it anew with each change.
 *
 *     const run = useRun(supabase, runId, { topic: `chat:${user.id}` })
 *     return <Answer text={run?.content ?? ''} isBusy={run?.status === 'running'} />
 *
 * @param runId null: nothing is followed. @param options read when the run or the topic changes.
 */
export function useRun(
  supabase: SupabaseClient<Database> | SupabaseClient,
  runId: string | null,
  options: FollowRunOptions = {},
): RunState | null {
  const { topic } = options
  const follower = useMemo(
    () => (runId === null ? null : followRun(supabase, runId, options)),
    // The rest of the options is usually a new object with each rendering.
    [supabase, runId, topic],
  )
  return useRunFollower(follower)
}
