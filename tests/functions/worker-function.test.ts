import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { useFunctionsStack } from './support/functions-stack.ts'
import { HARBOR, caller, serviceCaller, userCaller } from './support/http.ts'
import type { FunctionsCaller, Json } from './support/http.ts'

// There is no long-lived worker here: what is done, the function does.
const stack = useFunctionsStack()
const PATH = '/worker?wait=true'
let member: FunctionsCaller
let agentId: string
let userId: string

beforeAll(async () => {
  member = await userCaller(stack, 'member@harbor.example', { 'x-tenant-id': HARBOR })
  const client = await stack.signIn('member@harbor.example')
  userId = (await client.auth.getUser()).data.user!.id
  const { data } = await client.schema('ai').from('agents').select('id').eq('is_default', true).single<{ id: string }>()
  agentId = data!.id
})
beforeEach(() => stack.db.exec('delete from ai.schedules'))

const drain = () => serviceCaller(stack).json(200, 'POST', PATH)
const runRow = async (id: string): Promise<Json> =>
  (await stack.db.query<Json>('select * from ai.agent_runs where run_id = $1', [id]))[0]!
const inBackground = (message: string) =>
  member.json(202, 'POST', `/api/agents/${agentId}/run`, { json: { message, background: true } })

describe('who may call it', () => {
  it('is the holder of the secret key', async () => {
    expect(await drain()).toMatchObject({ runs: 0, schedules: 0, failed: [], is_empty: true })
  })

  it('is nobody else', async () => {
    await inBackground('What is covered?')
    const owner = await userCaller(stack, 'owner@harbor.example')
    expect((await owner.json(403, 'POST', PATH))['code']).toBe('forbidden')
    const keyless = caller(stack, { apikey: stack.keys.publishable })
    await keyless.json(401, 'POST', PATH)
    await caller(stack, { authorization: `Bearer ${stack.keys.publishable}` }).json(401, 'POST', PATH)
    await serviceCaller(stack).json(404, 'GET', '/worker')
    const [row] = await stack.db.query<{ count: number }>(
      `select count(*)::int as count from ai.agent_runs where status = 'pending'`,
    )
    expect(row!.count).toBe(1)
    expect((await drain())['runs']).toBe(1)
  })
})

describe('runs', () => {
  it('that wait are carried out in the name of their person, once, also when two calls overlap', async () => {
    const started = [await inBackground('What is covered?'), await inBackground('And what is not?')]
    expect(started.map(({ status }) => status)).toEqual(['pending', 'pending'])
    const reports = await Promise.all([drain(), drain()])
    expect(reports.reduce((sum, { runs }) => sum + runs, 0)).toBe(2)
    for (const { run_id } of started) {
      const row = await runRow(run_id)
      expect(row).toMatchObject({ status: 'completed', user_id: userId, principal_id: userId, attempts: 1 })
      const shown = await member.json(200, 'GET', `/api/agents/runs/${run_id}`)
      expect(shown['content']).not.toBe('')
    }
    // The jobs that woke nobody are gone with them.
    const jobs = await stack.db.query(`select id from pgboss.job where name = 'run_agent' and state < 'active'`)
    expect(jobs).toEqual([])
  })

  it('whose person has left are not', async () => {
    const { run_id } = await inBackground('What is covered?')
    await stack.db.query('delete from public.memberships where user_id = $1 and tenant_id = $2', [userId, HARBOR])
    await drain()
    await stack.db.query(`insert into public.memberships (tenant_id, user_id, role) values ($1, $2, 'member')`, [
      HARBOR,
      userId,
    ])
    expect(await runRow(run_id)).toMatchObject({ status: 'failed', error_code: 'membership_lost' })
  })
})

describe('schedules', () => {
  it('are planned by one call, and begin and end a run when they are due', async () => {
    const client = await stack.signIn('member@harbor.example')
    const { error } = await client.schema('ai').from('schedules').insert({
      tenant_id: HARBOR,
      agent_id: agentId,
      name: 'Daily',
      cron: '0 9 * * *',
      timezone: 'Asia/Tokyo',
      message: 'What is covered?',
    })
    expect(error).toBeNull()
    const planned = await drain()
    expect(planned).toMatchObject({ schedules: 0, runs: 0, failed: [] })
    const schedule = async () => (await stack.db.query<Json>('select * from ai.schedules'))[0]!
    expect(new Date((await schedule())['next_run_at']).toISOString()).toMatch(/T00:00:00.000Z$/)

    await stack.db.exec(`update ai.schedules set next_run_at = now() - interval '3 days'`)
    expect(await drain()).toMatchObject({ schedules: 1, runs: 1, failed: [] })
    const after = await schedule()
    expect(new Date(after['next_run_at']).getTime()).toBeGreaterThan(Date.now())
    const [run] = await stack.db.query<Json>('select * from ai.agent_runs where id = $1', [after['last_run_id']])
    expect(run).toMatchObject({ status: 'completed', user_id: userId })
    expect(await drain()).toMatchObject({ schedules: 0, runs: 0 })
  })
})

// Last: what it goes on with would be done beside other tests.
describe('a call that does not wait', () => {
  it('is accepted, and what waits is done after the answer', async () => {
    const { run_id } = await inBackground('What is covered?')
    expect(await serviceCaller(stack).json(202, 'POST', '/worker')).toEqual({ status: 'accepted' })
    await eventually(async () => expect(await runRow(run_id)).toMatchObject({ status: 'completed' }))
  })
})
