import { describe, expect, it } from 'vitest'
import type { Budget, BudgetRequest } from '../../../supabase/functions/_shared/agent/budget.ts'
import type { ErrorCode } from '../../../supabase/functions/_shared/errors.ts'
import { AppError } from '../../../supabase/functions/_shared/errors.ts'
import type { Usage } from '../../../supabase/functions/_shared/providers/index.ts'
import { USAGE, call, done, fakeTool, only, runScript, say, scriptedModel, shownText } from './support/loop-fakes.ts'

const used = () => new AppError('budget_exceeded' as ErrorCode, 'The budget is used up.')

/** A budget that remembers; `grant` decides. */
function purse(grant: (want: BudgetRequest, at: number) => number | null = ({ maxTokens }) => maxTokens) {
  const wanted: BudgetRequest[] = []
  const settled: [string | null, Usage | null][] = []
  const budget: Budget = {
    async reserve(want) {
      const at = wanted.push(want) - 1
      return { id: `r${at}`, maxTokens: grant(want, at) }
    },
    async settle(id, usage) {
      settled.push([id, usage])
    },
  }
  const assertBalanced = () => {
    const ids = settled.map(([id]) => id)
    expect(new Set(ids).size).toBe(ids.length)
    expect(ids).toHaveLength(wanted.length)
  }
  return { wanted, settled, budget, assertBalanced }
}

describe('the budget of a run', () => {
  it('is asked before every call of the model, and told what it took', async () => {
    const { budget, wanted, settled, assertBalanced } = purse()
    const model = scriptedModel([[say('Hm.'), call('t')], [say('Done.')]])
    const { result } = await runScript(model, [fakeTool('t', 'x'.repeat(4000))], { budget })
    expect(wanted).toEqual([
      { step: 1, model: 'model-a', promptTokens: expect.any(Number), maxTokens: null },
      { step: 2, model: 'model-a', promptTokens: expect.any(Number), maxTokens: null },
    ])
    // Instructions, tools and messages count.
    expect(wanted[0]?.promptTokens).toBeGreaterThan(10)
    expect((wanted[1]?.promptTokens ?? 0) - (wanted[0]?.promptTokens ?? 0)).toBeGreaterThan(1000)
    expect(settled.map(([, usage]) => usage)).toEqual([USAGE, USAGE])
    expect(result.usage.total_tokens).toBe(26)
    assertBalanced()
  })

  it.each([
    ['no limit', null, undefined, undefined],
    ['what the request asks for', 500, 500, 500],
    ['less', 120, 500, 120],
    ['a limit where none was asked for', 120, undefined, 120],
    ['more, which does not count', 900, 500, 500],
  ])('grants %s', async (_name, granted, asked, given) => {
    const { budget } = purse(() => granted)
    const model = scriptedModel([[say('x')]])
    const request = { system: '', messages: [{ role: 'user' as const, content: 'q' }], context: [], citations: false }
    await runScript(model, [], {
      budget,
      request: { ...request, ...(asked === undefined ? {} : { maxTokens: asked }) },
    })
    expect(model.requests[0]?.maxTokens).toBe(given)
  })

  it('is asked again for each try, each continuation and each summary', async () => {
    const { budget, wanted, settled, assertBalanced } = purse()
    let summaries = 0
    const model = scriptedModel((request, at) => {
      if (request.system.startsWith('Summarise')) return [say(`S${++summaries}`)]
      if (at === 0) return [new AppError('upstream_failed', 'HTTP 503')]
      return request.messages.some(({ role }) => role === 'assistant')
        ? [say(' text.')]
        : [say('A long'), done('length')]
    })
    const { result } = await runScript(model, [], { budget })
    expect(result.content).toBe('A long text.')
    expect(wanted).toHaveLength(3)
    // Nothing came of the first.
    expect(settled.map(([, usage]) => usage)).toEqual([null, USAGE, USAGE])
    assertBalanced()

    const second = purse()
    const history = Array.from({ length: 10 }, () => [
      { role: 'user' as const, content: 'q' },
      { role: 'assistant' as const, content: 'z'.repeat(4000) },
    ]).flat()
    const compacting = scriptedModel(
      (request) => [say(request.system.startsWith('Summarise') ? 'S' : 'Answer.')],
      12_000,
    )
    const messages = [...history, { role: 'user' as const, content: 'And?' }]
    await runScript(compacting, [], {
      budget: second.budget,
      request: { system: '', messages, context: [], citations: false },
    })
    expect(compacting.requests).toHaveLength(2)
    expect(second.wanted.map(({ step, maxTokens }) => [step, maxTokens])).toEqual([
      [1, 2000],
      [1, null],
    ])
    second.assertBalanced()
  })

  it('that is used up ends the run before the provider is called, without another try', async () => {
    const { budget, wanted } = purse((_want, at) => {
      if (at === 1) throw used()
      return null
    })
    const model = scriptedModel([[say('Hm.'), call('t')], [say('never')]])
    const { result, events } = await runScript(model, [fakeTool('t')], { budget, fallbackModel: 'model-b' })
    expect(model.requests).toHaveLength(1)
    expect(wanted).toHaveLength(2)
    expect(result).toMatchObject({ status: 'failed', errorCode: 'budget_exceeded', content: 'Hm.' })
    expect(only(events, 'step_reset')).toEqual([])
    expect(shownText(events)).toBe('Hm.')
  })

  it('that is used up for a summary leaves the prompt as it is', async () => {
    const { budget } = purse((want) => {
      if (want.maxTokens === 2000) throw used()
      return null
    })
    const model = scriptedModel([[say('Answer.')]], 3000)
    const messages = ['q', 'z'.repeat(9000), 'q', 'q', 'q', 'q'].map((content) => ({ role: 'user' as const, content }))
    const { result, logged } = await runScript(model, [], {
      budget,
      request: { system: '', messages, context: [], citations: false },
    })
    expect(result).toMatchObject({ status: 'completed', content: 'Answer.' })
    expect(logged).toContain('compaction_failed')
  })

  it('pays for what had come of an answer that breaks off, by estimate', async () => {
    const { budget, settled, wanted, assertBalanced } = purse()
    const broken = new AppError('upstream_failed', 'no', { cause: { status: 401 } })
    await runScript(scriptedModel([[say('x'.repeat(40)), call('t', 'y'.repeat(19)), broken]]), [], { budget })
    const prompt_tokens = wanted[0]?.promptTokens ?? 0
    expect(settled[0]?.[1]).toMatchObject({ prompt_tokens, completion_tokens: 15, total_tokens: prompt_tokens + 15 })
    assertBalanced()
  })

  it('is settled when the run is stopped while the model answers, even if the provider hangs', async () => {
    const { budget, settled, assertBalanced } = purse()
    const controller = new AbortController()
    const model = scriptedModel([])
    model.stream = async function* () {
      yield say('Half')
      setTimeout(() => controller.abort(new AppError('conflict', 'Cancelled.')))
      await new Promise(() => {})
    }
    const { result } = await runScript(model, [], { budget, signal: controller.signal })
    expect(result).toMatchObject({ status: 'failed', error: 'Cancelled.', content: 'Half' })
    expect(settled).toHaveLength(1)
    expect(settled[0]?.[1]?.completion_tokens).toBe(1)
    assertBalanced()
  })

  it('gets back what it grants after the run was stopped', async () => {
    const controller = new AbortController()
    const settled: unknown[] = []
    let grant: (id: string) => void = () => {}
    const budget: Budget = {
      reserve() {
        setTimeout(() => controller.abort(new AppError('conflict', 'Cancelled.')))
        return new Promise((resolve) => (grant = (id) => resolve({ id, maxTokens: null })))
      },
      settle: async (...args) => void settled.push(args),
    }
    const model = scriptedModel([])
    const { result } = await runScript(model, [], { budget, signal: controller.signal })
    expect(result).toMatchObject({ status: 'failed', error: 'Cancelled.' })
    expect(settled).toEqual([])
    grant('late')
    await expect.poll(() => settled).toEqual([['late', null]])
    expect(model.requests).toEqual([])
  })

  it('that cannot be settled costs no answer; where nothing was reserved nothing is settled', async () => {
    const failing: Budget = {
      reserve: async () => ({ id: 'r', maxTokens: null }),
      settle: () => Promise.reject(new Error('no database')),
    }
    const { result, logged } = await runScript(scriptedModel([[say('x')]]), [], { budget: failing })
    expect(result.status).toBe('completed')
    expect(logged).toContain('budget_not_settled')
    const nothing: Budget = {
      reserve: async () => ({ id: null, maxTokens: null }),
      settle: () => Promise.reject(new Error('nothing to settle')),
    }
    expect((await runScript(scriptedModel([[say('x')]]), [], { budget: nothing })).logged).toBe('')
  })
})
