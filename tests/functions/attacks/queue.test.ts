import { randomUUID } from 'node:crypto'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { drain } from '../../../supabase/functions/worker/drain.ts'
import { obey } from '../../support/scripted-model/index.ts'
import { useModel } from '../../support/scripted-model/use-model.ts'
import { useStack } from '../../support/stack.ts'
import { eventsOf, streamRun } from '../support/agent-run.ts'
import { startApi } from '../support/api-app.ts'
import type { ApiApp } from '../support/api-app.ts'
import { HARBOR, MERIDIAN, serviceCaller, userCaller } from '../support/http.ts'
import type { FunctionsCaller, Json } from '../support/http.ts'

// Rows Q01, Q05 and Q06 of the attack catalogue: who makes the queue work for them, or against others.

const userEnv: Record<string, string> = {}
const model = useModel(userEnv)
const stack = useStack({ userEnv })

let api: ApiApp
let member: FunctionsCaller
let other: FunctionsCaller
const agents: Record<string, string> = {}
const people: Record<string, string> = {}

beforeAll(async () => {
  api = startApi(stack)
  member = api.as(await userCaller(stack, 'member@harbor.example', { 'x-tenant-id': HARBOR }))
  other = api.as(await userCaller(stack, 'member@meridian.example', { 'x-tenant-id': MERIDIAN }))
  const rows = await stack.db.query<{ id: string; tenant_id: string }>(
    'select id, tenant_id from ai.agents where is_default',
  )
  for (const { id, tenant_id } of rows) agents[tenant_id] = id
  for (const { id, email } of await stack.db.query<{ id: string; email: string }>('select id, email from auth.users')) {
    people[email] = id
  }
})
beforeEach(async () => {
  model.play(obey())
  await stack.db.exec('delete from ai.agent_runs; delete from ai.schedules; delete from ai.tenant_settings')
  await stack.db.exec('delete from pgboss.job')
})

const carryOut = (places = 2) =>
  drain({ ...api.deps, drain: { allowanceMs: 30_000, places }, runs: api.deps, ingestion: null })
const background = (person: FunctionsCaller, tenant: string, message = 'SAY done') =>
  person.json(202, 'POST', `/api/agents/${agents[tenant]}/run`, { json: { message, background: true } })
const runRow = async (id: string) =>
  (await stack.db.query<Json>('select * from ai.agent_runs where run_id = $1', [id]))[0]!
const jobs = () => stack.db.query<Json>('select name, data, group_id from pgboss.job')

describe('Q01 the queue', () => {
  it('is nobody’s to write to: no job comes from a client', async () => {
    for (const email of ['owner@harbor.example', 'member@harbor.example', null]) {
      const client = email === null ? stack.anon : await stack.signIn(email)
      const payload = { id: randomUUID(), tenant_id: MERIDIAN }
      for (const { error } of [
        await client.schema('ai').rpc('enqueue', { queue: 'run_agent', payload }),
        await client.schema('ai').rpc('redrive_dead_letters', { queue: 'run_agent' }),
        await client.schema('ai').rpc('fire_due_schedule', {
          schedule_id: randomUUID(),
          expected_next_run_at: new Date().toISOString(),
          following_run_at: null,
        }),
        await client.schema('ai').rpc('claim_run', { run_id: randomUUID(), executor: 'me', lease_seconds: 600 }),
        await client.schema('pgboss').from('job').insert({ name: 'run_agent', data: payload }),
        await client.schema('pgboss').from('job').select('*'),
        await client.schema('private').rpc('enqueue', { queue: 'run_agent', payload }),
      ]) {
        expect(error).not.toBeNull()
      }
    }
    expect(await jobs()).toEqual([])
    // The same call with the secret key is what queues.
    const { error } = await stack.service
      .schema('ai')
      .rpc('enqueue', { queue: 'remove_object', payload: { id: randomUUID() } })
    expect(error).toBeNull()
    expect(await jobs()).toHaveLength(1)
  })

  it('says nothing that counts: an edited job runs what its run says, for whom its run says', async () => {
    const { run_id } = await background(member, HARBOR, 'SAY harbour')
    const foreign = await background(other, MERIDIAN, 'SAY meridian')
    const forged = {
      tenant_id: MERIDIAN,
      user_id: people['owner@harbor.example'],
      message: 'SAY forged',
      agent_id: agents[MERIDIAN],
    }
    await stack.db.query(`update pgboss.job set data = data || $1::jsonb`, [JSON.stringify(forged)])
    // And one that names another tenant's run: it wakes somebody for that run, in that run's own right.
    await stack.db.query(
      `insert into pgboss.job (name, data, priority, group_id) values ('run_agent', $1::jsonb, 2147483647, $2)`,
      [JSON.stringify({ ...forged, id: (await runRow(foreign['run_id']))['id'] }), HARBOR],
    )
    expect((await jobs()).map(({ group_id }) => group_id).sort()).toEqual([HARBOR, MERIDIAN, MERIDIAN])

    expect(await carryOut()).toMatchObject({ runs: 2, failed: [] })
    const ours = await runRow(run_id)
    expect(ours).toMatchObject({ status: 'completed', tenant_id: HARBOR, user_id: people['member@harbor.example'] })
    expect(ours['principal_id']).toBe(people['member@harbor.example'])
    const theirs = await runRow(foreign['run_id'])
    expect(theirs).toMatchObject({
      status: 'completed',
      tenant_id: MERIDIAN,
      user_id: people['member@meridian.example'],
    })
    expect(JSON.stringify(model.requests)).not.toContain('SAY forged')
  })
})

describe('Q05 what would multiply', () => {
  it('a run that kills whoever takes it up is given up', async () => {
    const { run_id } = await background(member, HARBOR)
    await stack.db.query(
      `update ai.agent_runs set status = 'running', lease_token = gen_random_uuid(), lease_expires_at = now() - interval '1 minute', attempts = 10
       where run_id = $1`,
      [run_id],
    )
    expect(await carryOut()).toMatchObject({ runs: 0, failed: [] })
    expect(await runRow(run_id)).toMatchObject({ status: 'failed', error_code: 'interrupted' })
  })

  it('a job is tried a known number of times, later and later', async () => {
    const queues = await stack.db.query<Json>(
      `select name, retry_limit, retry_delay, retry_backoff from pgboss.queue where name not like '%\\_dead' and name not like '\\_\\_%'`,
    )
    expect(queues.length).toBeGreaterThan(5)
    for (const { name, retry_limit, retry_delay, retry_backoff } of queues) {
      expect(retry_limit, name).toBeLessThanOrEqual(10)
      expect(retry_delay, name).toBeGreaterThanOrEqual(1)
      expect(retry_backoff, name).toBe(true)
    }
  })

  it('a fan of runs ends at the number that may wait', async () => {
    await stack.db.query(
      'insert into ai.tenant_settings (tenant_id, max_running_runs, max_queued_runs) values ($1, 0, 3)',
      [HARBOR],
    )
    for (let i = 0; i < 3; i++) await background(member, HARBOR)
    const path = `/api/agents/${agents[HARBOR]}/run`
    const refused = await member.json(409, 'POST', path, { json: { message: 'SAY x', background: true } })
    expect(refused['code']).toBe('limit_reached')
    // The other tenant has its own.
    await background(other, MERIDIAN)
    expect((await carryOut())['runs']).toBe(1)
  })

  it('nothing happens every second, nor in more schedules than there may be', async () => {
    const ai = (await stack.signIn('member@harbor.example')).schema('ai')
    const schedule = (cron: string) => ({
      tenant_id: HARBOR,
      agent_id: agents[HARBOR],
      name: 'x',
      cron,
      message: 'SAY x',
    })
    for (const cron of ['* * * * * *', '*/1 * * * * *', '@secondly', '0 * * * * * *']) {
      expect((await ai.from('schedules').insert(schedule(cron))).error?.code).toBe('23514')
    }
    expect(
      (await ai.from('schedules').insert(Array.from({ length: 100 }, () => schedule('* * * * *')))).error,
    ).toBeNull()
    const { error } = await ai.from('schedules').insert(schedule('* * * * *'))
    expect(error?.details).toContain('limit_reached')
  })

  it('an agent does not schedule itself: no tool reaches the table, and no token of an agent writes there', async () => {
    const backend = api.as(serviceCaller(stack, { 'x-tenant-id': HARBOR }))
    const { id } = await backend.json(201, 'POST', '/api/agents', { json: { name: 'Loop' } })
    const tool = (schema: string, table: string) => ({
      json: { tool_name: 'database_write', config_override: { schemas: { [schema]: [table] } } },
    })
    await backend.json(400, 'POST', `/api/agents/${id}/tools`, tool('ai', 'schedules'))
    await backend.json(201, 'POST', `/api/agents/${id}/tools`, tool('public', 'memories'))
    const row = { tenant_id: HARBOR, agent_id: id, name: 'again', cron: '* * * * *', message: 'Again.' }
    const write = (table: string, data: object) =>
      `CALL database_write ${JSON.stringify({ table, operation: 'insert', data })}`
    const run = await streamRun(member, id, {
      message: [write('ai.schedules', row), write('memories', { tenant_id: HARBOR, body: 'kept' })].join('\n'),
    })
    const [refused, written] = eventsOf(run, 'tool_result')
    expect(refused!['result']).toContain('This table is not available.')
    expect(written!['result']).toContain('"rows_affected":1')

    const sub = people['member@harbor.example']!
    for (const [act, code] of [
      [{ sub: 'agent', agent_id: id, run_id: 'run_000000000000' }, '42501'],
      [{ sub: 'service_key' }, undefined],
    ] as const) {
      const { token } = await api.deps.delegation.mint({ sub, tenantId: HARBOR, act })
      const db = api.deps.clientFor({ userId: sub, token, tenantId: HARBOR })
      expect((await db.schema('ai').from('schedules').insert(row)).error?.code).toBe(code)
    }
    expect(await stack.db.query('select id from ai.schedules')).toHaveLength(1)
  })
})

describe('Q06 volume', () => {
  it.each([1, 2])('of one tenant starves nobody, with places: %i', async (places) => {
    for (let i = 0; i < 6; i++) await background(member, HARBOR)
    const late = await background(other, MERIDIAN)
    expect(await carryOut(places)).toMatchObject({ runs: 7, failed: [] })
    const order = await stack.db.query<{ run_id: string }>('select run_id from ai.agent_runs order by started_at, id')
    const rank = order.findIndex(({ run_id }) => run_id === late['run_id'])
    expect(rank).toBeLessThanOrEqual(places)
  })

  it('nor does a priority: there is nothing above normal', async () => {
    const path = `/api/agents/${agents[HARBOR]}/run`
    const ask = (priority: unknown) => ({ json: { message: 'SAY x', background: true, priority } })
    for (const priority of [1000, 'high', 'urgent']) {
      expect((await member.json(400, 'POST', path, ask(priority)))['code']).toBe('invalid_request')
    }
    const runs = [
      await member.json(202, 'POST', path, ask('normal')),
      await member.json(202, 'POST', path, ask('low')),
      await background(other, MERIDIAN),
    ]
    // The other one came last, and has the first turn of its tenant all the same.
    const queued = await stack.db.query<Json>(
      `select job.group_id, job.priority from pgboss.job join ai.agent_runs on agent_runs.id::text = job.data ->> 'id'
       where run_id = any ($1) order by job.group_id, job.priority desc`,
      [runs.map(({ run_id }) => run_id)],
    )
    expect(queued).toEqual([
      { group_id: HARBOR, priority: 0 },
      { group_id: HARBOR, priority: -1 },
      { group_id: MERIDIAN, priority: 0 },
    ])
  })

  /** What floods a tenant's queue, in the order in which it comes. */
  const FLOODS: [name: string, priorities: string[]][] = [
    ['all normal', Array<string>(8).fill('normal')],
    ['all low', Array<string>(8).fill('low')],
    ['low, then normal', [...Array<string>(4).fill('low'), ...Array<string>(4).fill('normal')]],
    ['by turns', Array.from({ length: 8 }, (_, index) => (index % 2 ? 'normal' : 'low'))],
  ]

  it.each(FLOODS)('of runs, %s, delays others by one pick', async (_, priorities) => {
    const path = `/api/agents/${agents[HARBOR]}/run`
    const made: { run_id: string; priority: string }[] = []
    for (const priority of priorities) {
      const json = { message: 'SAY x', background: true, priority }
      made.push({ run_id: (await member.json(202, 'POST', path, { json }))['run_id'], priority })
    }
    const late = await background(other, MERIDIAN)
    expect(await carryOut(1)).toMatchObject({ runs: priorities.length + 1, failed: [] })
    const order = await stack.db.query<{ run_id: string }>('select run_id from ai.agent_runs order by started_at, id')
    const place = (id: string) => order.findIndex(({ run_id }) => run_id === id)
    expect(place(late['run_id'])).toBeLessThanOrEqual(1)
    // Inside the tenant they count: every normal one before every low one.
    const of = (wanted: string) => made.filter(({ priority }) => priority === wanted).map(({ run_id }) => place(run_id))
    for (const normal of of('normal')) for (const low of of('low')) expect(normal).toBeLessThan(low)
  })

  it('of documents delays others by as much, whatever priorities it has', async () => {
    /** Who is picked, one after the other, when documents of the other come after a flood and in the midst of it. */
    const picked = async (priorities: string[]) => {
      await stack.db.exec(`delete from pgboss.job; delete from ai.sources where name like 'flood%'`)
      await stack.db.exec('update private.queue_limits set max_active_per_tenant = 100')
      const ours = (await stack.signIn('member@harbor.example')).schema('ai')
      const theirs = (await stack.signIn('member@meridian.example')).schema('ai')
      const add = async (ai: typeof ours, priority?: string) => {
        const { data, error } = await ai.rpc('register_source', {
          name: 'flood.txt',
          file_type: '.txt',
          mime_type: 'text/plain',
          size_bytes: 1,
          content_hash: randomUUID().replaceAll('-', '').repeat(2),
          ...(priority === undefined ? {} : { priority }),
        })
        expect(error).toBeNull()
        const { id } = data as { id: string }
        expect((await ai.rpc('complete_upload', { source_id: id })).error).toBeNull()
      }
      const order: string[] = []
      const pick = async (count: number) => {
        const { data } = await stack.service
          .schema('ai')
          .rpc('take_jobs', { queue: 'extract_source', max_count: count })
        for (const { id, subject, attempt } of data as { id: string; subject: string; attempt: number }[]) {
          const [row] = await stack.db.query<Json>('select tenant_id from ai.sources where id = $1', [subject])
          order.push(row?.['tenant_id'] === HARBOR ? 'ours' : 'theirs')
          const job = { queue: 'extract_source', job_id: id, attempt, succeeded: true }
          expect((await stack.service.schema('ai').rpc('finish_job', job)).data).toBe(true)
        }
      }
      for (const priority of priorities.slice(0, 5)) await add(ours, priority)
      await add(theirs)
      await pick(2)
      for (const priority of priorities.slice(5)) await add(ours, priority)
      await add(theirs)
      await add(theirs)
      for (let i = 0; i < 9; i++) await pick(1)
      return order
    }
    const [first, ...rest] = FLOODS
    const usual = await picked(first![1])
    expect(usual.filter((whose) => whose === 'theirs')).toHaveLength(3)
    expect(usual.slice(0, 2)).toContain('theirs')
    for (const [name, priorities] of rest) expect(await picked(priorities), name).toEqual(usual)
    await stack.db.exec('update private.queue_limits set max_active_per_tenant = 2')
  })
})
