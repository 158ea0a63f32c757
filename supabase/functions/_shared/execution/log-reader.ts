import type { Db } from '../context.ts'
import { describeError, toAppError, unwrap } from '../errors.ts'
import type { Log } from '../errors.ts'
import type { RunEvent } from '../run-ledger.ts'
import type { NumberedEvent } from './event-log.ts'

/** Events read at once. */
const PAGE = 200
const OVER = ['completed', 'failed', 'cancelled']

/**
 * How a run stands for whoever reads its log. `gone`: it is not theirs to read, or not any more. `unread`: their token has
 * expired, which says nothing about the run.
 */
export type Standing = 'pending' | 'running' | 'waiting' | 'over' | 'gone' | 'unread'

/** Reads the log of a run under the token of somebody who may. */
export type LogReader = {
  /** Gives out what is new since the last look. It never throws. */
  look(): Promise<Standing>
}

type EventRow = { seq: number; payload: Omit<RunEvent, 'ts'> & { ts?: string }; created_at: string }

/** The event as it was sent live. */
const eventOf = ({ seq, payload, created_at }: EventRow): NumberedEvent => ({
  ...(payload as RunEvent),
  seq,
  ts: payload.ts ?? new Date(created_at).toISOString(),
})

/**
 * Makes the reader.
 * @param options.runId internal id of the run.
 * @param options.after number of the last event that is known; 0: none.
 */
export function createLogReader(options: {
  db: Db
  runId: string
  after: () => number
  deliver: (event: NumberedEvent) => void
  log: Log
}): LogReader {
  const { db, runId, after, deliver, log } = options

  async function read(): Promise<Standing> {
    for (;;) {
      // One statement: what a run that is over has told is all there.
      const rows = unwrap<{ status: string; run_events: EventRow[] }[]>(
        await db
          .schema('ai')
          .from('agent_runs')
          .select('status,run_events(seq,payload,created_at)')
          .eq('id', runId)
          .gt('run_events.seq', after())
          .order('seq', { referencedTable: 'run_events' })
          .limit(PAGE, { referencedTable: 'run_events' })
          .limit(1),
      )
      const run = rows[0]
      if (run === undefined) return 'gone'
      for (const row of run.run_events) deliver(eventOf(row))
      if (run.run_events.length < PAGE) return OVER.includes(run.status) ? 'over' : (run.status as Standing)
    }
  }

  let last: Standing = 'running'
  return {
    async look() {
      try {
        last = await read()
        return last
      } catch (error) {
        log.error('run_log_not_read', { run_id: runId, error: describeError(error) })
        const { status } = toAppError(error)
        if (status === 401) return 'unread'
        // A database may be back at the next look.
        return status < 500 ? 'gone' : last
      }
    },
  }
}
