import type { RunListener, RunTransport } from '../../../client/run-follower.ts'
import type { RunEvent } from '../../../client/run-reducer.ts'

export type FakeRun = {
  /** How many rows of the log are committed. */
  committed: number
  /** How often the log was read, and the channel opened; where each stream began. */
  reads: number
  listens: number
  streams: number[]
  /** How many readings fail from now on. */
  failReads: number
  /** False: the caller may not read the run. */
  isVisible: boolean
  isLogRemoved: boolean
  isListening(): boolean
  /** Commits rows and broadcasts those that are not lost. */
  commit(count: number, isLost?: (row: RunEvent) => boolean): void
  up(): void
  down(): void
  transport: RunTransport
}

/** A run with a log, told of by a Realtime channel that loses what the test wants, and read as the test allows. */
export function createFakeRun(rows: readonly RunEvent[]): FakeRun {
  let listener: RunListener | null = null
  const fake: FakeRun = {
    committed: 0,
    reads: 0,
    listens: 0,
    streams: [] as number[],
    failReads: 0,
    isVisible: true,
    isLogRemoved: false,
    isListening: () => listener !== null,
    commit(count, isLost = () => false) {
      for (const row of rows.slice(fake.committed, fake.committed + count)) {
        fake.committed++
        if (!isLost(row)) listener?.event(row)
      }
    },
    up: () => listener?.up(),
    down: () => listener?.down(),
    transport: {
      listen(_runId, given) {
        fake.listens++
        listener = given
        return () => (listener = null)
      },
      async readLog(_runId, after) {
        await Promise.resolve()
        fake.reads++
        if (fake.failReads > 0) {
          fake.failReads--
          throw new Error('offline')
        }
        if (!fake.isVisible) return null
        const there = rows.slice(0, fake.committed)
        const isOver = there.at(-1)?.event === 'complete'
        const page = fake.isLogRemoved ? [] : there.filter((row) => (row.seq ?? 0) > after).slice(0, 10)
        return {
          summary: {
            status: isOver ? 'completed' : 'running',
            lastSeq: fake.committed,
            content: isOver ? String(there.at(-1)?.['content']) : null,
            error: null,
            errorCode: null,
          },
          events: page,
          isWhole: page.length < 10,
        }
      },
    },
  }
  return fake
}
