// Following a run over transports that sleep, break, lose and expire.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { listenTo } from '../../client/run-channel.ts'
import { createRunFollower } from '../../client/run-follower.ts'
import type { RunFollowerOptions } from '../../client/run-follower.ts'
import type { RunEvent } from '../../client/run-reducer.ts'
import { createFakeRun } from './support/fake-run.ts'
import { fold, makeLog, retold, RUN_ID, seeded } from './support/run-logs.ts'
import type { MadeLog } from './support/run-logs.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const tick = (ms = 0) => vi.advanceTimersByTimeAsync(ms)

function follow(log: MadeLog, options: RunFollowerOptions = {}) {
  const run = createFakeRun(log.rows)
  const told: RunEvent[] = []
  const follower = createRunFollower(run.transport, RUN_ID, { onEvent: (event) => told.push(event), ...options })
  let changes = 0
  const stop = follower.subscribe(() => changes++)
  const expectAll = () => {
    expect(follower.state()).toMatchObject({ status: 'completed', content: log.content, hasGap: false })
    expect(retold(told)).toEqual(retold(log.rows))
  }
  return { run, told, follower, stop, expectAll, changes: () => changes }
}

describe('a run that is followed', () => {
  it('is there at once and as it goes on; when it is over, nothing is left open', async () => {
    const log = makeLog(seeded(1), 4)
    const { run, follower, expectAll, changes } = follow(log)
    run.commit(15, () => true)
    run.up()
    await tick()
    expect(follower.state().seq).toBe(15)
    const before = follower.state()
    expect(follower.state()).toBe(before)
    run.commit(1)
    expect(follower.state()).not.toBe(before)
    run.commit(log.rows.length)
    expectAll()
    expect(changes()).toBeGreaterThan(3)
    expect(run.isListening()).toBe(false)
    const { reads } = run
    await tick(600_000)
    expect(run.reads).toBe(reads)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('loses nothing that happens while it joins', async () => {
    const log = makeLog(seeded(2), 3)
    const { run, expectAll } = follow(log)
    // Committed after the first reading and before the channel is there: only the reading after `up` has them.
    await tick()
    run.commit(5, () => true)
    run.up()
    await tick()
    run.commit(log.rows.length)
    expectAll()
  })

  it('repairs what a broadcast loses, after 400 ms and by one reading', async () => {
    for (let seed = 1; seed <= 30; seed++) {
      const random = seeded(seed)
      const log = makeLog(random)
      const { run, follower, expectAll, stop } = follow(log)
      run.up()
      await tick()
      const { reads } = run
      run.commit(log.rows.length - 1, (row) => row.seq === 2)
      expect(follower.state()).toMatchObject({ seq: 1, hasGap: true })
      await tick(399)
      expect(run.reads).toBe(reads)
      await tick(1)
      expect(follower.state().hasGap).toBe(false)
      run.commit(1)
      expectAll()
      stop()
    }
  })

  it('notices after ten seconds of silence that the last event is lost', async () => {
    const log = makeLog(seeded(3))
    const { run, follower, expectAll } = follow(log)
    run.up()
    await tick()
    run.commit(log.rows.length, (row) => row.event === 'complete')
    await tick(9_000)
    expect(follower.state().status).toBe('running')
    await tick(2_000)
    expectAll()
  })

  it('asks less and less often while a run waits, and at once again when it goes on', async () => {
    const log = makeLog(seeded(3))
    const { run } = follow(log)
    run.up()
    await tick()
    const { reads } = run
    await tick(3_600_000)
    expect(run.reads - reads).toBeLessThan(70)
    const later = run.reads
    run.commit(2)
    await tick(11_000)
    expect(run.reads).toBe(later + 1)
  })

  it('polls while there is no channel', async () => {
    const log = makeLog(seeded(4))
    const { run, expectAll } = follow(log)
    await tick()
    run.commit(log.rows.length, () => true)
    await tick(2_100)
    expectAll()
  })

  it('catches up after sleep and after each reconnect', async () => {
    const log = makeLog(seeded(5), 5)
    const { run, follower, expectAll } = follow(log)
    run.up()
    await tick()
    for (let at = 0; at < log.rows.length; at += 6) {
      run.down()
      run.commit(3, () => true)
      run.up()
      await tick()
      expect(follower.state().seq).toBe(run.committed)
      // Asleep: neither timers nor sockets; then the page is visible again.
      run.commit(3, () => true)
      await follower.check()
      expect(follower.state().seq).toBe(run.committed)
    }
    expectAll()
  })

  it('bears a log that cannot be read for a while', async () => {
    const log = makeLog(seeded(6))
    const { run, expectAll, follower } = follow(log)
    run.failReads = 4
    run.commit(log.rows.length, () => true)
    await tick(2_000)
    expect(follower.state().status).toBe('unknown')
    await tick(20_000)
    expectAll()
  })

  it('reads a long log page by page, and one that is gone from the run', async () => {
    const long = makeLog(seeded(7), 8)
    const first = follow(long)
    first.run.commit(long.rows.length, () => true)
    await tick(10)
    first.expectAll()
    expect(first.run.reads).toBeGreaterThan(2)

    const { run, follower } = follow(long)
    run.isLogRemoved = true
    run.commit(long.rows.length, () => true)
    await tick(10)
    expect(follower.state()).toMatchObject({ status: 'completed', content: long.content })
  })

  it('that is not the caller’s ends with not_found', async () => {
    const { run, follower } = follow(makeLog(seeded(8)))
    run.isVisible = false
    const refused = expect(follower.finished()).rejects.toMatchObject({ code: 'not_found', status: 404 })
    await tick()
    await refused
    expect(follower.error()).toMatchObject({ code: 'not_found' })
    await tick(60_000)
    expect(run.isListening()).toBe(false)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('stops when nobody listens, and goes on where it was', async () => {
    const log = makeLog(seeded(9), 4)
    const { run, follower, stop, expectAll } = follow(log)
    run.up()
    await tick()
    run.commit(6)
    stop()
    expect(run.isListening()).toBe(false)
    expect(vi.getTimerCount()).toBe(0)
    run.commit(6)
    expect(follower.state().seq).toBe(6)
    const finished = follower.finished()
    run.commit(log.rows.length)
    await tick()
    expect((await finished).status).toBe('completed')
    expect(run.listens).toBe(2)
    expectAll()
  })

  it('may be waited for with a signal', async () => {
    const { follower, run, stop } = follow(makeLog(seeded(9)))
    stop()
    const controller = new AbortController()
    const finished = follower.finished(controller.signal)
    controller.abort(new Error('enough'))
    await expect(finished).rejects.toThrow('enough')
    expect(run.isListening()).toBe(false)
  })
})

describe('a stream beside the channel', () => {
  it('is opened again where it broke off, wherever that is, and merged with the channel', async () => {
    for (let seed = 1; seed <= 30; seed++) {
      const random = seeded(seed)
      const log = makeLog(random)
      const run = createFakeRun(log.rows)
      const told: RunEvent[] = []
      run.transport.stream = async function* (_runId, after) {
        run.streams.push(after)
        const rest = log.rows.filter((row) => (row.seq ?? 0) > after)
        for (const row of rest.slice(0, 1 + random.int(6))) {
          await Promise.resolve()
          yield row
        }
        if (random.int(2) === 0) throw new Error('connection reset')
        yield { event: 'stream_end', run_id: RUN_ID, after }
      }
      const follower = createRunFollower(run.transport, RUN_ID, { onEvent: (event) => told.push(event) })
      const finished = follower.finished()
      run.up()
      run.commit(log.rows.length, () => random.int(2) === 0)
      await tick(60_000)
      expect(await finished).toMatchObject({ status: 'completed', content: log.content })
      expect(retold(told)).toEqual(retold(log.rows))
      expect(run.streams.every((after, index) => after >= (run.streams[index - 1] ?? 0))).toBe(true)
    }
  })

  it('that fails itself ends nothing: the run goes on in its log', async () => {
    const log = makeLog(seeded(13))
    const run = createFakeRun(log.rows)
    const failure = { run_id: RUN_ID, error: 'Something went wrong.', code: 'internal' }
    run.transport.stream = async function* (_runId, after) {
      run.streams.push(after)
      if (run.streams.length === 1) {
        yield log.rows[0]!
        yield { event: 'error', ...failure }
        yield { event: 'complete', status: 'failed', content: '', ...failure }
      } else yield* log.rows.filter((row) => (row.seq ?? 0) > after)
    }
    const finished = createRunFollower(run.transport, RUN_ID).finished()
    await tick(60_000)
    expect(await finished).toMatchObject({ status: 'completed', content: log.content, error: null })
    expect(run.streams).toEqual([0, 1])
  })

  it('that keeps failing is opened less and less often, and the log is read at once each time', async () => {
    const log = makeLog(seeded(15))
    const run = createFakeRun(log.rows)
    const opened: number[] = []
    const reads: number[] = []
    const failure = { run_id: RUN_ID, error: 'Something went wrong.', code: 'internal' }
    run.transport.stream = async function* () {
      // What happens until then is in the log alone.
      run.commit(1, () => true)
      opened.push(Date.now())
      yield { event: 'error', ...failure }
      yield { event: 'complete', status: 'failed', content: '', ...failure }
    }
    const follower = createRunFollower(run.transport, RUN_ID, {
      onEvent: () => reads.push(Date.now()),
    })
    const stop = follower.subscribe(() => undefined)
    run.up()
    await tick(30_000)
    stop()
    expect(opened.slice(1).map((at, index) => at - (opened[index] ?? 0))).toEqual([
      500, 1_000, 2_000, 5_000, 10_000, 10_000,
    ])
    expect(reads).toEqual(opened)
  })

  it('that its viewer may not read any more ends what is followed', async () => {
    const log = makeLog(seeded(14))
    const run = createFakeRun(log.rows)
    const failure = { run_id: RUN_ID, error: 'The run cannot be read any more.', code: 'not_found' }
    run.transport.stream = async function* () {
      yield log.rows[0]!
      yield { event: 'complete', status: 'failed', content: '', ...failure }
    }
    const finished = createRunFollower(run.transport, RUN_ID).finished()
    await tick(1_000)
    expect(await finished).toMatchObject({ status: 'failed', content: '', error: { code: 'not_found' } })
  })

  it('may be read elsewhere and pushed in', async () => {
    const log = makeLog(seeded(11))
    const { run, follower, expectAll } = follow(log)
    for (const row of log.rows) {
      run.commit(1)
      follower.push(row)
    }
    await tick()
    expectAll()
  })

  it('and a folded log make the same', async () => {
    const log = makeLog(seeded(12), 5)
    const run = createFakeRun(fold(log.rows))
    const follower = createRunFollower(run.transport, RUN_ID)
    const finished = follower.finished()
    for (const row of log.rows.slice(0, 9)) follower.push(row)
    run.commit(log.rows.length, () => true)
    await tick(20_000)
    expect((await finished).content).toBe(log.content)
  })
})

/** supabase-js as far as a channel needs it. */
function createFakeClient() {
  const client = {
    auths: 0,
    failAuths: 0,
    channels: [] as { topic: string; status: (status: string) => void; send: (payload: RunEvent) => void }[],
    removed: 0,
    realtime: {
      async setAuth() {
        client.auths++
        if (client.failAuths-- > 0) throw new Error('signed out')
      },
    },
    channel(topic: string) {
      let onEvent: (message: { payload: RunEvent }) => void = () => undefined
      const channel = {
        on(type: string, filter: { event?: string }, callback: typeof onEvent) {
          if (type === 'broadcast' && filter.event === 'run_event') onEvent = callback
          return channel
        },
        subscribe(callback: (status: string) => void) {
          client.channels.push({ topic, status: callback, send: (payload) => onEvent({ payload }) })
          return channel
        },
      }
      return channel
    },
    async removeChannel() {
      client.removed++
    },
  }
  return client
}

describe('the channel', () => {
  const listener = () => ({ event: vi.fn(), up: vi.fn(), down: vi.fn() })

  it('is shared by all who listen to one topic, and authorized before it is joined', async () => {
    const client = createFakeClient()
    const [first, second] = [listener(), listener()]
    const stops = [listenTo(client as never, 'chat:u', first)]
    expect([client.auths, client.channels.length]).toEqual([1, 0])
    await tick()
    client.channels[0]?.status('SUBSCRIBED')
    stops.push(listenTo(client as never, 'chat:u', second))
    await tick()
    expect(client.channels.map(({ topic }) => topic)).toEqual(['chat:u'])
    expect([first.up.mock.calls.length, second.up.mock.calls.length]).toEqual([1, 1])
    client.channels[0]?.send({ event: 'start', seq: 1 })
    expect(first.event).toHaveBeenCalledWith({ event: 'start', seq: 1 })
    expect(second.event).toHaveBeenCalledTimes(1)
    stops[0]?.()
    expect(client.removed).toBe(0)
    stops[1]?.()
    expect(client.removed).toBe(1)
  })

  it('is opened anew with a new token when it is closed, e.g. because the old one has expired', async () => {
    const client = createFakeClient()
    const { up, down, event } = listener()
    const stop = listenTo(client as never, 'run:r', { up, down, event })
    await tick()
    client.channels[0]?.status('SUBSCRIBED')
    client.channels[0]?.status('CLOSED')
    expect(down).toHaveBeenCalledTimes(1)
    client.failAuths = 2
    await tick(10_000)
    expect([client.auths, client.channels.length]).toEqual([4, 2])
    client.channels[1]?.status('SUBSCRIBED')
    expect(up).toHaveBeenCalledTimes(2)
    // What the old one still says is void.
    client.channels[0]?.status('CLOSED')
    expect(down).toHaveBeenCalledTimes(1)
    stop()
    client.channels[1]?.status('CLOSED')
    await tick(60_000)
    expect(client.channels).toHaveLength(2)
  })

  it('is left to supabase-js after an error, which rejoins by itself', async () => {
    const client = createFakeClient()
    const { up, down, event } = listener()
    listenTo(client as never, 'run:r', { up, down, event })
    await tick()
    client.channels[0]?.status('CHANNEL_ERROR')
    client.channels[0]?.status('SUBSCRIBED')
    await tick(60_000)
    expect(client.channels).toHaveLength(1)
    expect([up.mock.calls.length, down.mock.calls.length]).toEqual([1, 1])
  })
})
