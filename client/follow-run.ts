import type { SupabaseClient } from '@supabase/supabase-js'
import type { Database } from './database.types.ts'
import { listenTo } from './run-channel.ts'
import { createRunFollower } from './run-follower.ts'
import type { RunFollower, RunFollowerOptions, RunTransport } from './run-follower.ts'
import type { RunEvent } from './run-reducer.ts'

type AnyClient = SupabaseClient<Database> | SupabaseClient

export type FollowRunOptions = RunFollowerOptions & {
  /**
   * Where the events arrive: `chat:{user id}`, one channel for all runs of the signed-in person, or `run:{run id}` (default),
   * one per run. False: no Realtime.
   */
  topic?: string | false
  /** Opens an event stream of the run; without it Realtime and the log are enough. */
  stream?: RunTransport['stream']
}

/** Rows per reading of the log. */
const PAGE = 500

type RunRow = {
  id: string
  status: string
  last_seq: number
  content: string | null
  error: string | null
  error_code: string | null
}
type EventRow = { seq: number; payload: Record<string, unknown>; created_at: string }

/** Reads the log of a run under the rights of whoever is signed in. */
export function readRunLog(supabase: AnyClient): RunTransport['readLog'] {
  const ai = (supabase as SupabaseClient).schema('ai')
  return async (runId, after) => {
    // The run first: what its log holds afterwards is at least that.
    const run = await ai
      .from('agent_runs')
      .select('id,status,last_seq,content,error,error_code')
      .eq('run_id', runId)
      .maybeSingle<RunRow>()
    if (run.error) throw run.error
    if (run.data === null) return null
    const { id, status, last_seq, content, error, error_code } = run.data
    const rows = await ai
      .from('run_events')
      .select('seq,payload,created_at')
      .eq('run_id', id)
      .gt('seq', after)
      .order('seq')
      .limit(PAGE)
      .returns<EventRow[]>()
    if (rows.error) throw rows.error
    return {
      summary: { status, lastSeq: last_seq, content, error, errorCode: error_code },
      events: rows.data.map((row) => ({ ts: row.created_at, ...row.payload, run_id: runId, seq: row.seq })),
      isWhole: rows.data.length < PAGE,
    }
  }
}

/**
 * Follows a run from any device of its person: live by Realtime, and from the log whatever Realtime has lost. It outlives
 * sleep, lost connections and expired tokens, and ends with the run.
 *
 *     const run = followRun(supabase, runId)
 *     const stop = run.subscribe(() => render(run.state()))
 */
export function followRun(supabase: AnyClient, runId: string, options: FollowRunOptions = {}): RunFollower {
  const { topic = `run:${runId}`, stream, ...rest } = options
  const listen: RunTransport['listen'] = (_runId, listener) => {
    const stops = [watchWaking(() => void follower.check())]
    if (topic !== false) stops.push(listenTo(supabase as SupabaseClient, topic, listener))
    return () => {
      for (const stop of stops) stop()
    }
  }
  const follower = createRunFollower(
    { listen, readLog: readRunLog(supabase), ...(stream === undefined ? {} : { stream }) },
    runId,
    rest,
  )
  return follower
}

/**
 * Tells of each run of the signed-in person as its first event arrives, on whichever device it was begun; runs that went on
 * before are told of with their next event. @returns a function that stops it.
 */
export function watchRuns(supabase: AnyClient, userId: string, onRun: (runId: string) => void): () => void {
  const seen = new Set<string>()
  return listenTo(supabase as SupabaseClient, `chat:${userId}`, {
    event({ run_id }: RunEvent) {
      if (typeof run_id !== 'string' || seen.has(run_id)) return
      seen.add(run_id)
      onRun(run_id)
    },
    up() {},
    down() {},
  })
}

/** Calls when a page may have slept: timers and sockets stand still while it is hidden. */
function watchWaking(onWake: () => void): () => void {
  // Named without the types of a browser, which not everybody who uses this has.
  const { document: page } = globalThis as { document?: EventTarget & { visibilityState: string } }
  const onVisible = (): void => {
    if (page?.visibilityState === 'visible') onWake()
  }
  page?.addEventListener('visibilitychange', onVisible)
  globalThis.addEventListener?.('online', onWake)
  return () => {
    page?.removeEventListener('visibilitychange', onVisible)
    globalThis.removeEventListener?.('online', onWake)
  }
}
