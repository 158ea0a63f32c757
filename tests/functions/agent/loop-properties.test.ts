import { describe, expect, it } from 'vitest'
import { createAnswerFilter } from '../../../supabase/functions/_shared/answer-filter.ts'
import { AppError } from '../../../supabase/functions/_shared/errors.ts'
import type { TextFilter } from '../../../supabase/functions/_shared/agent/types.ts'
import { babble, createRandom, cut } from '../support/random.ts'
import type { Ran, Turn } from './support/loop-fakes.ts'
import {
  assertWellFormed,
  call,
  done,
  fakeTool,
  noFilter,
  only,
  runScript,
  say,
  scriptedModel,
  shownText,
  think,
} from './support/loop-fakes.ts'

type Random = () => number
const pick = <T>(random: Random, items: readonly T[]): T => items[Math.floor(random() * items.length)] as T
const WORDS = [
  'sea ',
  'ht',
  'tps://evil.example/',
  '![',
  '](',
  '\n',
  '🦆',
  ' [1]',
  '<img',
  'data: {"event":"complete"}\n\n',
]
const NAMES = ['safe', 'slow', 'alone', 'page', 'send', 'write', 'throws', 'nobody', '__proto__']
const ARGUMENTS = [
  '{}',
  '{"n":1}',
  '{"n":2}',
  '',
  '[]',
  '{"n":',
  '{"n":"x"}',
  '{"__proto__":{}}',
  '{"n":1,"tenant_id":"t"}',
]

function randomTurn(random: Random): Turn {
  const turn: Turn[number][] = []
  for (const piece of cut(babble(WORDS, Math.floor(random() * 6), random), random)) {
    turn.push(random() < 0.2 ? think(piece) : say(piece))
  }
  if (random() < 0.6) {
    const count = 1 + Math.floor(random() * 4)
    for (let i = 0; i < count; i++) {
      turn.push(
        call(
          pick(random, NAMES),
          random() < 0.3 ? pick(random, ARGUMENTS) : { n: Math.floor(random() * 9) },
          random() < 0.2 ? 'again' : `c${random()}`.replace('.', ''),
        ),
      )
    }
    // Some providers send text after their calls.
    if (random() < 0.2) turn.push(say('late'))
  }
  const fate = random()
  if (fate < 0.08) turn.push(new AppError('rate_limited', 'no'))
  else if (fate < 0.14) turn.push(new AppError('upstream_failed', 'no'))
  else if (fate < 0.18) turn.push(new AppError('context_length_exceeded', 'no'))
  else if (fate < 0.2) turn.push(new Error('a bug'))
  else if (fate < 0.3) turn.push(done('length'))
  return turn
}

/** Gives out everything only at the end, or in pieces of its own: as filters may. */
function holdingFilter(random: Random): TextFilter {
  let held = ''
  return {
    push(text) {
      held += text
      if (random() < 0.5) return ''
      const out = held
      held = ''
      return out
    },
    end: () => held,
  }
}

async function randomRun(
  seed: number,
): Promise<Ran & { executed: string[]; requests: { roles: string; isPaired: boolean }[] }> {
  const random = createRandom(seed)
  const executed: string[] = []
  const controller = new AbortController()
  const stopAt = random() < 0.2 ? Math.floor(random() * 8) : Infinity
  let acts = 0
  const act = async (name: string, callId: string) => {
    if (controller.signal.aborted) throw new Error('A tool was called after the run had been stopped.')
    executed.push(callId)
    if (acts++ === stopAt) controller.abort()
    for (let i = Math.floor(random() * 5); i > 0; i--) await Promise.resolve()
    if (name === 'throws') throw random() < 0.5 ? new Error('bug') : new AppError('forbidden', 'no')
    return { text: babble(WORDS, 20, random), isError: random() < 0.2 }
  }
  const inputSchema = { type: 'object', properties: { n: { type: 'integer' } }, additionalProperties: false }
  const make = (name: string, traits: object = {}) =>
    fakeTool(name, (_args, { callId }) => act(name, callId), { inputSchema, ...traits })
  const tools = [
    make('safe', { isConcurrencySafe: true }),
    make('slow', { isConcurrencySafe: true, maxResultChars: 20 }),
    make('alone'),
    make('page', { isConcurrencySafe: random() < 0.5, effects: ['reads_untrusted'] }),
    make('send', { effects: ['egress'] }),
    make('write', { effects: ['writes'] }),
    make('throws', { isConcurrencySafe: random() < 0.5 }),
  ]
  const requests: { roles: string; isPaired: boolean }[] = []
  const model = scriptedModel(
    (request) => {
      const ids = request.messages.flatMap((m) =>
        m.role === 'assistant' ? (m.toolCalls ?? []).map(({ id }) => id) : [],
      )
      const answered = request.messages.flatMap((m) => (m.role === 'tool' ? [m.toolCallId] : []))
      requests.push({
        roles: request.messages.map(({ role }) => role[0]).join(''),
        isPaired: ids.join() === answered.join(),
      })
      return request.system.startsWith('Summarise') ? [say('s')] : randomTurn(random)
    },
    random() < 0.3 ? 300 : 1_000_000,
  )
  const kind = Math.floor(random() * 3)
  const filter = () =>
    kind === 0
      ? noFilter()
      : kind === 1
        ? holdingFilter(random)
        : createAnswerFilter({ keys: new Set([1]), knownTexts: [] })
  const ran = await runScript(model, tools, {
    signal: controller.signal,
    maxSteps: 1 + Math.floor(random() * 7),
    textFilter: filter,
    reasoningFilter: filter,
    ...(random() < 0.3 ? { fallbackModel: 'model-b' } : {}),
    gates: {
      ...(random() < 0.5
        ? {
            beforeTool: async (_tool, args) => {
              const fate = random()
              if (fate < 0.1) throw new Error('hook bug')
              return fate < 0.3 ? { allowed: false as const, message: 'Denied.' } : { allowed: true as const, args }
            },
          }
        : {}),
      ...(random() < 0.3 ? { afterTool: async (_tool, _args, text) => `${text}!` } : {}),
    },
  })
  return { ...ran, executed, requests }
}

describe('whatever the model does', () => {
  const RUNS = 1500
  const runs: Awaited<ReturnType<typeof randomRun>>[] = []

  it('a run ends in a result with well-formed events', async () => {
    for (let seed = 0; seed < RUNS; seed++) {
      const ran = await randomRun(seed)
      runs.push(ran)
      try {
        assertWellFormed(ran.events)
      } catch (error) {
        throw new Error(`Run ${seed}`, { cause: error })
      }
      expect(ran.result.status === 'completed').toBe(ran.result.error === null)
      expect(ran.result.errorCode === null).toBe(ran.result.error === null)
      expect(ran.logged).not.toContain('loop_failed')
    }
  })

  it('every call has exactly one result, in the events, in the records and for the model', () => {
    for (const { events, result, requests } of runs) {
      const ids = (kind: string) => only(events, kind).map((event) => event['call_id'])
      expect(new Set(ids('tool_call')).size).toBe(ids('tool_call').length)
      expect(ids('tool_result').toSorted()).toEqual(ids('tool_call').toSorted())
      expect(result.toolCalls.map((record) => record.call_id)).toEqual(ids('tool_result'))
      expect(requests.every(({ isPaired }) => isPaired)).toBe(true)
    }
  })

  it('no tool is called twice for a call, or for a call that was not announced', () => {
    for (const { events, executed } of runs) {
      const announced = new Set(only(events, 'tool_call').map((event) => event['call_id']))
      expect(new Set(executed).size).toBe(executed.length)
      expect(executed.every((id) => announced.has(id))).toBe(true)
    }
  })

  it('the deltas that were not taken back are the content', () => {
    for (const { events, result } of runs) expect(shownText(events)).toBe(result.content)
  })

  it('exactly the calls of exclusive tools follow each other without another between call and result', () => {
    for (const { events } of runs) {
      const traffic = events.filter(({ event }) => event === 'tool_call' || event === 'tool_result')
      traffic.forEach((event, at) => {
        if (event.event !== 'tool_call' || !['alone', 'send', 'write'].includes(String(event['tool_name']))) return
        expect(traffic[at + 1]).toMatchObject({ event: 'tool_result', call_id: event['call_id'] })
      })
    }
  })

  it('tokens of the steps are the tokens of the run', () => {
    for (const { result } of runs) {
      expect(result.steps.reduce((sum, step) => sum + step.usage.total_tokens, 0)).toBe(result.usage.total_tokens)
    }
  })

  it('T02: nothing is sent or written after a step that read untrusted text', () => {
    for (const { events, executed } of runs) {
      let taintedAfter = Infinity
      for (const event of events) {
        if (event.event !== 'tool_result' || !executed.includes(String(event['call_id']))) continue
        const step = Number(event['step'])
        if (event['tool_name'] === 'page') taintedAfter = Math.min(taintedAfter, step)
        if (event['tool_name'] === 'send' || event['tool_name'] === 'write') {
          expect(step).toBeLessThanOrEqual(taintedAfter)
        }
      }
    }
  })

  it('the scripts reach every kind of event and end', () => {
    const kinds = new Set(runs.flatMap(({ events }) => events.map(({ event }) => event)))
    for (const kind of [
      ...[
        'step_started',
        'content_delta',
        'reasoning_delta',
        'reasoning',
        'tool_call',
        'tool_result',
        'step_completed',
      ],
      ...['step_reset', 'model_fallback', 'output_recovery', 'proactive_compact', 'compaction', 'reactive_compact'],
      'reactive_truncate',
    ]) {
      expect(kinds).toContain(kind)
    }
    const ends = new Set(runs.map(({ result }) => result.errorCode))
    for (const code of [null, 'conflict', 'internal', 'upstream_failed']) expect(ends).toContain(code)
    const refused = runs
      .flatMap(({ result }) => result.toolCalls)
      .filter((record) => record.result.startsWith('Refused:'))
    expect(refused.length).toBeGreaterThan(20)
  })
})
