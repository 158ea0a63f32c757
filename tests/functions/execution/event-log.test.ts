import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { AppError } from '../../../supabase/functions/_shared/errors.ts'
import { createEventLog } from '../../../supabase/functions/_shared/execution/event-log.ts'
import type { EventLogOptions, NumberedEvent } from '../../../supabase/functions/_shared/execution/event-log.ts'
import type {
  LeaseAnswer,
  LogWrite,
  ReservingAnswer,
  RunEvent,
  RunNote,
} from '../../../supabase/functions/_shared/run-ledger.ts'

const RUN = { id: 'r', run_id: 'run_0123456789ab', lease_token: 'mine' }

/** A ledger in memory, which keeps the promises of the one in SQL. */
function fakeLedger() {
  const stored: NumberedEvent[] = []
  const notes: RunNote[] = []
  const world = {
    stored,
    notes,
    /** Events per write, in order. */
    sizes: [] as number[],
    holder: 'mine',
    stop: null as LeaseAnswer['stop'],
    beats: 0,
    /** Tokens that are left, and those that are held, by the id of the reservation. */
    left: Infinity,
    held: new Map<string, number>(),
    /** Called with each write before it is done; throws what shall go wrong. */
    before: (): void | Promise<void> => {},
    /** Called after it is done, before it is answered. */
    after: (): void | Promise<void> => {},
    /** The same, of a write that holds tokens. */
    afterHolding: (): void | Promise<void> => {},
  }
  function write({ firstSeq, events, journal }: LogWrite) {
    if (firstSeq > stored.length + 1) throw new AppError('internal', 'a gap')
    events.forEach((event: RunEvent, at) => {
      if (firstSeq + at === stored.length + 1) stored.push({ ...event, seq: firstSeq + at } as NumberedEvent)
    })
    notes.push(...journal)
    world.sizes.push(events.length)
  }
  const answer = (held: boolean): LeaseAnswer => ({ held, last_seq: stored.length, stop: held ? world.stop : null })
  const ledger: EventLogOptions['ledger'] = {
    async appendRunEvents(append) {
      await world.before()
      if (append.leaseToken !== world.holder) return answer(false)
      write(append)
      await world.after()
      return answer(true)
    },
    async appendAndReserve({ id, promptTokens }, append) {
      const written: ReservingAnswer = await ledger.appendRunEvents(append)
      if (!written.held || written.stop !== null) return written
      if (world.left < promptTokens && !world.held.has(id)) {
        const details = JSON.stringify({ code: 'budget_exceeded', balance: world.left })
        return { ...written, refusal: { code: 'PT402', message: 'Used up.', details, hint: 'Wait.' } }
      }
      if (!world.held.has(id)) world.left -= promptTokens
      world.held.set(id, promptTokens)
      await world.afterHolding()
      return { ...written, grant: { id, max_tokens: world.left } }
    },
    beatRun(_runId, token) {
      world.beats++
      return Promise.resolve(answer(token === world.holder))
    },
  }
  return Object.assign(world, { ledger, write })
}

type World = ReturnType<typeof fakeLedger>

function logOn(world: World, from?: { seq: number; offset: number }) {
  const delivered: NumberedEvent[] = []
  const stops: unknown[] = []
  const log = createEventLog({
    run: RUN,
    ledger: world.ledger,
    leaseSeconds: 6,
    ...(from ? { from } : {}),
    deliver: (event) => void delivered.push(event),
    onStop: (reason) => void stops.push(reason),
    log: { info: () => {}, error: () => {} },
  })
  return { log, delivered, stops }
}

const kinds = (events: { event: string }[]) => events.map(({ event }) => event)
const seqs = (events: { seq: number }[]) => events.map(({ seq }) => seq)
const deltas = (events: Record<string, unknown>[]) =>
  events.filter(({ event }) => event === 'content_delta').map(({ delta, off }) => [off, delta])
const storedAll = (world: World) => (rest: LogWrite) => Promise.resolve(world.write(rest)).then(() => true)
const isTrue = (answer: boolean) => answer

let world: World
beforeEach(() => {
  vi.useFakeTimers()
  world = fakeLedger()
})
afterEach(() => {
  vi.useRealTimers()
})

describe('the log of a run', () => {
  it('numbers events without gaps, stores them in order, and delivers them only then', async () => {
    let release = () => {}
    world.before = () => new Promise((resolve) => (release = resolve))
    const { log, delivered } = logOn(world)
    log.emit('start', { run_id: RUN.run_id })
    await vi.advanceTimersByTimeAsync(1)
    log.emit('tool_call', { n: 1 })
    log.emit('tool_result', { n: 1 })
    expect([world.stored, delivered]).toEqual([[], []])
    world.before = () => {}
    release()
    await log.journal.commit()
    // One write was on its way; all that came meanwhile made the next one.
    expect(world.sizes).toEqual([1, 2])
    expect(seqs(world.stored)).toEqual([1, 2, 3])
    expect(delivered).toEqual(world.stored)
    expect(delivered[0]).toMatchObject({ event: 'start', type: 'start', ts: expect.any(String), run_id: RUN.run_id })
    log.abandon()
  })

  it('goes on where an earlier executor stopped', async () => {
    for (let n = 0; n < 4; n++) world.stored.push({ event: 'x', type: 'x', ts: '', seq: n + 1 })
    const { log, delivered } = logOn(world, { seq: 4, offset: 10 })
    log.emit('content_delta', { delta: 'on' })
    await log.journal.commit()
    expect(delivered).toMatchObject([{ seq: 5, off: 10, delta: 'on' }])
    log.abandon()
  })

  it('stores what is noted and emitted in one go in one write', async () => {
    const { log } = logOn(world)
    log.emit('start', {})
    log.journal.note({ op: 'call_finished', call_id: 'c' })
    log.emit('tool_result', {})
    await log.journal.commit()
    expect(world.sizes).toEqual([2])
    expect(world.notes).toEqual([{ op: 'call_finished', call_id: 'c' }])
    log.journal.note({ op: 'call_started' })
    await log.journal.commit()
    expect(world.sizes).toEqual([2, 0])
    expect(world.notes).toHaveLength(2)
    log.abandon()
  })

  it('replaces what Postgres cannot store, alike for readers', async () => {
    const { log, delivered } = logOn(world)
    log.emit('tool_call', { arguments: { 'a\u0000': '\ud800' } })
    await log.journal.commit()
    expect(delivered[0]).toMatchObject({ arguments: { 'a\ufffd': '\ufffd' } })
    expect(delivered).toEqual(world.stored)
    log.abandon()
  })
})

describe('text', () => {
  it('goes out at once after a pause, then every 50 ms', async () => {
    const { log } = logOn(world)
    log.emit('content_delta', { delta: 'a' })
    await vi.advanceTimersByTimeAsync(0)
    expect(deltas(world.stored)).toEqual([[0, 'a']])
    log.emit('content_delta', { delta: 'b' })
    log.emit('content_delta', { delta: 'c' })
    await vi.advanceTimersByTimeAsync(49)
    expect(world.stored).toHaveLength(1)
    await vi.advanceTimersByTimeAsync(1)
    expect(deltas(world.stored)).toEqual([
      [0, 'a'],
      [1, 'bc'],
    ])
    log.abandon()
  })

  it('goes out before any other event, note and commit, and from 2,048 characters on', async () => {
    const { log } = logOn(world)
    for (const delta of ['a', 'b', 'c'.repeat(2048), 'd']) log.emit('content_delta', { delta })
    log.emit('step_completed', { step: 1 })
    log.emit('content_delta', { delta: 'e' })
    log.journal.note({ op: 'step_done' })
    log.emit('content_delta', { delta: 'f' })
    await log.journal.commit()
    expect(kinds(world.stored)).toEqual([
      'content_delta',
      'content_delta',
      'content_delta',
      'step_completed',
      'content_delta',
      'content_delta',
    ])
    expect(deltas(world.stored).map(([off]) => off)).toEqual([0, 1, 2050, 2051, 2052])
    log.abandon()
  })

  it('of different kinds and steps is not mixed', async () => {
    const { log } = logOn(world)
    log.emit('content_delta', { delta: 'a' })
    for (const step of [1, 1, 2]) log.emit('reasoning_delta', { step, delta: `r${step}` })
    log.emit('content_delta', { delta: 'b' })
    await log.journal.commit()
    expect(world.stored.map(({ event, step, delta }) => [event, step, delta])).toEqual([
      ['content_delta', undefined, 'a'],
      ['reasoning_delta', 1, 'r1r1'],
      ['reasoning_delta', 2, 'r2'],
      ['content_delta', undefined, 'b'],
    ])
    log.abandon()
  })

  it('is not cut inside a character', async () => {
    const { log } = logOn(world)
    const [high, low] = ['\ud83d', '\ude00']
    log.emit('content_delta', { delta: 'a' + high })
    await vi.advanceTimersByTimeAsync(10)
    log.emit('content_delta', { delta: low + 'b' })
    await vi.advanceTimersByTimeAsync(50)
    expect(deltas(world.stored)).toEqual([
      [0, 'a'],
      [1, `${high}${low}b`],
    ])
    log.abandon()
  })

  it('that a reset takes back is counted from the beginning of its step again', async () => {
    const { log } = logOn(world)
    log.emit('content_delta', { delta: 'one' })
    log.emit('step_started', { step: 2 })
    log.emit('content_delta', { delta: 'two' })
    log.emit('step_reset', { step: 2, reason: 'model_error' })
    log.emit('content_delta', { delta: '2' })
    log.emit('step_reset', { step: 2, reason: 'interrupted', off: 1 })
    log.emit('content_delta', { delta: '?' })
    await log.journal.commit()
    expect(deltas(world.stored)).toEqual([
      [0, 'one'],
      [3, 'two'],
      [3, '2'],
      [1, '?'],
    ])
    expect(world.stored.filter(({ event }) => event === 'step_reset').map(({ off }) => off)).toEqual([3, 1])
    log.abandon()
  })
})

describe('a failure of the database', () => {
  it('is waited out; a write whose answer was lost is not done twice', async () => {
    let broken = 2
    world.after = () => {
      if (broken-- > 0) throw new AppError('unavailable', 'The database cannot be reached.')
    }
    const { log, delivered, stops } = logOn(world)
    log.emit('start', {})
    const committed = log.journal.commit()
    await vi.advanceTimersByTimeAsync(500)
    await committed
    log.emit('chunk', {})
    await log.journal.commit()
    expect(seqs(world.stored)).toEqual([1, 2])
    expect(seqs(delivered)).toEqual([1, 2])
    expect(stops).toEqual([])
    log.abandon()
  })

  it('that does not pass stops the run', async () => {
    world.before = () => {
      throw new AppError('unavailable', 'The database cannot be reached.')
    }
    const { log, delivered, stops } = logOn(world)
    log.emit('start', {})
    const committed = expect(log.journal.commit()).rejects.toMatchObject({ code: 'unavailable' })
    await vi.advanceTimersByTimeAsync(40_000)
    await committed
    expect(delivered).toEqual([])
    expect(stops).toHaveLength(1)
  })

  it('that repeating cannot help stops the run at once', async () => {
    world.before = () => {
      throw new AppError('invalid_request', 'A value is not allowed.')
    }
    const { log, stops } = logOn(world)
    log.emit('start', {})
    await expect(log.journal.commit()).rejects.toMatchObject({ code: 'unavailable' })
    expect(stops).toHaveLength(1)
  })
})

describe('tokens', () => {
  const want = (promptTokens = 10) => ({ step: 1, model: 'm', promptTokens, maxTokens: null })

  it('are reserved in the write of all that comes before, which is stored and delivered when they are granted', async () => {
    world.left = 100
    const { log, delivered } = logOn(world)
    log.emit('content_delta', { delta: 'x' })
    log.journal.note({ op: 'tokens_used' })
    log.emit('step_started', {})
    const grant = await log.reserve(want())
    expect(grant).toEqual({ id: [...world.held.keys()][0], maxTokens: 90 })
    expect(kinds(delivered)).toEqual(['content_delta', 'step_started'])
    expect(world.notes).toEqual([{ op: 'tokens_used' }])
    // With nothing to write besides, a write of their own.
    await log.reserve(want())
    expect([world.sizes, world.left]).toEqual([[2, 0], 80])
    log.abandon()
  })

  it('that the database will not hear of cost the call, and nothing of the log', async () => {
    const { log, delivered, stops } = logOn(world)
    const { appendAndReserve } = world.ledger
    world.ledger.appendAndReserve = () => Promise.reject(new AppError('invalid_request', 'A value has the wrong form.'))
    log.emit('step_started', {})
    log.journal.note({ op: 'tokens_used' })
    const refused = expect(log.reserve(want())).rejects.toMatchObject({ code: 'invalid_request' })
    await vi.advanceTimersByTimeAsync(100)
    await refused
    expect([kinds(delivered), world.notes, stops]).toEqual([['step_started'], [{ op: 'tokens_used' }], []])
    world.ledger.appendAndReserve = appendAndReserve
    await log.reserve(want())
    expect([world.held.size, log.isLost()]).toEqual([1, false])
    log.abandon()
  })

  it('wait for the write on its way, and are then reserved one after the other', async () => {
    const { log } = logOn(world)
    let release = () => {}
    world.before = () => new Promise((resolve) => (release = resolve))
    log.emit('start', {})
    await vi.advanceTimersByTimeAsync(1)
    const grants = Promise.all([log.reserve(want(1)), log.reserve(want(2))])
    log.emit('step_started', {})
    await vi.advanceTimersByTimeAsync(100)
    expect([...world.held]).toEqual([])
    world.before = () => {}
    release()
    await grants
    expect([...world.held.values()]).toEqual([1, 2])
    expect(world.sizes).toEqual([1, 1, 0])
    log.abandon()
  })

  it('are reserved once when the answer is lost and the write sent again', async () => {
    world.left = 100
    const { log } = logOn(world)
    let losses = 2
    world.afterHolding = () => {
      if (losses-- > 0) throw new TypeError('fetch failed')
    }
    log.emit('start', {})
    const grant = log.reserve(want())
    await vi.advanceTimersByTimeAsync(1000)
    expect(losses).toBe(-1)
    expect(await grant).toEqual({ id: [...world.held.keys()][0], maxTokens: 90 })
    expect([world.left, world.held.size]).toEqual([90, 1])
    expect(kinds(world.stored)).toEqual(['start'])
    log.abandon()
  })

  it('that a budget refuses leave the rest stored, and the log goes on', async () => {
    world.left = 5
    const { log, delivered, stops } = logOn(world)
    log.emit('tool_result', {})
    log.journal.note({ op: 'step_done' })
    const refused = { code: 'budget_exceeded', message: 'Used up.', hint: 'Wait.', extra: { balance: 5 } }
    await expect(log.reserve(want())).rejects.toMatchObject(refused)
    expect(kinds(delivered)).toEqual(['tool_result'])
    expect(world.notes).toEqual([{ op: 'step_done' }])
    expect([stops, log.isLost()]).toEqual([[], false])
    expect(await log.reserve(want(5))).toMatchObject({ maxTokens: 0 })
    log.abandon()
  })

  it('are refused, and nothing is stored, once the lease is lost', async () => {
    const { log, delivered, stops } = logOn(world)
    world.holder = 'theirs'
    log.emit('start', {})
    const both = [log.reserve(want()), log.reserve(want())]
    for (const one of both) await expect(one).rejects.toMatchObject({ code: 'conflict' })
    await expect(log.reserve(want())).rejects.toMatchObject({ code: 'conflict' })
    expect([world.stored, delivered, [...world.held]]).toEqual([[], [], []])
    expect(stops).toMatchObject([{ code: 'conflict' }])
  })

  it('are not held for a run that is to stop: who asks hears why', async () => {
    const { log, stops } = logOn(world)
    world.stop = 'agent_unpublished'
    log.emit('start', {})
    await expect(log.reserve(want())).rejects.toMatchObject({ code: 'agent_unpublished' })
    expect(stops).toEqual(['agent_unpublished'])
    expect(kinds(world.stored)).toEqual(['start'])
    expect(world.held.size).toBe(0)
    log.abandon()
  })

  it('that are asked for while the log is held back are refused, those on their way are granted', async () => {
    const { log } = logOn(world)
    let release = () => {}
    world.afterHolding = () => new Promise((resolve) => (release = resolve))
    const sent = log.reserve(want(1))
    await vi.advanceTimersByTimeAsync(1)
    const waiting = log.reserve(want(2))
    log.emit('step_started', {})
    log.hold()
    await expect(waiting).rejects.toMatchObject({ code: 'conflict' })
    await expect(log.reserve(want(3))).rejects.toMatchObject({ code: 'conflict' })
    release()
    const { id } = await sent
    expect([...world.held]).toEqual([[id, 1]])
    expect(world.stored).toEqual([])
    await log.end(storedAll(world), isTrue)
    expect(kinds(world.stored)).toEqual(['step_started'])
  })

  it('are refused when the write fails for good', async () => {
    const { log } = logOn(world)
    world.before = () => {
      throw new AppError('invalid_request', 'A value is not allowed.')
    }
    await expect(log.reserve(want())).rejects.toMatchObject({ code: 'invalid_request' })
    expect(log.isLost()).toBe(true)
  })
})

describe('the lease', () => {
  it('once lost ends all writing, delivers nothing more, and says so once', async () => {
    const { log, delivered, stops } = logOn(world)
    log.emit('start', {})
    await log.journal.commit()
    world.holder = 'theirs'
    log.emit('tool_call', {})
    await expect(log.journal.commit()).rejects.toMatchObject({ code: 'conflict' })
    log.emit('tool_result', {})
    log.journal.note({ op: 'step_done' })
    await vi.advanceTimersByTimeAsync(5000)
    expect(kinds(world.stored)).toEqual(['start'])
    expect(kinds(delivered)).toEqual(['start'])
    expect(stops).toMatchObject([{ code: 'conflict' }])
    expect(world.beats).toBe(0)
    await expect(log.end(storedAll(world), isTrue)).rejects.toMatchObject({ code: 'conflict' })
  })

  it('is asked about when nothing is written, and not when something is', async () => {
    const { log, stops } = logOn(world)
    for (let n = 0; n < 20; n++) {
      log.emit('tick', {})
      await vi.advanceTimersByTimeAsync(300)
    }
    expect(world.beats).toBe(0)
    await vi.advanceTimersByTimeAsync(1500)
    expect(world.beats).toBeGreaterThan(0)
    expect(stops).toEqual([])
    world.stop = 'cancelled'
    await vi.advanceTimersByTimeAsync(1500)
    expect(stops).toEqual(['cancelled'])
    log.abandon()
  })

  it('carries word to stop with a write too; what follows is still stored', async () => {
    const { log, stops } = logOn(world)
    world.stop = 'membership_lost'
    log.emit('start', {})
    await log.journal.commit()
    expect(stops).toEqual(['membership_lost'])
    log.emit('complete', {})
    await log.end(storedAll(world), isTrue)
    expect(kinds(world.stored)).toEqual(['start', 'complete'])
  })
})

describe('the end', () => {
  it('takes all that was held back in one write, and delivers it then', async () => {
    const { log, delivered } = logOn(world)
    log.emit('content_delta', { delta: 'x' })
    await log.journal.commit()
    log.hold()
    log.emit('chunk', { content: 'x' })
    log.emit('complete', {})
    await vi.advanceTimersByTimeAsync(1000)
    expect(world.sizes).toEqual([1])
    expect(await log.end(storedAll(world), isTrue)).toBe(true)
    expect(world.sizes).toEqual([1, 2])
    expect(delivered).toEqual(world.stored)
    log.emit('late', {})
    await vi.advanceTimersByTimeAsync(1000)
    expect(kinds(world.stored)).toEqual(['content_delta', 'chunk', 'complete'])
  })

  it('that is refused can be told otherwise', async () => {
    const { log, delivered } = logOn(world)
    log.emit('start', {})
    log.hold()
    log.emit('chunk', {})
    log.emit('complete', { status: 'completed' })
    const refuse = () => Promise.reject(new AppError('invalid_request', 'A value is not allowed.'))
    await expect(log.end(refuse, isTrue)).rejects.toMatchObject({ code: 'invalid_request' })
    expect(delivered).toEqual([])
    log.rewind(1)
    log.emit('complete', { status: 'failed' })
    await log.end(storedAll(world), isTrue)
    expect(delivered).toMatchObject([
      { seq: 1, event: 'start' },
      { seq: 2, event: 'complete', status: 'failed' },
    ])
  })

  it('after the lease was lost delivers nothing', async () => {
    const { log, delivered, stops } = logOn(world)
    log.hold()
    log.emit('complete', {})
    expect(await log.end(() => Promise.resolve(false), isTrue)).toBe(false)
    expect(delivered).toEqual([])
    expect(stops).toMatchObject([{ code: 'conflict' }])
  })
})

it('producers wait while too much waits to be stored', async () => {
  let release = () => {}
  world.before = () => new Promise((resolve) => (release = resolve))
  const { log } = logOn(world)
  let isReady = false
  log.emit('start', {})
  await vi.advanceTimersByTimeAsync(1)
  log.emit('tool_result', { result: 'x'.repeat(300 * 1024) })
  void log.ready().then(() => (isReady = true))
  await vi.advanceTimersByTimeAsync(1000)
  expect(isReady).toBe(false)
  world.before = () => {}
  release()
  await log.journal.commit()
  await vi.advanceTimersByTimeAsync(1)
  expect(isReady).toBe(true)
  log.abandon()
})
