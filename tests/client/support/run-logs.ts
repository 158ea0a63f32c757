import type { RunEvent } from '../../../client/run-reducer.ts'
import { createRandom } from '../../functions/support/random.ts'

/** Repeatable choices. */
export type Random = { int(below: number): number; pick<T>(values: readonly T[]): T }

export function seeded(seed: number): Random {
  const next = createRandom(seed)
  const int = (below: number): number => Math.floor(next() * below)
  return { int, pick: (values) => values[int(values.length)]! }
}

export const RUN_ID = 'run_0123456789ab'

/** A run's log as it is written, with what a reader of all of it ends up with. */
export type MadeLog = { rows: RunEvent[]; content: string; reasoning: string; toolCalls: number }

const WORDS = ['Grüße ', '世界', '👋🏽 ', 'tariff ', '\n\ndata: ', '[1] ', 'a', '']

/** A log of a random run: steps with thoughts, text, resets and tool calls, with coalesced deltas that carry offsets. */
export function makeLog(random: Random, steps = 1 + random.int(4)): MadeLog {
  const rows: RunEvent[] = []
  let content = ''
  let reasoning = ''
  let toolCalls = 0
  const add = (event: string, fields: Record<string, unknown> = {}): void => {
    const seq = rows.length + 1
    rows.push({ event, type: event, ...fields, seq, ts: new Date(seq).toISOString() })
  }
  const words = (): string => Array.from({ length: 1 + random.int(4) }, () => random.pick(WORDS)).join('')
  add('start', { run_id: RUN_ID, session_id: 'sess_1' })
  for (let step = 1; step <= steps; step++) {
    add('step_started', { step })
    const before = { content, reasoning }
    for (let attempt = random.int(4) === 0 ? 2 : 1; attempt > 0; attempt--) {
      for (let piece = random.int(5); piece > 0; piece--) {
        const delta = words() || 'x'
        add('reasoning_delta', { step, delta })
        reasoning += delta
      }
      for (let piece = random.int(12); piece > 0; piece--) {
        const delta = words() || 'y'
        add('content_delta', { delta, off: content.length })
        content += delta
      }
      if (attempt > 1) {
        ;({ content, reasoning } = before)
        add('step_reset', { step, reason: 'interrupted', off: content.length })
      }
    }
    for (let call = random.int(3); call > 0; call--) {
      toolCalls++
      add('tool_call', { step, call_id: `call_${toolCalls}`, tool_name: 'search', arguments: { q: step } })
      add('tool_result', { step, call_id: `call_${toolCalls}`, tool_name: 'search', result: 'found', is_error: false })
    }
    add('step_completed', { step })
  }
  if (random.int(3) === 0) content = `${content} (edited)`
  add('chunk', { content })
  add('complete', {
    run_id: RUN_ID,
    session_id: 'sess_1',
    content,
    status: 'completed',
    citations: [],
    usage: {},
    error: null,
  })
  return { rows, content, reasoning, toolCalls }
}

/** The log as it is some minutes after the run: neighbouring deltas of one kind are one row. */
export function fold(rows: readonly RunEvent[]): RunEvent[] {
  const folded: RunEvent[] = []
  for (const row of rows) {
    const last = folded.at(-1)
    const isDelta = row.event === 'content_delta' || row.event === 'reasoning_delta'
    if (isDelta && last !== undefined && last.event === row.event && last['step'] === row['step']) {
      folded[folded.length - 1] = {
        ...row,
        from_seq: last.from_seq ?? last.seq ?? 0,
        delta: `${last.delta}${row.delta}`,
        ...(last.off === undefined ? {} : { off: last.off }),
      }
    } else folded.push(row)
  }
  return folded
}

/** The pieces of a row as a finer stream would give them: same position, offsets of their own. */
export function cutFine(random: Random, row: RunEvent): RunEvent[] {
  if (row.event !== 'content_delta') return [row]
  const pieces: RunEvent[] = []
  const delta = row.delta ?? ''
  for (let at = 0; at < delta.length; ) {
    const length = 1 + random.int(3)
    pieces.push({ ...row, delta: delta.slice(at, at + length), off: (row.off ?? 0) + at })
    at += length
  }
  return pieces
}

/** What rows or events told once, in order: pieces of text that follow each other are one. */
export function retold(events: readonly RunEvent[]): unknown[] {
  const told: { event: string; seq?: number | undefined; text: string }[] = []
  for (const event of events) {
    const last = told.at(-1)
    if (event.event === 'content_delta' || event.event === 'reasoning_delta') {
      if (last?.event === event.event) last.text += event.delta ?? ''
      else told.push({ event: event.event, text: event.delta ?? '' })
    } else told.push({ event: event.event ?? '', seq: event.seq, text: '' })
  }
  return told
}

/** `events` in an order in which nothing moves further than `reach` places. */
export function shuffled<T>(random: Random, events: readonly T[], reach: number): T[] {
  return events
    .map((event, place) => ({ event, place: place + random.int(reach + 1) }))
    .sort((a, b) => a.place - b.place)
    .map(({ event }) => event)
}
