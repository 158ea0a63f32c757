import { describe, expect, it } from 'vitest'
import type { Journal, JournalEntry } from '../../../supabase/functions/_shared/agent/journal.ts'
import type { LoopGates } from '../../../supabase/functions/_shared/agent/types.ts'
import { AppError } from '../../../supabase/functions/_shared/errors.ts'
import type { Tool } from '../../../supabase/functions/_shared/tools/types.ts'
import { createJournalStore, createLife } from './support/journal-store.ts'
import { assertWellFormed, call, fakeTool, only, runScript, say, scriptedModel } from './support/loop-fakes.ts'
import { drive } from './support/resumed-runs.ts'

/** A journal that lets its reader see the order of everything. */
function watched(commit: () => Promise<void> = () => Promise.resolve()) {
  const order: string[] = []
  const entries: JournalEntry[] = []
  const journal: Journal = {
    note(entry) {
      entries.push(entry)
      order.push(entry.op === 'turn' ? entry.state : entry.op)
    },
    commit() {
      order.push('commit')
      return commit()
    },
  }
  return { order, entries, journal, emit: (event: string) => void order.push(event) }
}

/** A tool that has an effect; it marks when. */
const charge = (order: string[], traits: Partial<Tool> = {}) =>
  fakeTool(
    'charge',
    async () => {
      order.push('CHARGED')
      return { text: 'ok' }
    },
    { effects: ['writes'], ...traits },
  )

describe('the journal', () => {
  it('has the turn, its calls and the beginning of one made durable in one go before it is made', async () => {
    const { order, journal, emit } = watched()
    await runScript(scriptedModel([[say('Hm.'), call('charge')], [say('Done.')]]), [charge(order)], { journal, emit })
    expect(order).toEqual([
      ...['begun', 'step_started', 'content_delta'],
      ...['made', 'tool_call', 'call_started', 'commit', 'CHARGED', 'call_finished', 'tool_result'],
      ...['step_done', 'step_completed'],
      ...['begun', 'step_started', 'content_delta', 'made', 'step_done', 'step_completed'],
    ])
  })

  it('costs a call that can be repeated one wait, and each announcement of a further one a note', async () => {
    const { order, journal, emit, entries } = watched()
    const script = [[call('charge', {}, 'a'), call('charge', {}, 'b')], [say('Done.')]]
    await runScript(scriptedModel(script), [charge(order, { isRetrySafe: true })], { journal, emit })
    expect(order.slice(2, -6)).toEqual([
      ...['made', 'tool_call', 'call_started', 'commit', 'CHARGED', 'call_finished', 'tool_result'],
      ...['made', 'tool_call', 'call_started', 'CHARGED', 'call_finished', 'tool_result'],
      ...['step_done', 'step_completed'],
    ])
    const turns = entries.flatMap((entry) => (entry.op === 'turn' && entry.state === 'made' ? [entry.announced] : []))
    expect(turns).toEqual([['a'], ['a', 'b'], []])
  })

  it('is durable before a gate asks anybody, and again before a call that must not be repeated', async () => {
    const run = async (asksAbout?: () => boolean) => {
      const { order, journal, emit } = watched()
      const beforeTool: LoopGates['beforeTool'] = async (_tool, args, _id, memory) => {
        order.push('ASKED')
        memory?.keep(['yes'])
        return { allowed: true, args }
      }
      const gates = { beforeTool, ...(asksAbout ? { asksAbout } : {}) }
      await runScript(scriptedModel([[call('charge')], [say('Done.')]]), [charge(order)], { journal, emit, gates })
      return order.slice(order.indexOf('made'), order.indexOf('CHARGED'))
    }
    const asking = ['made', 'tool_call', 'commit', 'ASKED', 'call_checked', 'call_started', 'commit']
    expect(await run()).toEqual(asking)
    expect(await run(() => true)).toEqual(asking)
    expect(await run(() => false)).toEqual(['made', 'tool_call', 'ASKED', 'call_checked', 'call_started', 'commit'])
  })

  it('says of each start whether it may be repeated, by the arguments with which it is made', async () => {
    const { entries, journal, order } = watched()
    const isRetrySafe = ({ method }: Readonly<Record<string, unknown>>) => method === 'GET'
    await runScript(
      scriptedModel([
        [call('charge', { method: 'GET' }, 'a'), call('charge', {}, 'b'), call('read', {}, 'c')],
        [say('x')],
      ]),
      [charge(order, { isRetrySafe }), fakeTool('read', 'ok', { isConcurrencySafe: true })],
      // A hook makes a change of what was to be a mere look.
      {
        journal,
        gates: {
          beforeTool: async (_tool, args, id) => ({ allowed: true, args: id === 'a' ? { method: 'POST' } : args }),
        },
      },
    )
    const started = entries.filter((entry) => entry.op === 'call_started')
    expect(started.map(({ call_id, is_retry_safe, attempt }) => [call_id, is_retry_safe, attempt])).toEqual([
      ['c', true, 1],
      ['a', false, 1],
      ['b', false, 1],
    ])
    expect(started[1]?.arguments).toEqual({ method: 'POST' })
  })

  it('has no start of a call that is refused, and no wait for one that cannot be made', async () => {
    const { order, journal, emit } = watched()
    const model = scriptedModel([[call('nobody'), call('charge')], [say('Done.')]])
    const gates = { beforeTool: async () => ({ allowed: false as const, message: 'No.' }) }
    await runScript(model, [charge(order)], { journal, emit, gates })
    expect(order).not.toContain('call_started')
    expect(order.filter((one) => one === 'commit')).toHaveLength(1)
    expect(order.filter((one) => one === 'call_finished')).toHaveLength(2)
  })

  it('can be stored whatever the model and the tools write', async () => {
    const { entries, journal } = watched()
    const script = [[say('a\0b\ud83e'), call('charge', '{"n": "\\u0000"}'), call('x\0', 'y\0')], [say('🦆')]]
    await runScript(scriptedModel(script), [fakeTool('charge', 'r\0\udd86')], { journal })
    const text = JSON.stringify(entries)
    expect(text).not.toMatch(/[^\\]\\u0000|\\ud[89a-f]/)
    expect(entries.find((entry) => entry.op === 'turn' && entry.state === 'made')).toMatchObject({
      content: 'a\ufffdb\ufffd',
      raw_text: 'a\ufffdb\ufffd',
    })
  })

  it('changes nothing else: the same events, the same result', async () => {
    const script = () => scriptedModel([[say('Hm.'), call('charge', {}, 'a'), call('read', {}, 'b')], [say('Done.')]])
    const tools = () => [charge([]), fakeTool('read', 'ok', { isConcurrencySafe: true })]
    const times = /"duration_ms":\d+/g
    const without = await runScript(script(), tools())
    const { journal } = watched()
    const ran = await runScript(script(), tools(), { journal, resume: [] })
    expect(JSON.stringify(ran).replace(times, '')).toBe(JSON.stringify(without).replace(times, ''))
  })
})

describe('a run whose journal cannot be written', () => {
  const lost = () => Promise.reject(new AppError('conflict', 'The lease is lost.'))

  it('makes no call, says no more, and fails with the reason', async () => {
    const { order, journal, emit } = watched(lost)
    const { result, logged } = await runScript(
      scriptedModel([[call('read', {}, 'r'), call('charge', {}, 'c')]]),
      [charge(order), fakeTool('read', 'ok', { isConcurrencySafe: true })],
      { journal, emit },
    )
    expect(order).toEqual(['begun', 'step_started', 'made', 'tool_call', 'call_started', 'commit'])
    expect(result).toMatchObject({
      status: 'failed',
      errorCode: 'conflict',
      error: 'The lease is lost.',
      toolCalls: [],
    })
    expect(logged).toContain('run_lost')
    expect(logged).not.toContain('loop_failed')
  })

  it('makes no call that must not be repeated when only its start could not be written', async () => {
    let commits = 0
    const { order, journal, emit } = watched(() => (++commits === 1 ? Promise.resolve() : lost()))
    const gates: LoopGates = { beforeTool: async (_tool, args) => ({ allowed: true, args }) }
    const { result } = await runScript(scriptedModel([[call('charge')]]), [charge(order)], { journal, emit, gates })
    expect(order.slice(-5)).toEqual(['made', 'tool_call', 'commit', 'call_started', 'commit'])
    expect(result.status).toBe('failed')
  })

  it('is stopped while it waits for the journal, and makes no call', async () => {
    const controller = new AbortController()
    const { order, journal } = watched(() => {
      setTimeout(() => controller.abort(new AppError('conflict', 'Cancelled.')))
      return new Promise(() => {})
    })
    const { result, events } = await runScript(scriptedModel([[call('charge'), call('charge')]]), [charge(order)], {
      journal,
      signal: controller.signal,
    })
    expect(order).not.toContain('CHARGED')
    expect(result).toMatchObject({ status: 'failed', error: 'Cancelled.' })
    expect(only(events, 'tool_result').map((event) => event['result'])).toEqual([
      'The run was stopped before this call was made.',
    ])
    assertWellFormed(events)
  })
})

describe('an interrupted call', () => {
  /** Kills the executor once the tool has taken effect, and gives what it left behind. */
  async function interrupted(traits: Partial<Tool>) {
    const store = createJournalStore()
    const life = createLife()
    const writer = store.writer(life)
    const effects: unknown[] = []
    const tool = (name = 'charge') =>
      fakeTool(
        name,
        async (args, { idempotencyKey }) => {
          effects.push([args, idempotencyKey])
          if (effects.length === 1) await new Promise(() => {})
          return { text: 'ok' }
        },
        { effects: ['writes'], ...traits },
      )
    const asked: string[] = []
    const gates = {
      beforeTool: async (_tool: Tool, _args: unknown, callId: string) => {
        asked.push(callId)
        return { allowed: true as const, args: { n: 2 } }
      },
    }
    const model = () =>
      scriptedModel(({ messages }) => (messages.length > 1 ? [say('Done.')] : [call('charge', { n: 1 }, 'c')]))
    void runScript(model(), [tool()], { ...writer, gates })
    await expect.poll(() => effects.length).toBe(1)
    const go = async (tools: Tool[] = [tool()]) => {
      const next = store.writer(createLife())
      const ran = await runScript(model(), tools, { ...next, gates, resume: store.resume() })
      next.flush()
      return ran.result
    }
    return { store, effects, asked, go }
  }

  it('that can be repeated is made again with the arguments and the key of then; hooks are not asked again', async () => {
    const { go, effects, asked, store } = await interrupted({ isRetrySafe: true })
    expect(await go()).toMatchObject({ status: 'completed', content: 'Done.' })
    expect(effects).toEqual([
      [{ n: 2 }, 'run_1:c'],
      [{ n: 2 }, 'run_1:c'],
    ])
    expect(asked).toEqual(['c'])
    expect(only(store.events, 'call_interrupted')).toEqual([])
    expect(only(store.events, 'tool_call')).toHaveLength(1)
  })

  it('that cannot be repeated suspends the run and is told once, however often somebody takes it up', async () => {
    const { go, effects, store } = await interrupted({})
    for (let time = 0; time < 3; time++) {
      expect(await go()).toMatchObject({
        status: 'suspended',
        waiting: { reason: 'unsafe_call', callId: 'c' },
        error: null,
      })
    }
    expect(effects).toHaveLength(1)
    expect(only(store.events, 'call_interrupted')).toEqual([
      {
        event: 'call_interrupted',
        step: 1,
        step_number: 1,
        tool_name: 'charge',
        call_id: 'c',
        arguments: { n: 2 },
        run_id: 'run_1',
      },
    ])
    store.decide('c', 'retry')
    expect(await go()).toMatchObject({ status: 'completed' })
    expect(effects).toHaveLength(2)
    assertWellFormed(store.events)
  })

  it('is not repeated by the same decision twice', async () => {
    const { go, store, effects } = await interrupted({})
    await go()
    store.decide('c', 'retry')
    // Killed again while it is made again.
    void go([fakeTool('charge', () => new Promise(() => {}))])
    await expect.poll(() => store.resume()[0]?.calls[0]?.started?.attempt).toBe(2)
    expect(await go()).toMatchObject({ status: 'suspended', waiting: { callId: 'c' } })
    expect(only(store.events, 'call_interrupted')).toHaveLength(2)
    expect(effects).toHaveLength(1)
  })

  it('of a tool that is gone is not made, whatever was decided', async () => {
    const { go, store, effects } = await interrupted({})
    expect(await go([])).toMatchObject({ status: 'suspended' })
    store.decide('c', 'retry')
    expect(await go([])).toMatchObject({
      status: 'completed',
      toolCalls: [{ result: expect.stringContaining('There is no tool of this name.') }],
    })
    expect(effects).toHaveLength(1)
  })

  it('of a run that is stopped before it goes on has its one result', async () => {
    const { store } = await interrupted({})
    const writer = store.writer(createLife())
    const signal = AbortSignal.abort(new AppError('conflict', 'Cancelled.'))
    const { result } = await runScript(scriptedModel([]), [fakeTool('charge')], {
      ...writer,
      resume: store.resume(),
      signal,
    })
    writer.flush()
    expect(result).toMatchObject({
      status: 'failed',
      error: 'Cancelled.',
      toolCalls: [{ result: expect.stringContaining('may or may not have taken effect') }],
    })
    assertWellFormed(store.events)
  })
})

describe('a run that is handed over', () => {
  it('stops between two steps, nothing of the next begun, and goes on elsewhere', async () => {
    const steps: number[] = []
    const script = scriptedModel(({ messages }) => {
      const made = messages.filter(({ role }) => role === 'tool').length
      return made < 4 ? [say(`${made}`), call('read', { made }, `c${made}`)] : [say('Done.')]
    })
    const { RunSuspended } = await import('../../../supabase/functions/_shared/agent/suspend.ts')
    const waiting: unknown[] = []
    const { result, store, executors } = await drive({
      equip: () => ({
        chat: script,
        tools: [fakeTool('read', 'ok', { isConcurrencySafe: true })],
        beforeStep(step) {
          steps.push(step)
          if (step % 2 === 1) throw new RunSuspended('handover')
        },
      }),
      onWaiting: (ran) => waiting.push(ran.waiting),
    })
    expect(result).toMatchObject({ status: 'completed', content: '0\n\n1\n\n2\n\n3\n\nDone.' })
    expect(executors).toBe(3)
    // The first step of an executor is its own: none can hand over without having done anything.
    expect(steps).toEqual([2, 3, 4, 5])
    expect(waiting).toEqual(Array(2).fill({ reason: 'handover', callId: null }))
    expect(only(store.events, 'step_reset')).toEqual([])
    assertWellFormed(store.events)
  })
})
