import { BulkheadError } from './errors.ts'
import { createRunReducer } from './run-reducer.ts'
import type { RunEvent, RunReducer, RunState, RunSummary } from './run-reducer.ts'

/** A part of a run's log, with how the run stood just before it was read. */
export type RunLogPage = {
  summary: RunSummary
  events: RunEvent[]
  /** False: there is more after these. */
  isWhole: boolean
}

/** What a live transport tells. */
export type RunListener = {
  event(event: RunEvent): void
  /** It listens from now on. Called again after each interruption. */
  up(): void
  /** It does not listen for the time being. */
  down(): void
}

/** Where the events of a run come from. */
export type RunTransport = {
  /** Begins to listen. @returns a function that ends it. */
  listen?(runId: string, listener: RunListener): () => void
  /** Reads the log after a position; null when there is no such run for the caller. */
  readLog(runId: string, after: number): Promise<RunLogPage | null>
  /** Reads a stream of events after a position; one that ends early is opened again. */
  stream?(runId: string, after: number, signal: AbortSignal): AsyncIterable<RunEvent>
}

export type RunFollowerOptions = {
  /** Each event of the log once and in order. */
  onEvent?: (event: RunEvent) => void
  /** Milliseconds that a gap may stay before the log is read. Default 400. */
  gapMs?: number
  /** Milliseconds of silence after which the log is read, while a transport is up. Default 10 seconds. */
  silenceMs?: number
}

/** Follows one run to its end, over whatever transports there are. */
export type RunFollower = {
  readonly runId: string
  /** The same object until something changes. */
  state(): RunState
  /** Why following has ended before the run: `not_found` when the caller may not read it (any more). */
  error(): BulkheadError | null
  /** Follows while somebody listens; from where it stopped, if it did before. @returns a function that stops listening. */
  subscribe(onChange: () => void): () => void
  /** Takes an event from a stream that is read elsewhere, e.g. the one the question was asked on. */
  push(event: RunEvent): void
  /** Reads the log now, e.g. because the device has woken up. */
  check(): Promise<void>
  /** Waits for the end of the run. @throws BulkheadError `not_found`; or the reason of the signal. */
  finished(signal?: AbortSignal): Promise<RunState>
}

/** Milliseconds between attempts; the last one again and again. */
const BACKOFF_MS = [500, 1_000, 2_000, 5_000, 10_000]
const backoff = (attempt: number): number => BACKOFF_MS[Math.min(attempt, BACKOFF_MS.length - 1)] ?? 0
/** Milliseconds between two readings of the log while no transport is up. */
const POLL_MS = 2_000
/** Silence is borne longer and longer, up to this many milliseconds: a run may wait a month for a person. */
const MAX_SILENCE_MS = 60_000

/** Why a stream ends that its viewer may not read any more. */
const NOT_THEIRS = new Set(['not_found', 'membership_lost'])
/** Whether the event tells that its stream has failed, and nothing of the run: it is in no log. */
export const isOfStreamAlone = ({ event, type, seq, code }: RunEvent): boolean =>
  seq === undefined && ['error', 'complete'].includes(event ?? type ?? '') && !NOT_THEIRS.has(code as string)

/** Makes the follower; it does nothing until somebody subscribes. */
export function createRunFollower(
  transport: RunTransport,
  runId: string,
  options: RunFollowerOptions = {},
): RunFollower {
  const gapMs = options.gapMs ?? 400
  const silenceMs = options.silenceMs ?? 10_000
  const reducer: RunReducer = createRunReducer({
    runId,
    ...(options.onEvent === undefined ? {} : { onEvent: options.onEvent }),
  })
  const listeners = new Set<() => void>()
  let failure: BulkheadError | null = null
  let stopListening: (() => void) | null = null
  let streaming: AbortController | null = null
  /** Changes with each opening: what an earlier one still does is void. */
  let session = 0
  let isListening = false
  let isStreaming = false
  let quietFor = silenceMs
  let failedReads = 0
  let gapTimer: ReturnType<typeof setTimeout> | undefined
  let quietTimer: ReturnType<typeof setTimeout> | undefined
  let reading: Promise<void> | null = null
  let readAgain = false

  const isDone = (): boolean => failure !== null || reducer.isOver()
  const isOpen = (): boolean => listeners.size > 0

  function changed(): void {
    for (const listener of [...listeners]) listener()
  }

  function close(): void {
    session++
    clearTimeout(gapTimer)
    clearTimeout(quietTimer)
    gapTimer = quietTimer = undefined
    stopListening?.()
    stopListening = null
    streaming?.abort()
    streaming = null
    isListening = isStreaming = false
  }

  function watchSilence(): void {
    clearTimeout(quietTimer)
    if (isDone() || !isOpen()) return
    const patience = failedReads > 0 ? backoff(failedReads - 1) : isListening || isStreaming ? quietFor : POLL_MS
    quietTimer = setTimeout(() => {
      quietFor = Math.min(quietFor * 2, MAX_SILENCE_MS)
      void check()
    }, patience)
  }

  function watchGap(): void {
    if (!reducer.state().hasGap || isDone() || !isOpen()) {
      clearTimeout(gapTimer)
      gapTimer = undefined
    } else {
      gapTimer ??= setTimeout(() => {
        gapTimer = undefined
        if (reducer.state().hasGap) void check()
      }, gapMs)
    }
  }

  function push(event: RunEvent): void {
    if (failure !== null || !reducer.push(event)) return
    quietFor = silenceMs
    if (isDone()) close()
    else {
      watchGap()
      watchSilence()
    }
    changed()
  }

  async function readAll(): Promise<void> {
    for (let isWhole = false; !isWhole && !isDone(); ) {
      const page = await transport.readLog(runId, reducer.after())
      if (page === null) {
        failure = new BulkheadError('Run not found', { code: 'not_found', status: 404 })
        close()
        changed()
        return
      }
      const before = reducer.after()
      for (const event of page.events) push(event)
      // A page that brings nothing on must not be asked for again and again.
      isWhole = page.isWhole || reducer.after() === before
      if (!isDone() && reducer.settle(page.summary, isWhole)) {
        if (isDone()) close()
        changed()
      }
    }
  }

  function check(): Promise<void> {
    if (isDone()) return Promise.resolve()
    if (reading !== null) {
      // What happened since that one began may not be in it.
      readAgain = true
      return reading
    }
    reading = (async () => {
      try {
        do {
          readAgain = false
          await readAll()
        } while (readAgain && !isDone())
        failedReads = 0
      } catch {
        // The network, or a token that is about to be renewed: it is tried again.
        failedReads++
      } finally {
        reading = null
        readAgain = false
        watchGap()
        watchSilence()
      }
    })()
    return reading
  }

  async function readStream(mine: number): Promise<void> {
    const { stream } = transport
    if (stream === undefined) return
    for (let attempt = 0; session === mine && !isDone(); attempt++) {
      streaming = new AbortController()
      try {
        for await (const event of stream(runId, reducer.after(), streaming.signal)) {
          if (session !== mine) return
          // It has failed itself, and the run may go on: that is for the log to say. It is no sign that the next one will do better.
          if (isOfStreamAlone(event)) {
            void check()
            break
          }
          isStreaming = true
          // Its time was over, and it says so: the next one is opened at once.
          attempt = (event.event ?? event.type) === 'stream_end' ? -1 : 0
          push(event)
        }
      } catch {
        // It is opened again where it broke off.
      }
      if (session !== mine || isDone()) return
      isStreaming = false
      watchSilence()
      if (attempt >= 0) await new Promise((resolve) => setTimeout(resolve, backoff(attempt)))
    }
  }

  function open(): void {
    const mine = ++session
    // Listening comes first: what happens while the log is read must not be missed.
    if (transport.listen !== undefined) {
      stopListening = transport.listen(runId, {
        event: (event) => {
          if (session === mine) push(event)
        },
        up: () => {
          if (session !== mine) return
          isListening = true
          void check()
        },
        down: () => {
          if (session !== mine) return
          isListening = false
          watchSilence()
        },
      })
    }
    void check()
    void readStream(mine)
  }

  function subscribe(onChange: () => void): () => void {
    // One listener may be given twice, e.g. by a component that is mounted twice.
    const listener = () => onChange()
    listeners.add(listener)
    if (listeners.size === 1 && !isDone()) open()
    return () => {
      if (listeners.delete(listener) && listeners.size === 0) close()
    }
  }

  return {
    runId,
    state: () => reducer.state(),
    error: () => failure,
    subscribe,
    push,
    check,
    finished(signal) {
      return new Promise((resolve, reject) => {
        let unsubscribe = (): void => undefined
        const settle = (): void => {
          if (signal?.aborted) reject(signal.reason as Error)
          else if (failure !== null) reject(failure)
          else if (reducer.isOver()) resolve(reducer.state())
          else return
          unsubscribe()
          signal?.removeEventListener('abort', settle)
        }
        if (isDone() || signal?.aborted) return settle()
        signal?.addEventListener('abort', settle)
        unsubscribe = subscribe(settle)
      })
    },
  }
}
