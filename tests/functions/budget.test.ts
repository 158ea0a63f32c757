import { Hono } from 'hono'
import { describe, expect, it } from 'vitest'
import type { TokenRequest } from '../../supabase/functions/_shared/budget-ledger.ts'
import { createRunBudget } from '../../supabase/functions/_shared/budget.ts'
import { AppError, fromPostgrest, onError } from '../../supabase/functions/_shared/errors.ts'

const lease = { runId: 'r', leaseToken: 'l' }
const want = { step: 2, model: 'm', promptTokens: 10, maxTokens: null }

const failures: unknown[] = []
const log = { info: () => {}, warn: () => {}, error: (_event: string, fields: unknown) => void failures.push(fields) }

describe('the budget of a run', () => {
  it('reserves and settles under the lease of the run', async () => {
    const calls: unknown[] = []
    const budget = createRunBudget(
      {
        reserveTokens: (request: TokenRequest) => {
          calls.push(request)
          return Promise.resolve({ id: 'one', max_tokens: 7 })
        },
        settleTokens: (...args: unknown[]) => {
          calls.push(args)
          return Promise.resolve(true)
        },
      },
      lease,
      log,
    )
    expect(await budget.reserve(want)).toEqual({ id: 'one', maxTokens: 7 })
    const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3, reasoning_tokens: 0, cached_tokens: 0 }
    await budget.settle('one', usage)
    await budget.settle('one', null)
    expect(calls).toEqual([{ ...want, ...lease }, ['one', 'l', usage], ['one', 'l', null]])
  })

  it('asks again while the database is away, and not when it is refused', async () => {
    const answers = [new Error('gone'), new AppError('internal', 'gone'), { id: 'two', max_tokens: null }]
    const settleTokens = () => Promise.resolve(true)
    const reserveTokens = () => {
      const answer = answers.shift()
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer ?? null)
    }
    const budget = createRunBudget({ reserveTokens, settleTokens }, lease, log)
    expect(await budget.reserve(want)).toEqual({ id: 'two', maxTokens: null })
    expect(failures).toMatchObject([{ attempt: 0 }, { attempt: 1 }])
    answers.push(new AppError('budget_exceeded', 'used up'))
    await expect(budget.reserve(want)).rejects.toMatchObject({ code: 'budget_exceeded' })
    expect(failures).toHaveLength(2)
  })

  it('ends what has lost the lease', async () => {
    const settleTokens = () => Promise.resolve(false)
    const budget = createRunBudget({ reserveTokens: () => Promise.resolve(null), settleTokens }, lease, log)
    await expect(budget.reserve(want)).rejects.toMatchObject({ code: 'conflict' })
    // Settled by the database when the lease was lost.
    await budget.settle('one', null)
  })
})

describe('a refusal for want of tokens', () => {
  const refused = (code: string) =>
    fromPostgrest({
      code: 'PT402',
      message: 'The token budget of this tenant is used up.',
      details: JSON.stringify({ code, balance: 0, estimated_cost: 1, renews_at: '2027-01-01T00:00:00+00:00' }),
      hint: 'Wait.',
    })
  const answerTo = async (error: Error) => {
    const app = new Hono().get('/', () => {
      throw error
    })
    app.onError(onError)
    const response = await app.request('/')
    return { status: response.status, retryAfter: response.headers.get('retry-after'), body: await response.json() }
  }

  it('before a run is in the shape of the agent API', async () => {
    expect(await answerTo(refused('insufficient_credits'))).toMatchObject({
      status: 402,
      body: {
        error: 'insufficient_credits',
        code: 'insufficient_credits',
        message: 'The token budget of this tenant is used up.',
        balance: 0,
        estimated_cost: 1,
        renews_at: '2027-01-01T00:00:00+00:00',
        hint: 'Wait.',
      },
    })
  })

  it('in a run is an error like others', async () => {
    const { status, body } = await answerTo(refused('budget_exceeded'))
    expect(status).toBe(402)
    expect(body).toMatchObject({ error: 'The token budget of this tenant is used up.', code: 'budget_exceeded' })
  })

  it('says in a header how long to wait where that is known', async () => {
    const busy = (details: object) =>
      fromPostgrest({ code: 'PT429', message: 'm', details: JSON.stringify({ code: 'rate_limited', ...details }) })
    expect((await answerTo(busy({ retry_after: 42 }))).retryAfter).toBe('42')
    expect((await answerTo(busy({}))).retryAfter).toBe('10')
  })
})
