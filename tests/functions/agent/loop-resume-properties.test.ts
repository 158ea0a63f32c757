import { describe, expect, it } from 'vitest'
import type { Budget } from '../../../supabase/functions/_shared/agent/budget.ts'
import { RunSuspended } from '../../../supabase/functions/_shared/agent/suspend.ts'
import type { LoopGates } from '../../../supabase/functions/_shared/agent/types.ts'
import { AppError } from '../../../supabase/functions/_shared/errors.ts'
import type { ChatMessage, ChatProvider, ChatRequest } from '../../../supabase/functions/_shared/providers/index.ts'
import { storable } from '../../../supabase/functions/_shared/storable.ts'
import { babble, createRandom, cut } from '../support/random.ts'
import type { Life } from './support/journal-store.ts'
import type { Turn } from './support/loop-fakes.ts'
import {
  assertWellFormed,
  call,
  done,
  fakeTool,
  only,
  say,
  scriptedModel,
  shownText,
  think,
} from './support/loop-fakes.ts'
import type { Driven } from './support/resumed-runs.ts'
import { drive, livingModel, textByOffsets } from './support/resumed-runs.ts'

type Random = () => number
const pick = <T>(random: Random, items: readonly T[]): T => items[Math.floor(random() * items.length)] as T
const WORDS = ['sea ', '🦆', '\0', 'x', '\n', ' [1]', '\\u0000', '"']
const NAMES = ['read', 'read', 'page', 'post', 'charge', 'charge', 'throws', 'nobody']

function randomTurn(random: Random): Turn {
  const turn: Turn[number][] = []
  for (const piece of cut(babble(WORDS, Math.floor(random() * 6), random), random)) {
    turn.push(random() < 0.2 ? think(piece) : say(piece))
  }
  if (random() < 0.75) {
    for (let count = 1 + Math.floor(random() * 4); count > 0; count--) {
      const args = random() < 0.1 ? '{"n":' : { n: Math.floor(random() * 99) }
      turn.push(call(pick(random, NAMES), args, random() < 0.15 ? 'again' : `c${random()}`.replace('.', '')))
    }
  }
  const fate = random()
  if (fate < 0.04) turn.push(new AppError('rate_limited', 'no'))
  else if (fate < 0.08) turn.push(new AppError('context_length_exceeded', 'no'))
  else if (fate < 0.1) turn.push(new Error('a bug'))
  else if (fate < 0.16) turn.push(done('length'))
  return turn
}

const isPaired = (messages: readonly ChatMessage[]): boolean => {
  const ids = messages.flatMap((m) => (m.role === 'assistant' ? (m.toolCalls ?? []).map(({ id }) => id) : []))
  return ids.join() === messages.flatMap((m) => (m.role === 'tool' ? [m.toolCallId] : [])).join()
}

/** What outlasts every executor. */
type World = {
  /** Calls that must not be repeated, as often as they were made. */
  charges: string[]
  posts: Map<string, string>
  approvals: Map<string, 'asked' | 'approved' | 'denied'>
  requests: ChatRequest[]
  reserved: Map<string, 'open' | 'settled'>
}

function toolsOf(life: Life, world: World, random: Random) {
  const inputSchema = { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] }
  let keys = 0
  const text = () => babble(WORDS, 10, random)
  const pauses = async () => {
    for (let i = Math.floor(random() * 4); i > 0; i--) await Promise.resolve()
    await life.live()
  }
  const reads = async () => {
    await pauses()
    const contextItems =
      random() < 0.3 ? [{ key: ++keys * 100 + Math.floor(random() * 99), text: text(), meta: {} }] : []
    return { text: text(), contextItems }
  }
  return [
    fakeTool('read', reads, { inputSchema, isConcurrencySafe: true }),
    fakeTool('page', reads, { inputSchema, isConcurrencySafe: random() < 0.5, isRetrySafe: true }),
    fakeTool(
      'post',
      async (args, { idempotencyKey }) => {
        await pauses()
        const before = world.posts.get(idempotencyKey)
        if (before !== undefined && before !== JSON.stringify(args)) throw new Error('Another call with the same key.')
        world.posts.set(idempotencyKey, JSON.stringify(args))
        await pauses()
        return { text: text() }
      },
      { inputSchema, isRetrySafe: ({ n }) => typeof n === 'number' },
    ),
    // Some tools run beside each other and can still not be repeated.
    fakeTool(
      'charge',
      async (_args, { callId }) => {
        await pauses()
        world.charges.push(callId)
        await pauses()
        return { text: text() }
      },
      { inputSchema, isConcurrencySafe: random() < 0.3, isRetrySafe: false },
    ),
    fakeTool('throws', () => Promise.reject(random() < 0.5 ? new Error('bug') : new AppError('forbidden', 'no')), {
      inputSchema,
    }),
  ]
}

const gatesOf = (world: World, random: Random): LoopGates => ({
  async beforeTool(tool, args, callId) {
    const state = world.approvals.get(callId)
    if (state === 'approved') return { allowed: true, args, isApproved: true }
    if (state === 'denied') return { allowed: false, message: 'Denied by user' }
    if (state === undefined && random() > 0.25) return { allowed: true, args }
    if (tool.name === 'throws') throw new Error('hook bug')
    world.approvals.set(callId, 'asked')
    throw new RunSuspended('approval', callId)
  },
  ...(random() < 0.3 ? { afterTool: async (_tool, _args, text) => `${text}!` } : {}),
})

function budgetOf(life: Life, world: World, random: Random): Budget {
  return {
    async reserve({ maxTokens }) {
      await life.live()
      if (random() < 0.01) throw new AppError('limit_reached', 'The budget is used up.')
      const id = `${world.reserved.size}`
      world.reserved.set(id, 'open')
      return { id, maxTokens }
    },
    async settle(id) {
      if (id === null || world.reserved.get(id) !== 'open') throw new Error('Settled twice, or never reserved.')
      world.reserved.set(id, 'settled')
      await Promise.resolve()
    },
  }
}

async function randomRun(seed: number): Promise<Driven & { world: World; losesLease: boolean }> {
  const random = createRandom(seed)
  const world: World = {
    ...{ charges: [], posts: new Map(), approvals: new Map(), requests: [] },
    reserved: new Map(),
  }
  const window = random() < 0.25 ? 300 : 1_000_000
  const maxSteps = 1 + Math.floor(random() * 7)
  const losesLease = random() < 0.25
  const lag = random()
  const deaths = Array.from({ length: Math.floor(random() * 6) }, () => Math.floor(random() * 40))
  const modelOf = (life: Life): ChatProvider => {
    const model = scriptedModel((request) => {
      world.requests.push(structuredClone(request))
      return request.system.startsWith('Summarise') ? [say('s')] : randomTurn(random)
    }, window)
    return livingModel(model, life)
  }
  const forever: Life = { act: () => true, live: () => Promise.resolve(), died: new Promise(() => {}), acts: () => 0 }
  const cancelAfter = random() < 0.1 ? Math.floor(random() * 100) : Infinity
  let acts = 0
  const ran = await drive({
    equip(given) {
      const controller = new AbortController()
      const own = losesLease ? forever : given
      const life: Life = {
        ...own,
        live() {
          if (acts++ >= cancelAfter) controller.abort(new AppError('conflict', 'Cancelled.'))
          return own.live()
        },
      }
      return {
        chat: modelOf(life),
        tools: toolsOf(life, world, random),
        gates: gatesOf(world, random),
        budget: budgetOf(life, world, random),
        signal: controller.signal,
        untrusted: random() < 0.7 ? 'allow' : 'refuse',
        maxSteps,
        fallbackModel: 'model-b',
      }
    },
    deaths,
    losesLease,
    holdsBack: () => random() < lag,
    decide: () => (random() < 0.5 ? 'retry' : 'skip'),
    onWaiting() {
      for (const [id, state] of world.approvals) {
        if (state === 'asked') world.approvals.set(id, random() < 0.7 ? 'approved' : 'denied')
      }
    },
    limit: 200,
  })
  return { ...ran, world, losesLease }
}

describe('whatever the model does and whoever is killed', () => {
  const RUNS = 500
  const runs: Awaited<ReturnType<typeof randomRun>>[] = []

  it('a run is finished, with the events of one run', async () => {
    for (let seed = 0; seed < RUNS; seed++) {
      try {
        const ran = await randomRun(seed)
        runs.push(ran)
        assertWellFormed(ran.store.events)
      } catch (error) {
        throw new Error(`Run ${seed}`, { cause: error })
      }
    }
    expect(runs.filter(({ executors }) => executors > 2).length).toBeGreaterThan(RUNS / 4)
  })

  it('the text of the events is the answer, by offsets and by steps', () => {
    for (const { store, result } of runs) {
      expect(textByOffsets(store.events)).toBe(storable(result.content))
      expect(shownText(store.events)).toBe(storable(result.content))
    }
  })

  it('every call has one result, in the events, in the records and for the model', () => {
    for (const { store, result, world } of runs) {
      const ids = (kind: string) => only(store.events, kind).map((event) => event['call_id'])
      expect(ids('tool_result').toSorted()).toEqual(ids('tool_call').toSorted())
      expect(result.toolCalls.map((record) => record.call_id)).toEqual(ids('tool_result'))
      expect(world.requests.every(({ messages }) => isPaired(messages))).toBe(true)
    }
  })

  it('no call that cannot be repeated is made more often than people have said', () => {
    let repeated = 0
    for (const { world, decided } of runs) {
      for (const id of new Set(world.charges)) {
        const made = world.charges.filter((one) => one === id).length
        expect(made).toBeLessThanOrEqual(1 + decided.filter((one) => one === id).length)
        if (made > 1) repeated++
      }
    }
    expect(repeated).toBeGreaterThan(3)
  })

  it('each interruption is told once', () => {
    for (const { store, decided } of runs) {
      const told = only(store.events, 'call_interrupted').map((event) => String(event['call_id']))
      // Those of calls beside each other may be told before a person gets to decide about the second.
      for (const id of new Set([...told, ...decided])) {
        const times = told.filter((one) => one === id).length
        expect(times).toBeGreaterThanOrEqual(decided.filter((one) => one === id).length)
        expect(times).toBeLessThanOrEqual(1 + decided.filter((one) => one === id).length)
      }
    }
    expect(runs.flatMap(({ decided }) => decided).length).toBeGreaterThan(15)
  })

  it('tokens of the steps are the tokens of the run, and passages keep their numbers', () => {
    for (const { result } of runs) {
      expect(result.steps.reduce((sum, step) => sum + step.usage.total_tokens, 0)).toBe(result.usage.total_tokens)
      const keys = result.contextItems.map(({ key }) => key)
      expect(new Set(keys).size).toBe(keys.length)
      expect(result.steps.map(({ step }) => step)).toEqual(result.steps.map((_step, at) => at + 1))
    }
  })

  it('executors that were not killed have settled all they reserved', () => {
    for (const { world, losesLease, executors, decided } of runs) {
      const open = [...world.reserved.values()].filter((state) => state === 'open').length
      if (losesLease) expect(open).toBe(0)
      // One that is killed leaves at most the call it was about to make.
      else expect(open).toBeLessThanOrEqual(executors - 1 - decided.length)
    }
  })

  it('the scripts reach suspension, skipping, compaction, fallback, failure and cancelling', () => {
    const kinds = new Set(runs.flatMap(({ store }) => store.events.map(({ event }) => event)))
    for (const kind of ['call_interrupted', 'proactive_compact', 'model_fallback', 'reactive_compact', 'step_reset']) {
      expect(kinds).toContain(kind)
    }
    const codes = new Set(runs.map(({ result }) => result.errorCode))
    for (const code of [null, 'conflict', 'internal', 'limit_reached']) expect(codes).toContain(code)
    expect(runs.flatMap(({ world }) => [...world.approvals.values()]).length).toBeGreaterThan(100)
  })
})
