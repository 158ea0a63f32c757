import { Hono } from 'hono'
import { describe, expect, it } from 'vitest'
import { fromPostgrest, onError } from '../../supabase/functions/_shared/errors.ts'

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
