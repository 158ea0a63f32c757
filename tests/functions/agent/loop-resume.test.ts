import { describe, expect, it } from 'vitest'
import type { ChatProvider } from '../../../supabase/functions/_shared/providers/index.ts'
import { storable } from '../../../supabase/functions/_shared/storable.ts'
import type { Life } from './support/journal-store.ts'
import type { Turn } from './support/loop-fakes.ts'
import { assertWellFormed, call, fakeTool, only, say, scriptedModel, shownText, think } from './support/loop-fakes.ts'
import type { Drive, Driven } from './support/resumed-runs.ts'
import { drive, livingModel, textByOffsets, timeless, undisturbed } from './support/resumed-runs.ts'

/** Six steps: reading beside each other, two tools with effects, invalid calls, and an answer that repeats all results. */
const SCRIPT: readonly Turn[] = [
  [say('Let me '), say('look. 🦆'), call('read', { n: 1 }, 'r1'), call('read', { n: 2 }, 'r2')],
  [call('charge', { n: 3 }, 'c3')],
  [think('Hm'), think('m.'), say('Posting.'), call('post', { n: 4 }, 'p4')],
  [
    ...[call('post', { n: 5 }, 'p5'), call('read', { n: 6 }, 'r6'), call('charge', { n: 7 }, 'c7')],
    ...[call('charge', { n: 8 }, 'c8'), call('read', { n: 9 }, 'r9')],
  ],
  [say('Oh\0'), call('nobody', { n: 10 }, 'x10'), call('post', '{"n":', 'x11'), call('charge', { n: 12 }, 'c12')],
]

/** A model that goes by what it is shown. */
const model = (): ChatProvider =>
  scriptedModel(({ messages }) => {
    const turn = SCRIPT[messages.filter(({ role }) => role === 'assistant').length]
    if (turn) return turn
    const results = messages.filter(({ role }) => role === 'tool').map(({ content }) => content)
    return [say('All: '), say(results.join(', '))]
  })

/** What tools have done to the outside, which no crash takes back. */
type Outside = { charges: string[]; posts: Map<string, unknown>; attempts: string[] }

function livingTools(life: Life, outside: Outside) {
  const inputSchema = { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] }
  return [
    fakeTool(
      'read',
      async ({ n }) => {
        await life.live()
        return { text: `read ${String(n)}\0` }
      },
      { isConcurrencySafe: true, inputSchema, effects: ['reads_untrusted'] },
    ),
    // Knows a request again by its key.
    fakeTool(
      'post',
      async (args, { idempotencyKey }) => {
        await life.live()
        outside.attempts.push(idempotencyKey)
        if (!outside.posts.has(idempotencyKey)) outside.posts.set(idempotencyKey, args)
        await life.live()
        return { text: `posted ${String(args['n'])}` }
      },
      { inputSchema, isRetrySafe: true, effects: ['writes'] },
    ),
    fakeTool(
      'charge',
      async ({ n }, { callId }) => {
        await life.live()
        outside.charges.push(callId)
        await life.live()
        return { text: `charged ${String(n)}` }
      },
      { inputSchema, effects: ['writes'] },
    ),
  ]
}

async function run(changes: Partial<Drive> = {}): Promise<Driven & { outside: Outside }> {
  const outside: Outside = { charges: [], posts: new Map(), attempts: [] }
  const equip = (life: Life) => ({ chat: livingModel(model(), life), tools: livingTools(life, outside) })
  return { ...(await drive({ equip, ...changes })), outside }
}

const CHARGES = ['c3', 'c7', 'c8', 'c12']
const POSTS: [string, unknown][] = [
  ['run_1:p4', { n: 4 }],
  ['run_1:p5', { n: 5 }],
]

/** What holds whenever people let every interrupted call be made again. */
function assertSame(ran: Driven & { outside: Outside }, reference: Driven, name: string): void {
  try {
    assertWellFormed(ran.store.events)
    expect(undisturbed(ran.store.events)).toEqual(undisturbed(reference.store.events))
    expect(timeless(ran.result)).toEqual(timeless(reference.result))
    expect(shownText(ran.store.events)).toBe(storable(ran.result.content))
    expect(textByOffsets(ran.store.events)).toBe(storable(ran.result.content))
    expect([...ran.outside.posts]).toEqual(POSTS)
    const interrupted = only(ran.store.events, 'call_interrupted').map((event) => event['call_id'])
    expect(interrupted).toEqual(ran.decided)
    for (const id of CHARGES) {
      const made = ran.outside.charges.filter((one) => one === id).length
      const allowed = 1 + ran.decided.filter((one) => one === id).length
      expect(made).toBeGreaterThan(0)
      expect(made).toBeLessThanOrEqual(allowed)
    }
    expect(new Set(ran.outside.charges)).toEqual(new Set(CHARGES))
  } catch (error) {
    throw new Error(name, { cause: error })
  }
}

describe('a run of six steps with two tools that have effects', () => {
  it('nobody disturbs makes every call once', async () => {
    const ran = await run()
    expect(ran.result).toMatchObject({ status: 'completed', waiting: null })
    expect(ran.result.content).toMatch(
      /^Let me look\. 🦆\n\nPosting\.\n\nOh.\n\nAll: read 1, read 2, charged 3, posted 4/,
    )
    expect(ran.outside.charges).toEqual(CHARGES)
    expect([...ran.outside.posts]).toEqual(POSTS)
    expect(ran.outside.attempts).toHaveLength(2)
    expect(ran.acts).toBeGreaterThan(60)
    assertWellFormed(ran.store.events)
  })

  it('killed anywhere is finished by the next executor, with the same events, answer and effects', async () => {
    const reference = await run()
    const interruptions = new Set<string>()
    let repeated = 0
    for (let at = 0; at < reference.acts; at++) {
      const ran = await run({ deaths: [at] })
      assertSame(ran, reference, `killed at ${at}`)
      expect(ran.executors).toBe(2 + ran.decided.length)
      for (const id of ran.decided) interruptions.add(id)
      repeated += ran.outside.attempts.length - 2
    }
    // Every call that must not be repeated was caught in the middle, and every other one was repeated.
    expect([...interruptions].sort()).toEqual([...CHARGES].sort())
    expect(repeated).toBeGreaterThan(0)
  })

  it('killed anywhere twice, the second time while the first is repaired, is finished too', async () => {
    const reference = await run()
    for (let first = 0; first < reference.acts; first += 3) {
      for (let second = 0; second < 12; second += 2) {
        assertSame(await run({ deaths: [first, second, second + 1] }), reference, `killed at ${first}, ${second}`)
      }
    }
  })

  it('whose writer lags behind loses more and repeats no effect', async () => {
    const reference = await run({ holdsBack: () => true })
    expect(reference.acts).toBeLessThan((await run()).acts)
    for (let at = 0; at < reference.acts; at++) {
      assertSame(await run({ deaths: [at], holdsBack: () => true }), reference, `killed at ${at}`)
    }
  })

  it('never repeats a call that a person has let be skipped: the model is told', async () => {
    const reference = await run()
    let skipped = 0
    for (let at = 0; at < reference.acts; at++) {
      const ran = await run({ deaths: [at], decide: () => 'skip' })
      assertWellFormed(ran.store.events)
      expect(new Set(ran.outside.charges).size).toBe(ran.outside.charges.length)
      expect([...ran.outside.posts]).toEqual(POSTS)
      expect(ran.result.status).toBe('completed')
      for (const id of ran.decided) {
        skipped++
        const record = ran.result.toolCalls.find((one) => one.call_id === id)
        expect(record).toMatchObject({ is_error: true, result: expect.stringContaining('may or may not have taken') })
        expect(ran.result.content).toContain('a person has decided that it is not made again')
      }
    }
    expect(skipped).toBeGreaterThanOrEqual(CHARGES.length)
  })

  it('repeats no call of a tool that is denied by then, whatever a person has said about it', async () => {
    const reference = await run()
    const denied: Record<string, number> = { charge: 0, post: 0 }
    for (let at = 0; at < reference.acts; at++) {
      const outside: Outside = { charges: [], posts: new Map(), attempts: [] }
      let executors = 0
      const equip = (life: Life) => {
        const isFirst = executors++ === 0
        return {
          chat: livingModel(model(), life),
          tools: livingTools(life, outside),
          gates: { denies: ({ name }: { name: string }) => (isFirst || name === 'read' ? null : `No ${name} now.`) },
        }
      }
      const { result, store } = await drive({ equip, deaths: [at] })
      assertWellFormed(store.events)
      expect(result.status).toBe('completed')
      expect(new Set(outside.charges).size).toBe(outside.charges.length)
      expect(new Set(outside.attempts).size).toBe(outside.attempts.length)
      for (const { tool_name, result: text } of result.toolCalls.filter((one) => /^No /.test(one.result))) {
        expect(text).toBe(`No ${tool_name} now. The call was interrupted before: it may or may not have taken effect.`)
        denied[tool_name] = (denied[tool_name] ?? 0) + 1
      }
    }
    expect(denied['charge']).toBeGreaterThan(0)
    expect(denied['post']).toBeGreaterThan(0)
  })

  it('whose executor loses its lease makes no further call that must not be repeated', async () => {
    const reference = await run()
    for (let at = 0; at < reference.acts; at++) {
      const outside: Outside = { charges: [], posts: new Map(), attempts: [] }
      // The process lives on: only its writes are refused.
      const equip = () => ({ chat: model(), tools: livingTools(forever, outside) })
      const ran = await drive({ equip, deaths: [at], losesLease: true })
      assertSame({ ...ran, outside }, reference, `lost at ${at}`)
    }
  })

  const forever: Life = { act: () => true, live: () => Promise.resolve(), died: new Promise(() => {}), acts: () => 0 }
})
