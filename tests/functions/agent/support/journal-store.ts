import type {
  CallDecision,
  EndedStep,
  Journal,
  JournalEntry,
  ResumedCall,
  ResumedStep,
  Turn,
} from '../../../../supabase/functions/_shared/agent/journal.ts'
import { AppError } from '../../../../supabase/functions/_shared/errors.ts'
import type { Emit } from '../../../../supabase/functions/_shared/sse.ts'
import { storable } from '../../../../supabase/functions/_shared/storable.ts'
import type { Event } from './loop-fakes.ts'

/** The life of one executor: after so many outward acts it is killed, and nothing of it happens any more. */
export type Life = {
  /** One outward act. @returns whether it still happens. */
  act(): boolean
  /** One outward act of something that would wait for ever without its process. */
  live(): Promise<void>
  died: Promise<'died'>
  acts(): number
}

export function createLife(dieAt = Infinity): Life {
  let acts = 0
  let die: (how: 'died') => void = () => {}
  const died = new Promise<'died'>((resolve) => (die = resolve))
  const act = () => {
    if (acts >= dieAt) {
      die('died')
      return false
    }
    acts++
    return true
  }
  return {
    act,
    live: () => (act() ? Promise.resolve() : new Promise(() => {})),
    died,
    acts: () => acts,
  }
}

type Item = { event: Event } | { entry: JournalEntry }

/** What is left of a run when its executors are gone. */
export type JournalStore = {
  events: Event[]
  entries: JournalEntry[]
  /** As `claim_run` gives it. */
  resume(): ResumedStep[]
  decide(callId: string, decision: CallDecision): void
  /**
   * The writer of one executor. What comes without an `await` in between is one transaction, unless more has gathered.
   * @param holdsBack whether what has come is not written yet.
   * @param rejects the lease is lost instead of the process: commits reject.
   */
  writer(
    life: Life,
    holdsBack?: () => boolean,
    rejects?: boolean,
  ): { emit: Emit; journal: Journal; flush: () => void; isLost: () => boolean }
}

/** Throws for text that Postgres cannot store, wherever it is. */
function assertStorable(value: unknown): void {
  if (typeof value === 'string' && (value.includes('\0') || !value.isWellFormed())) {
    throw new Error(`Postgres cannot store this: ${JSON.stringify(value)}`)
  }
  if (typeof value === 'object' && value !== null) Object.entries(value).flat().forEach(assertStorable)
}

export function createJournalStore(): JournalStore {
  const events: Event[] = []
  const entries: JournalEntry[] = []
  const steps = new Map<number, { turn: Turn | null; record: EndedStep | null }>()
  const calls = new Map<string, ResumedCall & { step: number }>()

  const stepOf = (step: number) => {
    const found = steps.get(step) ?? { turn: null, record: null }
    steps.set(step, found)
    return found
  }
  const callOf = (step: number, call_id: string) => {
    const none = { step, call_id, started: null, is_retry_safe: null, finished: null, decision: null }
    const found = calls.get(call_id) ?? none
    calls.set(call_id, found)
    return found
  }
  /** What the ledger does with an entry. */
  function apply(entry: JournalEntry): void {
    assertStorable(entry)
    entries.push(entry)
    switch (entry.op) {
      case 'turn':
        if (stepOf(entry.step).record !== null) throw new Error('The turn of a finished step was written again.')
        stepOf(entry.step).turn = entry
        break
      case 'call_checked': {
        const call = callOf(entry.step, entry.call_id)
        if (call.finished !== null) throw new Error('A finished call was checked again.')
        calls.set(entry.call_id, { ...call, checked: entry.checks })
        break
      }
      case 'call_started': {
        const call = callOf(entry.step, entry.call_id)
        if (call.finished !== null) throw new Error('A finished call was begun again.')
        calls.set(entry.call_id, { ...call, started: entry, is_retry_safe: entry.is_retry_safe, decision: null })
        break
      }
      case 'call_finished': {
        const call = callOf(entry.step, entry.call_id)
        if (call.finished !== null) throw new Error('A call was finished twice.')
        calls.set(entry.call_id, { ...call, finished: entry })
        break
      }
      case 'step_done':
        if (stepOf(entry.step).record !== null) throw new Error('A step was finished twice.')
        stepOf(entry.step).record = entry.record
        break
    }
  }

  return {
    events,
    entries,
    resume() {
      const resumed = [...steps].map(([step, { turn, record }]): ResumedStep => {
        const own = [...calls.values()].filter((call) => call.step === step).map(({ step: _step, ...call }) => call)
        // In no useful order: the loop has to bring its own.
        return { step, turn, record, calls: own.reverse() }
      })
      return JSON.parse(JSON.stringify(resumed.reverse())) as ResumedStep[]
    },
    decide(callId, decision) {
      const call = calls.get(callId)
      if (!call || call.started === null || call.finished !== null || call.is_retry_safe || call.decision !== null) {
        throw new Error(`Nothing is to be decided about ${callId}.`)
      }
      call.decision = decision
    },
    writer(life, holdsBack = () => false, rejects = false) {
      let pending: Item[] = []
      let isScheduled = false
      let isLost = false
      const flush = () => {
        if (pending.length === 0 || isLost) return
        if (!life.act()) {
          isLost = true
          return
        }
        for (const item of JSON.parse(JSON.stringify(pending)) as Item[]) {
          if ('event' in item) events.push(item.event)
          else apply(item.entry)
        }
        pending = []
      }
      const accept = (item: Item) => {
        pending.push(item)
        if (isScheduled) return
        isScheduled = true
        queueMicrotask(() => {
          isScheduled = false
          if (!holdsBack()) flush()
        })
      }
      return {
        // As the writer of the log does it.
        emit: (event, fields) => accept({ event: storable({ event, ...fields }) }),
        journal: {
          note: (entry) => accept({ entry }),
          async commit() {
            await Promise.resolve()
            flush()
            if (!isLost) return
            if (rejects) throw new AppError('conflict', 'The lease is lost.')
            await new Promise(() => {})
          },
        },
        flush,
        isLost: () => isLost,
      }
    },
  }
}
