// Events of a run by any transport, in any order: what the reducer makes of them.
import { describe, expect, it } from 'vitest'
import { createRunReducer } from '../../client/run-reducer.ts'
import type { RunEvent, RunReducer } from '../../client/run-reducer.ts'
import { cutFine, fold, makeLog, retold, RUN_ID, seeded, shuffled } from './support/run-logs.ts'
import type { MadeLog } from './support/run-logs.ts'

const ROUNDS = 150

function reading(options: { maxWaiting?: number } = {}) {
  const told: RunEvent[] = []
  const reducer = createRunReducer({ runId: RUN_ID, onEvent: (event) => told.push(event), ...options })
  return { reducer, told }
}

/** Reads the log where the reducer says, as a follower does when a gap stays. */
function repair(reducer: RunReducer, rows: readonly RunEvent[]): number {
  let reads = 0
  while (!reducer.isOver() && reads < 100) {
    reads++
    const after = reducer.after()
    const rest = rows.filter((row) => (row.seq ?? 0) > after)
    if (rest.length === 0) break
    for (const row of rest) reducer.push(row)
  }
  return reads
}

function expectAll(log: MadeLog, reducer: RunReducer, told?: RunEvent[], rows = log.rows): void {
  const state = reducer.state()
  expect(state).toMatchObject({ status: 'completed', content: log.content, hasGap: false, error: null })
  expect(state.reasoning).toBe(log.reasoning)
  expect(state.toolCalls).toHaveLength(log.toolCalls)
  expect(state.toolCalls.every((call) => call.status === 'finished' && call.result === 'found')).toBe(true)
  if (told) expect(retold(told)).toEqual(retold(rows))
}

describe('events of one transport', () => {
  it('make the state that the log says, whole and folded', () => {
    for (let seed = 1; seed <= ROUNDS; seed++) {
      const log = makeLog(seeded(seed))
      for (const rows of [log.rows, fold(log.rows)]) {
        const { reducer, told } = reading()
        for (const row of rows) reducer.push(row)
        expectAll(log, reducer, told)
      }
    }
  })

  it('may be reordered and duplicated', () => {
    for (let seed = 1; seed <= ROUNDS; seed++) {
      const random = seeded(seed)
      const log = makeLog(random)
      const twice = [...log.rows, ...log.rows.filter(() => random.int(2) === 0)].sort((a, b) => a.seq! - b.seq!)
      const { reducer, told } = reading()
      for (const event of shuffled(random, twice, 1 + random.int(30))) reducer.push(event)
      expectAll(log, reducer, told)
    }
  })

  it('may be dropped: the gap shows, and reading the log from where the reducer says closes it', () => {
    for (let seed = 1; seed <= ROUNDS; seed++) {
      const random = seeded(seed)
      const log = makeLog(random)
      const { reducer, told } = reading()
      const kept = log.rows.filter(() => random.int(4) > 0)
      for (const event of shuffled(random, kept, random.int(8))) reducer.push(event)
      const last = kept.at(-1)?.seq ?? 0
      const isWhole = last === log.rows.length && kept.length === log.rows.length
      expect(reducer.isOver()).toBe(isWhole)
      expect(reducer.state().hasGap).toBe(kept.some((row) => row.seq! > reducer.after()))
      expect(repair(reducer, random.int(2) === 0 ? log.rows : fold(log.rows))).toBeLessThanOrEqual(2)
      expectAll(log, reducer, told)
    }
  })

  it('are let go when too many wait, and come again from the log', () => {
    const log = makeLog(seeded(7), 6)
    const { reducer, told } = reading({ maxWaiting: 3 })
    for (const row of log.rows.slice(1)) reducer.push(row)
    expect(reducer.state()).toMatchObject({ seq: 0, hasGap: true })
    repair(reducer, log.rows)
    expectAll(log, reducer, told)
  })
})

describe('two transports at once', () => {
  it('are merged by position, whatever each has lost, doubled or reordered', () => {
    for (let seed = 1; seed <= ROUNDS; seed++) {
      const random = seeded(seed)
      const log = makeLog(random)
      const stream = log.rows.slice(0, random.int(log.rows.length + 1))
      const broadcasts = shuffled(
        random,
        log.rows.filter(() => random.int(3) > 0),
        4,
      )
      const { reducer, told } = reading()
      for (const event of interleaved(random, stream, broadcasts)) reducer.push(event)
      repair(reducer, log.rows)
      expectAll(log, reducer, told)
    }
  })

  it('may cut the text differently: a stream that is finer than the rows adds only what is new', () => {
    for (let seed = 1; seed <= ROUNDS; seed++) {
      const random = seeded(seed)
      const log = makeLog(random)
      const fine = log.rows.flatMap((row) => cutFine(random, row)).filter(() => random.int(10) > 0)
      const broadcasts = log.rows.filter(() => random.int(5) > 0)
      const { reducer } = reading()
      for (const event of interleaved(random, shuffled(random, fine, random.int(3)), broadcasts)) reducer.push(event)
      repair(reducer, log.rows)
      expect(reducer.state()).toMatchObject({ status: 'completed', content: log.content, hasGap: false })
    }
  })

  it('show no text that is not there: at each moment it is what the rows up to there make', () => {
    for (let seed = 1; seed <= ROUNDS; seed++) {
      const random = seeded(seed)
      const log = makeLog(random)
      const texts = textsOf(log.rows)
      const fine = log.rows.flatMap((row) => cutFine(random, row)).filter(() => random.int(8) > 0)
      const { reducer } = reading()
      for (const event of interleaved(random, fine, shuffled(random, log.rows, 5))) {
        reducer.push(event)
        const { seq, content } = reducer.state()
        expect(texts[seq]?.startsWith(content), `seed ${seed} at ${seq}`).toBe(true)
      }
      expectAll(log, reducer)
    }
  })
})

/** The text after each position. */
function textsOf(rows: readonly RunEvent[]): string[] {
  const texts = ['']
  for (const row of rows) {
    const before = texts.at(-1) ?? ''
    texts.push(
      row.event === 'content_delta'
        ? before + (row.delta ?? '')
        : row.event === 'step_reset'
          ? before.slice(0, row.off)
          : row.event === 'chunk'
            ? String(row['content'])
            : before,
    )
  }
  return texts
}

function interleaved<T>(random: ReturnType<typeof seeded>, first: readonly T[], second: readonly T[]): T[] {
  const queues = [[...first], [...second]]
  const merged: T[] = []
  while (queues[0]!.length + queues[1]!.length > 0) {
    const queue = queues[random.int(2)]!
    merged.push(...queue.splice(0, 1 + random.int(3)))
  }
  return merged
}

describe('single events', () => {
  const start = { event: 'start', seq: 1, run_id: RUN_ID }
  const delta = (seq: number, off: number, text: string, more = {}) => ({
    event: 'content_delta',
    seq,
    off,
    delta: text,
    ...more,
  })

  it('of another run, of no kind and after the end change nothing', () => {
    const { reducer } = reading()
    reducer.push(start)
    const before = reducer.state()
    expect(reducer.push({ event: 'content_delta', run_id: 'run_ffffffffffff', seq: 2, delta: 'x' })).toBe(false)
    expect(reducer.push({ seq: 2 })).toBe(false)
    expect(reducer.push({ event: 'stream_end', run_id: RUN_ID, after: 1 })).toBe(false)
    expect(reducer.push(start)).toBe(false)
    expect(reducer.state()).toBe(before)
    reducer.push({ event: 'complete', seq: 2, status: 'completed', content: 'Done.' })
    expect(reducer.push(delta(3, 5, ' More.'))).toBe(false)
    expect(reducer.state()).toMatchObject({ status: 'completed', content: 'Done.', seq: 2 })
  })

  it('that end a stream and are in no log end it here, whatever other transports have brought meanwhile', () => {
    const failure = { error: 'The run was stopped.', code: 'membership_lost' }
    for (const ahead of [0, 1, 5]) {
      const { reducer } = reading()
      reducer.push(start)
      reducer.push(delta(2, 0, 'Half'))
      for (let seq = 3; seq < 3 + ahead; seq++) reducer.push({ event: 'tool_call', seq, call_id: `c${seq}` })
      // Numbered after what this stream had sent: start and one piece.
      reducer.push({ event: 'error', run_id: RUN_ID, seq: 3, message: failure.error, ...failure })
      reducer.push({ event: 'complete', run_id: RUN_ID, seq: 4, status: 'failed', content: '', ...failure })
      const error = { message: failure.error, code: failure.code }
      expect(reducer.state()).toMatchObject({ status: 'failed', content: '', error, hasGap: false })
    }
  })

  it('that stand for a log that is gone leave no gap', () => {
    const { reducer } = reading()
    reducer.push(start)
    reducer.push({ event: 'complete', run_id: RUN_ID, from_seq: 2, seq: 9, status: 'completed', content: 'Whole.' })
    expect(reducer.state()).toMatchObject({ status: 'completed', content: 'Whole.', seq: 9, hasGap: false })
  })

  it('with positions that are none are of no log', () => {
    const { reducer } = reading()
    for (const seq of [0, -1, 1.5, NaN, Infinity, '1', null]) {
      expect(reducer.push({ event: 'content_delta', delta: 'x', seq: seq as number })).toBe(false)
    }
    expect(reducer.state()).toMatchObject({ seq: 0, content: '', hasGap: false })
  })

  it('that are announced only are a gap, until the log is read', () => {
    const { reducer } = reading()
    reducer.push(start)
    expect(reducer.push({ type: 'tool_result', seq: 2, run_id: RUN_ID, ref: true })).toBe(true)
    expect(reducer.state()).toMatchObject({ seq: 1, hasGap: true })
    reducer.push({ event: 'tool_result', seq: 2, call_id: 'c', tool_name: 't', result: 'long' })
    expect(reducer.state()).toMatchObject({ seq: 2, hasGap: false, toolCalls: [{ callId: 'c', result: 'long' }] })
  })

  it('folded rows go on where half of them is known', () => {
    const { reducer, told } = reading()
    reducer.push(start)
    reducer.push({ event: 'reasoning_delta', seq: 2, delta: 'Let ' })
    reducer.push({ event: 'reasoning_delta', seq: 4, from_seq: 2, delta: 'Let me see' })
    reducer.push(delta(5, 0, 'Hel'))
    reducer.push(delta(7, 0, 'Hello you', { from_seq: 5 }))
    expect(reducer.state()).toMatchObject({ seq: 7, reasoning: 'Let me see', content: 'Hello you' })
    expect(told.map((event) => event.delta)).toEqual([undefined, 'Let ', 'me see', 'Hel', 'lo you'])
  })

  it('text beyond the text is a gap, and read again from the piece whose rest is missing', () => {
    const { reducer } = reading()
    reducer.push(start)
    reducer.push(delta(2, 0, 'He'))
    expect(reducer.push(delta(3, 5, ' you'))).toBe(true)
    expect(reducer.state()).toMatchObject({ content: 'He', hasGap: true })
    expect(reducer.after()).toBe(1)
    reducer.push(delta(2, 0, 'Hello'))
    expect(reducer.state()).toMatchObject({ content: 'Hello you', seq: 3, hasGap: false })
  })

  it('a repeated piece from before a reset or a rewording brings nothing back', () => {
    const { reducer } = reading()
    for (const event of [
      start,
      delta(2, 0, 'Wrong answer'),
      { event: 'step_reset', seq: 3, off: 0 },
      delta(4, 0, 'Right'),
    ])
      reducer.push(event)
    reducer.push(delta(2, 0, 'Wrong answer'))
    expect(reducer.state().content).toBe('Right')
    reducer.push({ event: 'chunk', seq: 5, content: 'No.' })
    reducer.push(delta(4, 0, 'Right'))
    expect(reducer.state().content).toBe('No.')
  })

  it('say who is waited for, and what failed', () => {
    const { reducer } = reading()
    const call = { call_id: 'c1', tool_name: 'send', arguments: { to: 'x' } }
    for (const event of [
      start,
      { event: 'tool_call', seq: 2, ...call },
      { event: 'approval_requested', seq: 3, ...call },
    ])
      reducer.push(event)
    expect(reducer.state()).toMatchObject({ status: 'waiting', toolCalls: [{ toolName: 'send', status: 'waiting' }] })
    reducer.push({ event: 'tool_result', seq: 4, call_id: 'c1', is_error: true, result: 'refused' })
    expect(reducer.state()).toMatchObject({ status: 'running', toolCalls: [{ status: 'failed', result: 'refused' }] })
    reducer.push({ event: 'error', seq: 5, message: 'No more.', code: 'budget_exceeded' })
    reducer.push({ event: 'complete', seq: 6, status: 'failed', content: '', error: 'No more.' })
    expect(reducer.state()).toMatchObject({
      status: 'failed',
      error: { message: 'No more.', code: 'budget_exceeded' },
    })
  })
})

describe('an error within a step', () => {
  it('ends nothing by itself: what it comes to is told at the end of the run', () => {
    const inner = {
      event: 'error',
      seq: 2,
      step: 1,
      message: 'No answer.',
      error: 'No answer.',
      code: 'upstream_failed',
    }
    const { reducer, told } = reading()
    reducer.push({ event: 'start', seq: 1 })
    reducer.push(inner)
    expect(reducer.state()).toMatchObject({ status: 'running', error: null, seq: 2 })
    expect(told.at(-1)).toEqual(inner)
    reducer.push({ event: 'error', seq: 3, message: 'No answer.', code: 'upstream_failed' })
    reducer.push({ event: 'complete', seq: 4, status: 'failed', content: '', error: 'No answer.' })
    expect(reducer.state()).toMatchObject({
      status: 'failed',
      error: { message: 'No answer.', code: 'upstream_failed' },
    })
  })
})

describe('an error that was told of a stream', () => {
  it.each(['completed', 'cancelled'])('is none of a run that is %s after it', (status) => {
    const { reducer } = reading()
    reducer.push({ event: 'start', seq: 1 })
    reducer.push({ event: 'error', message: 'Something went wrong.', code: 'internal' })
    expect(reducer.state().error).toEqual({ message: 'Something went wrong.', code: 'internal' })
    reducer.push({ event: 'complete', seq: 2, status, content: 'All of it.' })
    expect(reducer.state()).toMatchObject({ status, content: 'All of it.', error: null })
  })
})

describe('how the run stands', () => {
  const over = { status: 'completed', lastSeq: 9, content: 'All of it.', error: null, errorCode: null }

  it('ends it when the log is gone, but not before the log was read', () => {
    const { reducer } = reading()
    reducer.push({ event: 'start', seq: 1 })
    reducer.settle(over, false)
    expect(reducer.state()).toMatchObject({ status: 'running', hasGap: true })
    reducer.settle(over, true)
    expect(reducer.state()).toMatchObject({ status: 'completed', content: 'All of it.', hasGap: false })
  })

  it('tells of a run that waits, or has got further', () => {
    const { reducer } = reading()
    reducer.settle({ ...over, status: 'waiting', lastSeq: 0 })
    expect(reducer.state()).toMatchObject({ status: 'waiting', hasGap: false })
    reducer.settle({ ...over, status: 'running', lastSeq: 4 })
    expect(reducer.state()).toMatchObject({ status: 'running', hasGap: true })
  })

  it('says nothing about events that came after it was read', () => {
    const { reducer } = reading()
    reducer.push({ event: 'start', seq: 1 })
    reducer.push({ event: 'approval_requested', seq: 2, call_id: 'c' })
    expect(reducer.settle({ ...over, status: 'running', lastSeq: 1 })).toBe(false)
    expect(reducer.state().status).toBe('waiting')
    expect(reducer.settle({ ...over, status: 'pending', lastSeq: 2 })).toBe(true)
    expect(reducer.state().status).toBe('running')
  })

  it('changes nothing when it says what is known', () => {
    const { reducer } = reading()
    reducer.push({ event: 'start', seq: 1 })
    const before = reducer.state()
    expect(reducer.settle({ ...over, status: 'running', lastSeq: 1 })).toBe(false)
    expect(reducer.state()).toBe(before)
  })
})
