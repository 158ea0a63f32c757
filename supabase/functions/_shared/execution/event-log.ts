import type { Budget } from '../agent/budget.ts'
import type { TokenRequest } from '../budget-ledger.ts'
import { AppError, describeError } from '../errors.ts'
import type { Log } from '../errors.ts'
import { isTransient, repeated } from '../repeat.ts'
import type {
  LeaseAnswer,
  LeasedWrite,
  LogWrite,
  ReservingAnswer,
  RunEvent,
  RunNote,
  StopReason,
} from '../run-ledger.ts'
import { runLost } from '../runs.ts'
import type { Emit } from '../sse.ts'
import { storable } from '../storable.ts'
import { createDeltaBuffer } from './delta-buffer.ts'
import { createReservations } from './reservations.ts'

/** An event of a run with its number. */
export type NumberedEvent = RunEvent & { seq: number }

/** What is noted of a run beside its events, in the same transactions. */
export type RunJournal = {
  note(entry: RunNote): void
  /** Resolves when all that was noted and emitted so far is stored. @throws AppError when the lease is lost. */
  commit(): Promise<void>
}

/** The writer of a run's log. */
export type EventLog = {
  emit: Emit
  journal: RunJournal
  /**
   * Reserves tokens in the write that stores what was emitted and noted so far: what is settled there is settled before, and who has
   * the grant knows that all of it is stored. Begins that write at once.
   * @throws AppError `budget_exceeded` when a budget refuses, and the rest is stored all the same; why the run is to stop; when the
   * log is held back or the lease is lost.
   */
  reserve: Budget['reserve']
  /** Resolves while few enough events wait to be stored: whoever produces many waits for it. */
  ready(): Promise<void>
  /** Begins no further write: what comes from now on is stored by `end`, all at once. */
  hold(): void
  /** Forgets the events since this number; only after `hold`. */
  rewind(seq: number): void
  /** Number of the last event so far. */
  lastSeq(): number
  /** Whether nothing can be written any more. */
  isLost(): boolean
  /**
   * Lets `write` store the rest in a transaction of its own and closes the log. A failure of the moment is repeated.
   * @param isWritten whether its answer says that the rest was stored; only then it is delivered.
   * @throws AppError when the lease is lost or `write` fails for good; the log can then be ended again.
   */
  end<T>(write: (rest: LogWrite) => Promise<T>, isWritten: (answer: T) => boolean): Promise<T>
  /** Stops at once and writes nothing more. */
  abandon(): void
}

export type EventLogOptions = {
  run: { id: string; run_id: string; lease_token: string }
  ledger: {
    appendRunEvents(write: LeasedWrite): Promise<LeaseAnswer>
    appendAndReserve(want: TokenRequest, write: LeasedWrite): Promise<ReservingAnswer>
    beatRun(runId: string, leaseToken: string, leaseSeconds: number): Promise<LeaseAnswer>
  }
  leaseSeconds: number
  /** Where the log stands: the number of its last event, and the length of the text streamed so far. */
  from?: { seq: number; offset: number }
  /** Gets events once they are stored, in order: what a reader saw is in the log. */
  deliver: (event: NumberedEvent) => void
  /** The executor has to stop: the lease is lost, or the database says so. Called once. */
  onStop: (reason: StopReason | AppError) => void
  log: Log
}

/** Milliseconds between two beats. */
const BEAT_MS = 700
/** Characters that may wait to be stored before producers wait. */
const MAX_WAITING_CHARS = 256 * 1024

/** Makes the writer for the holder of a lease. */
export function createEventLog(options: EventLogOptions): EventLog {
  const { run, ledger, leaseSeconds, log } = options
  let lastSeq = options.from?.seq ?? 0
  let offset = options.from?.offset ?? 0
  /** Where the text of the step in progress begins. */
  let stepOffset = offset
  let events: NumberedEvent[] = []
  let notes: RunNote[] = []
  let waitingChars = 0
  // Entries accepted and stored, to know when a commit is through.
  let accepted = 0
  let stored = 0
  let heardAt = performance.now()
  let isWriting = false
  let isHeld = false
  let isClosed = false
  let hasStopped = false
  let failure: AppError | null = null
  let waiters: { upTo: number; resolve: () => void; reject: (error: AppError) => void }[] = []
  let changed: (() => void)[] = []
  const reservations = createReservations()

  const wake = () => {
    const waiting = changed
    changed = []
    for (const resolve of waiting) resolve()
  }
  const change = () => new Promise<void>((resolve) => changed.push(resolve))

  function stop(reason: StopReason | AppError): void {
    if (hasStopped) return
    hasStopped = true
    options.onStop(reason)
  }

  function lose(error: AppError): void {
    if (failure !== null) return
    failure = error
    clearInterval(beating)
    stop(error)
    for (const { reject } of waiters) reject(error)
    waiters = []
    reservations.refuse(error, true)
    wake()
  }

  function heard({ held, stop: reason }: LeaseAnswer): boolean {
    if (!held) {
      lose(runLost())
      return false
    }
    heardAt = performance.now()
    if (reason !== null) stop(reason)
    return true
  }

  const repeatedly = <T>(write: () => Promise<T>): Promise<T> =>
    repeated(
      write,
      (error, attempt) =>
        log.error('run_log_write_failed', { run_id: run.run_id, attempt, error: describeError(error) }),
      () => isClosed,
    )

  /** Takes everything that waits. */
  function take(): { write: LogWrite; numbered: NumberedEvent[]; count: number } {
    const taken = { numbered: events, journal: notes, count: events.length + notes.length }
    events = []
    notes = []
    waitingChars = 0
    return {
      numbered: taken.numbered,
      count: taken.count,
      write: {
        firstSeq: taken.numbered[0]?.seq ?? lastSeq + 1,
        events: taken.numbered.map(({ seq: _seq, ...event }) => event as RunEvent),
        journal: taken.journal,
      },
    }
  }

  function settle(numbered: NumberedEvent[], count: number): void {
    stored += count
    for (const event of numbered) options.deliver(event)
    waiters = waiters.filter(({ upTo, resolve }) => {
      if (upTo > stored) return true
      resolve()
      return false
    })
    wake()
  }

  /** Sends a write, with the tokens that are wanted. What the database has against those costs the call, not the log. */
  async function send(write: LeasedWrite, want: TokenRequest | null): Promise<ReservingAnswer> {
    if (want !== null) {
      try {
        return await repeatedly(() => ledger.appendAndReserve(want, write))
      } catch (error) {
        if (isTransient(error)) throw error
        reservations.fail(error)
      }
    }
    return repeatedly(() => ledger.appendRunEvents(write))
  }

  async function pump(): Promise<void> {
    if (isWriting) return
    isWriting = true
    try {
      while (
        failure === null &&
        !isHeld &&
        !isClosed &&
        (events.length + notes.length > 0 || reservations.isWaiting())
      ) {
        const { write, numbered, count } = take()
        const want = reservations.send()
        const leased = { runId: run.id, leaseToken: run.lease_token, leaseSeconds, ...write }
        const answer = await send(leased, want)
        if (!heard(answer)) return
        settle(numbered, count)
        if (want !== null) reservations.answer(answer)
      }
    } catch (error) {
      log.error('run_log_failed', { run_id: run.run_id, error: describeError(error) })
      lose(new AppError('unavailable', 'The run could not be recorded.', { cause: error }))
    } finally {
      isWriting = false
      wake()
    }
  }

  let scheduled: ReturnType<typeof setTimeout> | undefined
  function schedule(): void {
    // What is noted and emitted before the work waits for anything outside is stored in one go.
    if (isWriting || isHeld) return
    // Text that has gathered long enough waits no longer.
    if (isGivingText) queueMicrotask(pumpNow)
    else scheduled ??= setTimeout(pumpNow, 0)
  }

  function pumpNow(): void {
    clearTimeout(scheduled)
    scheduled = undefined
    void pump()
  }

  function accept(event: string, fields: Record<string, unknown>): void {
    if (failure !== null || isClosed) return
    const payload = storable({ event, type: event, ...fields, ts: new Date().toISOString() }) as RunEvent
    if (event === 'content_delta') {
      payload['off'] = offset
      offset += String(payload['delta']).length
    } else if (event === 'step_started') {
      stepOffset = offset
    } else if (event === 'step_reset') {
      offset = typeof payload['off'] === 'number' ? payload['off'] : stepOffset
      payload['off'] = offset
    }
    events.push({ ...payload, seq: ++lastSeq })
    accepted++
    waitingChars += JSON.stringify(payload).length
    schedule()
  }

  let isGivingText = false
  const deltas = createDeltaBuffer((event, fields) => {
    isGivingText = !isFlushing
    accept(event, fields)
    isGivingText = false
  })
  let isFlushing = false
  /** Gives out the text that something else follows. */
  function flushText(): void {
    isFlushing = true
    deltas.flush()
    isFlushing = false
  }

  const beating = setInterval(() => {
    // A write that was answered is a beat as well.
    if (failure !== null || isClosed || isBeating || performance.now() - heardAt < BEAT_MS) return
    isBeating = true
    ledger
      .beatRun(run.id, run.lease_token, leaseSeconds)
      .then(heard, (error: unknown) =>
        log.error('lease_renewal_failed', { run_id: run.run_id, error: describeError(error) }),
      )
      .finally(() => (isBeating = false))
  }, BEAT_MS)
  let isBeating = false

  function close(): void {
    isClosed = true
    clearInterval(beating)
    wake()
  }

  /** Begins no further write. */
  function keepBack(): void {
    isHeld = true
    reservations.refuse(new AppError('conflict', 'The run goes no further here.'))
  }

  return {
    emit(event, fields) {
      if (event === 'content_delta' || event === 'reasoning_delta') {
        const { delta, ...rest } = fields
        deltas.push(event, rest, String(delta ?? ''))
      } else {
        flushText()
        accept(event, fields)
      }
    },
    journal: {
      note(entry) {
        if (failure !== null || isClosed) return
        flushText()
        notes.push(storable(entry))
        accepted++
        schedule()
      },
      commit() {
        flushText()
        if (failure !== null) return Promise.reject(failure)
        if (stored >= accepted) return Promise.resolve()
        if (scheduled !== undefined) queueMicrotask(pumpNow)
        return new Promise((resolve, reject) => waiters.push({ upTo: accepted, resolve, reject }))
      },
    },
    reserve(want) {
      flushText()
      if (failure !== null || isHeld || isClosed) return Promise.reject(failure ?? runLost())
      const grant = reservations.ask(want)
      queueMicrotask(pumpNow)
      return grant
    },
    async ready() {
      while (waitingChars > MAX_WAITING_CHARS && failure === null && !isClosed && !isHeld) await change()
    },
    hold() {
      flushText()
      keepBack()
      wake()
    },
    rewind(seq) {
      flushText()
      accepted -= events.length
      events = events.filter((event) => event.seq <= seq)
      accepted += events.length
      lastSeq = Math.min(lastSeq, seq)
    },
    lastSeq: () => lastSeq,
    isLost: () => failure !== null,
    async end(write, isWritten) {
      flushText()
      keepBack()
      while (isWriting) await change()
      if (failure !== null) throw failure
      const rest = take()
      try {
        const answer = await repeatedly(() => write(rest.write))
        close()
        if (isWritten(answer)) settle(rest.numbered, rest.count)
        else lose(runLost())
        return answer
      } catch (error) {
        events = [...rest.numbered, ...events]
        notes = [...rest.write.journal, ...notes]
        throw error
      }
    },
    abandon() {
      lose(runLost())
      close()
    },
  }
}
