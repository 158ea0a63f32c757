import { useQueryClient } from '@tanstack/react-query'
import { useCallback, useEffect, useRef, useState } from 'react'
import { flushSync } from 'react-dom'
import { BulkheadError, watchRuns, type RunEvent } from '../../../../client/index.ts'
import { useBackend } from '../../app/backend.ts'
import { trackRun, type TrackedRun } from './tracking.ts'

/** A question of this window, from the moment it is sent. */
export type Ask = {
  key: number
  /** Null until the server has made the conversation. */
  sessionId: string | null
  question: string
  agentId: string | undefined
  /** Id of the stored question; null until it is. */
  messageId: string | null
  runId: string | null
  /** Text that came without positions: of an agent elsewhere, whose events are in no log. */
  text: string
  /** The new conversation of this window that it began; null in one that was there. */
  draft: number | null
  /** Messages that were there before, to tell the stored question from an earlier one with the same words. */
  knownIds: ReadonlySet<string>
  /** Why it was not taken, or not answered. */
  error: unknown
  isOver: boolean
}

export type Asking = {
  asks: readonly Ask[]
  /** Sends a question. `onSession` is called when its conversation is known. */
  ask: (
    question: string,
    to: {
      sessionId: string | null
      draft: number | null
      agentId?: string | undefined
      knownIds: ReadonlySet<string>
      onSession?: (sessionId: string) => void
    },
  ) => void
  /** Forgets one that failed. */
  dismiss: (key: number) => void
  /** Follows a run, once, whoever asks for it; by a stream as well if it was there before this screen was. */
  track: (runId: string, createdAt: string | null) => TrackedRun
}

type ToldEvent = RunEvent & { session_id?: string; message_id?: string }

/** Runs go on without the connection they were asked on; what it breaks with is no failure of theirs. */
const isOfConnection = (error: unknown): boolean =>
  error instanceof BulkheadError && ['stream_cut', 'network'].includes(error.code)

/** The questions of this window, and the runs that it follows, its own and those of other windows. */
export function useAsking(): Asking {
  const { supabase, bulkhead, user } = useBackend()
  const queryClient = useQueryClient()
  const [asks, setAsks] = useState<readonly Ask[]>([])
  const runs = useRef(new Map<string, TrackedRun>())
  const nextKey = useRef(1)
  const [openedAt] = useState(Date.now)
  const leaving = useRef(new AbortController())

  const refresh = useCallback(() => void queryClient.invalidateQueries({ queryKey: ['chat'] }), [queryClient])

  // What begins in another window or on another device.
  useEffect(() => watchRuns(supabase, user.id, refresh), [supabase, user.id, refresh])
  useEffect(() => {
    leaving.current = new AbortController()
    return () => leaving.current.abort()
  }, [])

  const track = useCallback(
    (runId: string, createdAt: string | null): TrackedRun => {
      const found = runs.current.get(runId)
      if (found) return found
      // Of what begins while this screen is open Realtime tells. What went on before is read on by a stream, as a reload
      // has cut off the one it was asked on.
      const isResumed = createdAt !== null && Date.parse(createdAt) < openedAt
      const run = trackRun(bulkhead, user.id, runId, isResumed)
      runs.current.set(runId, run)
      return run
    },
    [bulkhead, user.id, openedAt],
  )

  const change = useCallback(
    (key: number, fields: Partial<Ask>) =>
      setAsks((all) => all.map((each) => (each.key === key ? { ...each, ...fields } : each))),
    [],
  )

  const ask = useCallback<Asking['ask']>(
    (question, { sessionId, draft, agentId, knownIds, onSession }) => {
      const key = nextKey.current++
      const { signal } = leaving.current
      const begun: Ask = {
        ...{ key, sessionId, draft, question, agentId, knownIds },
        ...{ messageId: null, runId: null, text: '', error: null, isOver: false },
      }
      // Those that failed before in this conversation have been seen.
      setAsks((all) => [...all.filter((each) => each.sessionId !== sessionId || each.error === null), begun])
      const send = async () => {
        let run: TrackedRun | null = null
        let text = ''
        try {
          const events = bulkhead.chat({
            message: question,
            ...(sessionId ? { sessionId } : {}),
            ...(agentId ? { agentId } : {}),
            signal,
          })
          for await (const event of events) {
            // Kinds that the typed client does not know by name come wrapped.
            const told = (event.event === 'other' ? event.data : event) as ToldEvent
            if (told.event === 'session') {
              // The address and the question change at once, so that nothing flickers.
              flushSync(() => {
                change(key, { sessionId: told.session_id ?? null, messageId: told.message_id ?? null })
                if (sessionId === null && told.session_id) onSession?.(told.session_id)
              })
              refresh()
              continue
            }
            if (told.event === 'start' && told.run_id) {
              run = track(told.run_id, null)
              change(key, { runId: told.run_id })
              refresh()
            }
            if (told.event === 'error' && run === null) change(key, { error: errorOf(told) })
            if (told.event === 'content_delta' && told.seq === undefined) {
              text += told.delta ?? ''
              change(key, { text })
            }
            run?.follower.push(told)
          }
        } catch (error) {
          if (signal.aborted) return
          if (run === null || !isOfConnection(error)) change(key, { error })
        } finally {
          if (!signal.aborted) {
            change(key, { isOver: true })
            refresh()
          }
        }
      }
      void send()
    },
    [bulkhead, change, refresh, track],
  )

  const dismiss = useCallback((key: number) => setAsks((all) => all.filter((each) => each.key !== key)), [])

  return { asks, ask, dismiss, track }
}

const errorOf = (event: RunEvent): BulkheadError =>
  new BulkheadError(String(event['message'] ?? event['error'] ?? 'The question was not answered.'), {
    code: typeof event['code'] === 'string' ? event['code'] : 'upstream_failed',
    status: 0,
    details: event,
  })
