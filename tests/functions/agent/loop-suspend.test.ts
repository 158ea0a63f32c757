import { describe, expect, it } from 'vitest'
import { RunSuspended } from '../../../supabase/functions/_shared/agent/suspend.ts'
import type { GateDecision, LoopGates } from '../../../supabase/functions/_shared/agent/types.ts'
import { AppError } from '../../../supabase/functions/_shared/errors.ts'
import type { Tool } from '../../../supabase/functions/_shared/tools/types.ts'
import type { Life } from './support/journal-store.ts'
import { createJournalStore, createLife } from './support/journal-store.ts'
import { assertWellFormed, call, fakeTool, only, runScript, say, scriptedModel } from './support/loop-fakes.ts'
import { drive, livingTool, timeless, undisturbed } from './support/resumed-runs.ts'

/** People who are asked about calls of some tools, and answer when told to. */
function people(guarded: readonly string[]) {
  const asked: string[] = []
  const answers = new Map<string, boolean>()
  const gates: LoopGates = {
    async beforeTool(tool, args, callId): Promise<GateDecision> {
      if (!guarded.includes(tool.name)) return { allowed: true, args }
      asked.push(callId)
      const answer = answers.get(callId)
      if (answer === undefined) throw new RunSuspended('approval', callId)
      return answer ? { allowed: true, args, isApproved: true } : { allowed: false, message: 'Denied by user: no' }
    },
  }
  return { asked, answers, gates }
}

const tool = (name: string, log: string[], traits: Partial<Tool> = {}) =>
  fakeTool(
    name,
    async (_args, { callId }) => {
      log.push(callId)
      return { text: `${name} ok` }
    },
    traits,
  )
const safe = { isConcurrencySafe: true }
const script = () =>
  scriptedModel(({ messages }) =>
    messages.length > 1
      ? [say(messages.flatMap((message) => (message.role === 'tool' ? [message.content] : [])).join())]
      : [
          ...[
            say('Hm.'),
            call('ask', {}, 'a1'),
            call('read', {}, 'r1'),
            call('read', {}, 'r2'),
            call('write', {}, 'w1'),
          ],
          call('read', {}, 'r3'),
        ],
  )

describe('a call that needs a person', () => {
  const scene = (guarded: string[]) => {
    const made: string[] = []
    const { asked, answers, gates } = people(guarded)
    const store = createJournalStore()
    const go = async (signal = new AbortController().signal) => {
      const writer = store.writer(createLife())
      const tools = [tool('ask', made, safe), tool('read', made, safe), tool('write', made, { effects: ['writes'] })]
      const { result } = await runScript(script(), tools, { ...writer, gates, resume: store.resume(), signal })
      writer.flush()
      return result
    }
    return { made, asked, answers, store, go }
  }

  it('lets the others beside it finish, and none after them begin', async () => {
    const { go, made, store } = scene(['ask'])
    const result = await go()
    expect(result).toMatchObject({
      ...{ status: 'suspended', waiting: { reason: 'approval', callId: 'a1' }, error: null, errorCode: null },
      content: 'Hm.',
    })
    expect(made).toEqual(['r1', 'r2', 'r3'])
    const ids = (kind: string) => only(store.events, kind).map((event) => event['call_id'])
    expect(ids('tool_call')).toEqual(['a1', 'r1', 'r2', 'r3'])
    expect(ids('tool_result')).toEqual(['r1', 'r2', 'r3'])
    expect(only(store.events, 'step_completed')).toEqual([])
    const [step] = store.resume()
    expect(step).toMatchObject({ step: 1, record: null, turn: { state: 'made', announced: ['a1', 'r1', 'r2', 'r3'] } })
    expect(step?.calls.map(({ call_id, finished }) => [call_id, finished !== null]).toSorted()).toEqual([
      ['r1', true],
      ['r2', true],
      ['r3', true],
    ])
  })

  it.each([
    [true, 'ask ok,read ok,read ok,write ok,read ok', ['r1', 'r2', 'r3', 'a1', 'w1']],
    [false, 'Denied by user: no,read ok,read ok,write ok,read ok', ['r1', 'r2', 'r3', 'w1']],
  ])('is asked about again when the run goes on (%s), and nothing else is made twice', async (answer, text, calls) => {
    const { go, made, asked, answers, store } = scene(['ask'])
    await go()
    answers.set('a1', answer)
    const result = await go()
    expect(result).toMatchObject({ status: 'completed', content: `Hm.\n\n${text}`, waiting: null })
    expect(made).toEqual(calls)
    expect(asked).toEqual(['a1', 'a1'])
    expect(result.toolCalls.map((record) => record.call_id)).toEqual(['r1', 'r2', 'r3', 'a1', 'w1'])
    assertWellFormed(store.events)
  })

  it('waits on while nobody has decided, without another event', async () => {
    const { go, store, made } = scene(['ask'])
    await go()
    const before = store.events.length
    expect(await go()).toMatchObject({ status: 'suspended', waiting: { callId: 'a1' } })
    expect(store.events).toHaveLength(before)
    expect(made).toHaveLength(3)
  })

  it('may have others beside it that need one too: each is asked about, the first is waited for', async () => {
    const { go, asked, answers, made, store } = scene(['ask', 'read', 'write'])
    expect(await go()).toMatchObject({ status: 'suspended', waiting: { callId: 'a1' } })
    expect(asked.toSorted()).toEqual(['a1', 'r1', 'r2', 'r3'])
    for (const id of ['r2', 'a1', 'r1', 'r3', 'w1']) {
      answers.set(id, true)
      await go()
    }
    expect(made.toSorted()).toEqual(['a1', 'r1', 'r2', 'r3', 'w1'])
    expect(store.resume().find(({ step }) => step === 1)?.record).toMatchObject({ outcome: 'continues' })
    assertWellFormed(store.events)
  })

  it('has its one result when the run is stopped while it waits for the others to finish', async () => {
    const controller = new AbortController()
    const { gates } = people(['ask'])
    const slow = fakeTool(
      'read',
      async () => {
        controller.abort(new AppError('conflict', 'Cancelled.'))
        return { text: 'late' }
      },
      safe,
    )
    const { result, events } = await runScript(script(), [tool('ask', [], safe), slow, tool('write', [])], {
      gates,
      signal: controller.signal,
    })
    expect(result).toMatchObject({ status: 'failed', error: 'Cancelled.', waiting: null })
    expect(result.toolCalls.find(({ call_id }) => call_id === 'a1')?.result).toContain('stopped before this call')
    assertWellFormed(events)
  })

  it('suspends a run without a journal as well', async () => {
    const { gates } = people(['ask'])
    const { result, events } = await runScript(scriptedModel([[call('ask', {}, 'a1')]]), [tool('ask', [])], { gates })
    expect(result).toMatchObject({ status: 'suspended', waiting: { reason: 'approval', callId: 'a1' }, steps: [] })
    expect(events.map(({ event }) => event)).toEqual(['step_started', 'tool_call'])
  })

  it('is no failure of a hook; another error still is', async () => {
    const gates = { beforeTool: () => Promise.reject(new Error('bug')) }
    const { result, logged } = await runScript(scriptedModel([[call('ask')], [say('x')]]), [tool('ask', [])], { gates })
    expect(result.toolCalls[0]?.result).toContain('a hook failed')
    expect(logged).toContain('gate_failed')
    const suspended = await runScript(scriptedModel([[call('ask')]]), [tool('ask', [])], people(['ask']))
    expect(suspended.logged).toBe('')
  })

  it('is finished wherever executors are killed before and after it was decided about', async () => {
    const run = async (deaths: number[]) => {
      const made: string[] = []
      const { gates, answers } = people(['ask', 'write'])
      const ran = await drive({
        deaths,
        equip: (life: Life) => ({
          chat: script(),
          tools: [
            ...[tool('ask', made, safe), tool('read', made, safe)],
            tool('write', made, { effects: ['writes'], isRetrySafe: true }),
          ].map((one) => livingTool(one, life)),
          gates,
        }),
        onWaiting: ({ waiting }) => void answers.set(waiting?.callId ?? '', true),
      })
      return { ...ran, made }
    }
    const reference = await run([])
    expect(reference.executors).toBe(3)
    for (let first = 0; first < 25; first++) {
      for (const second of [Infinity, 0, 2, 4, 6]) {
        const ran = await run([first, second])
        expect(timeless(ran.result)).toEqual(timeless(reference.result))
        expect(undisturbed(ran.store.events)).toEqual(undisturbed(reference.store.events))
        assertWellFormed(ran.store.events)
        expect(new Set(ran.made)).toEqual(new Set(reference.made))
      }
    }
  })
})
