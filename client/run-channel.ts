import type { RealtimeChannel, SupabaseClient } from '@supabase/supabase-js'
import type { RunEvent } from './run-reducer.ts'

/** Who listens to a channel: gets every event of every run on it. */
export type ChannelListener = {
  event(event: RunEvent): void
  /** Gets what else is said on a person's channel: `membership_changed` and `approval_changed`. */
  notice?(name: string, payload: unknown): void
  up(): void
  down(): void
}

type SharedChannel = { listeners: Set<ChannelListener>; isUp: boolean; close: () => void }

const channels = new WeakMap<object, Map<string, SharedChannel>>()

/** Milliseconds before a channel that was closed is opened anew. */
const REOPEN_MS = [500, 1_000, 2_000, 5_000, 10_000]

/**
 * Listens to the `run_event` broadcasts of a private topic, `chat:{user id}` or `run:{run id}`. All who listen to one topic
 * over one client share a channel, because supabase-js has only one per topic. It outlives lost connections and expired tokens.
 * @returns a function that stops listening.
 */
export function listenTo(
  supabase: Pick<SupabaseClient, 'realtime' | 'channel' | 'removeChannel'>,
  topic: string,
  listener: ChannelListener,
): () => void {
  let byTopic = channels.get(supabase)
  if (byTopic === undefined) channels.set(supabase, (byTopic = new Map()))
  let shared = byTopic.get(topic)
  if (shared === undefined) {
    shared = open(supabase, topic)
    byTopic.set(topic, shared)
  }
  shared.listeners.add(listener)
  if (shared.isUp) queueMicrotask(() => shared.listeners.has(listener) && listener.up())
  return () => {
    if (!shared.listeners.delete(listener) || shared.listeners.size > 0) return
    byTopic.delete(topic)
    shared.close()
  }
}

function open(supabase: Pick<SupabaseClient, 'realtime' | 'channel' | 'removeChannel'>, topic: string): SharedChannel {
  let isClosed = false
  let channel: RealtimeChannel | null = null
  let timer: ReturnType<typeof setTimeout> | undefined
  let attempt = 0

  function tell(isUp: boolean): void {
    shared.isUp = isUp
    for (const listener of [...shared.listeners]) {
      if (isUp) listener.up()
      else listener.down()
    }
  }

  function reopen(): void {
    clearTimeout(timer)
    if (!isClosed) timer = setTimeout(() => void join(), REOPEN_MS[Math.min(attempt++, REOPEN_MS.length - 1)])
  }

  async function join(): Promise<void> {
    try {
      // Without this the first join is made with the project's key alone, and refused; and after an expiry the old token
      // would be sent again.
      await supabase.realtime.setAuth()
    } catch {
      return reopen()
    }
    if (isClosed) return
    // `replication_ready`: the server says when broadcasts of the database really arrive.
    const joined = supabase.channel(topic, { config: { private: true, broadcast: { replication_ready: true } } })
    channel = joined
    joined.on('broadcast', { event: 'run_event' }, ({ payload }) => {
      for (const listener of [...shared.listeners]) listener.event(payload as RunEvent)
    })
    for (const name of ['membership_changed', 'approval_changed']) {
      joined.on('broadcast', { event: name }, ({ payload }) => {
        for (const listener of [...shared.listeners]) listener.notice?.(name, payload)
      })
    }
    joined.on('system', {}, (message: { status?: string }) => {
      if (message.status === 'ok' && channel === joined) tell(true)
    })
    joined.subscribe((status) => {
      if (channel !== joined) return
      if (status === 'SUBSCRIBED') {
        attempt = 0
        tell(true)
      } else {
        tell(false)
        // After an error supabase-js rejoins by itself; a channel that was closed, e.g. because its token has expired, stays so.
        if (status === 'CLOSED') {
          channel = null
          reopen()
        }
      }
    })
  }

  const shared: SharedChannel = {
    listeners: new Set(),
    isUp: false,
    close() {
      isClosed = true
      clearTimeout(timer)
      const joined = channel
      channel = null
      if (joined !== null) void supabase.removeChannel(joined)
    },
  }
  void join()
  return shared
}
