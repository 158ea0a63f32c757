// Runs, where two sessions meet: who takes one up, who ends it, and who is refused.
import { beforeEach, describe, expect, it } from 'vitest'
import { NATIVE_URL, noNativeServer, usePreparedDatabase } from '../../support/prepared-database.ts'
import { call, meet, person, SERVICE } from '../../support/two-sessions.ts'

const HARBOR = '11111111-1111-4111-8111-111111111111'
const MEMBER = 'a0000000-0000-4000-8000-000000000003'

type Run = { id: string; run_id: string; lease_token: string | null; status: string }

describe.skipIf(noNativeServer())('two at one run', () => {
  const world = usePreparedDatabase(NATIVE_URL)
  let agent = ''
  let count = 0
  let run: Run

  const begin = (session: string, strategy = 'queue') =>
    call(
      `ai.start_run($1, $2, 'hello', request => '{"message": "hello"}', multitask_strategy => $3)`,
      agent,
      session,
      strategy,
    )
  const start = async (session: string) => (await world.db.asCaller(person(MEMBER), begin(session))) as Run
  const claim = (executor: string) => call(`ai.claim_run($1, $2, 10) ->> 'lease_token'`, run.id, executor)
  const append = (first: number, lease: string | null, type = 'chunk') =>
    call(`ai.append_run_events($1, $2, $3, $4)`, run.id, lease, first, JSON.stringify([{ event: type, type, lease }]))
  const finish = (lease: string | null) =>
    call(
      `ai.finish_run($1, $2, 'completed', 'Yes.', first_seq => 2, events => '[{"type": "complete"}]')`,
      run.id,
      lease,
    )
  const suspend = (lease: string | null) => call(`ai.suspend_run($1, $2, 1, '[]', '[]', 'approval')`, run.id, lease)
  const expire = () =>
    world.db.query(`update ai.agent_runs set lease_expires_at = now() - interval '1 second' where id = $1`, [run.id])
  const status = async (id = run.id) => {
    const [row] = await world.db.query<{ status: string }>('select status from ai.agent_runs where id = $1', [id])
    return row?.status
  }
  const log = async () => {
    const rows = await world.db.query<{ seq: number; type: string }>(
      'select seq, type from ai.run_events where run_id = $1 order by seq',
      [run.id],
    )
    return rows.map(({ seq, type }) => `${seq} ${type}`)
  }

  beforeEach(async () => {
    const [row] = await world.db.query<{ id: string }>('select id from ai.agents where is_default and tenant_id = $1', [
      HARBOR,
    ])
    agent = row?.id ?? ''
    await world.db.query(`delete from ai.agent_runs where status in ('pending', 'running', 'waiting')`)
    await world.db.query('delete from ai.tenant_settings')
    count += 1
    run = await start(`race-${count}`)
  })

  it('one of them takes over what a dead executor has left', async () => {
    await expire()
    const [first, second] = await meet(world.db, [SERVICE, claim('first')], [SERVICE, claim('second')])
    expect(first).toEqual({ value: expect.any(String) })
    expect(second).toEqual({ value: null })
  })

  it('an executor that was taken for dead is refused, even if it writes at that very moment', async () => {
    await expire()
    const [taken, late] = await meet(world.db, [SERVICE, claim('second')], [SERVICE, append(1, run.lease_token)])
    expect(taken).toEqual({ value: expect.any(String) })
    expect(late).toEqual({ value: { held: false, last_seq: null, stop: null } })
    expect(await log()).toEqual([])
  })

  it('an executor that writes first keeps its run', async () => {
    await expire()
    const [held, taken] = await meet(world.db, [SERVICE, append(1, run.lease_token)], [SERVICE, claim('second')])
    expect(held).toEqual({ value: { held: true, last_seq: 1, stop: null } })
    expect(taken).toEqual({ value: null })
  })

  it('a run that ends while it is being taken over is over', async () => {
    await world.db.asCaller(SERVICE, append(1, run.lease_token))
    await expire()
    const [ended, taken] = await meet(world.db, [SERVICE, finish(run.lease_token)], [SERVICE, claim('second')])
    expect(ended).toEqual({ value: true })
    expect(taken).toEqual({ value: null })
    expect(await log()).toEqual(['1 chunk', '2 complete'])
  })

  it('the same events sent twice at once are written once', async () => {
    const [first, again] = await meet(
      world.db,
      [SERVICE, append(1, run.lease_token)],
      [SERVICE, append(1, run.lease_token)],
    )
    expect([first, again]).toEqual(Array(2).fill({ value: { held: true, last_seq: 1, stop: null } }))
    expect(await log()).toEqual(['1 chunk'])
  })

  const ask = async () => {
    await world.db.query(
      `insert into ai.approvals (tenant_id, run_id, user_id, call_id, tool_name, tool_input, input_hash, expires_at)
       values ($1, $2, $3, 'c', 'x', '{}', repeat('0', 64), now() + interval '1 day')`,
      [HARBOR, run.id, MEMBER],
    )
  }
  const decide = () => call(`ai.decide_approval($1::text, true) ->> 'status'`, run.run_id)

  it('a decision that meets a run about to wait wakes it', async () => {
    await ask()
    const [put, decided] = await meet(world.db, [SERVICE, suspend(run.lease_token)], [person(MEMBER), decide()])
    expect([put, decided]).toEqual([{ value: 'waiting' }, { value: 'resumed' }])
    expect(await status()).toBe('pending')
  })

  it('a run that is about to wait meets the decision, and does not', async () => {
    await ask()
    const [decided, put] = await meet(world.db, [person(MEMBER), decide()], [SERVICE, suspend(run.lease_token)])
    expect([decided, put]).toEqual([{ value: 'resumed' }, { value: 'pending' }])
    expect(await status()).toBe('pending')
  })

  it('a run that is cancelled while it is put down ends', async () => {
    await ask()
    const cancel = call(`ai.cancel_run($1) ->> 'status'`, run.run_id)
    const [put, cancelled] = await meet(world.db, [SERVICE, suspend(run.lease_token)], [person(MEMBER), cancel])
    expect([put, cancelled]).toEqual([{ value: 'waiting' }, { value: 'cancelled' }])
    expect(await status()).toBe('cancelled')
  })

  it('a run that is put down while it is cancelled ends', async () => {
    await ask()
    const cancel = call(`ai.cancel_run($1) ->> 'status'`, run.run_id)
    const [cancelled, put] = await meet(world.db, [person(MEMBER), cancel], [SERVICE, suspend(run.lease_token)])
    expect([cancelled, put]).toEqual([{ value: 'running' }, { value: null }])
    expect(await status()).toBe('cancelled')
  })

  it('two runs of a free session: one begins, the other waits for it', async () => {
    const session = `pair-${count}`
    const outcomes = await meet(world.db, [person(MEMBER), begin(session)], [person(MEMBER), begin(session)])
    expect(outcomes).toMatchObject([{ value: { status: 'running' } }, { value: { status: 'pending' } }])
  })

  it('a run that begins while the one before it ends is called, and takes its turn', async () => {
    await world.db.asCaller(SERVICE, append(1, run.lease_token))
    const [ended, next] = await meet(
      world.db,
      [SERVICE, finish(run.lease_token)],
      [person(MEMBER), begin(`race-${count}`)],
    )
    expect(ended).toEqual({ value: true })
    // The end was not to be seen yet.
    expect(next).toMatchObject({ value: { status: 'pending' } })
    run = (next as { value: Run }).value
    expect(
      await world.db.query(`select state from pgboss.job where name = 'run_agent' and data ->> 'id' = $1`, [run.id]),
    ).toEqual([{ state: 'created' }])
    expect(await world.db.asCaller(SERVICE, claim('worker'))).toEqual(expect.any(String))
  })

  it('caps hold however many begin at once', async () => {
    await world.db.query(`insert into ai.tenant_settings (tenant_id, max_running_runs) values ($1, 5)`, [HARBOR])
    const begun = (await Promise.all(Array.from({ length: 40 }, (_, i) => start(`cap-${count}-${i}`)))) as Run[]
    // One was running before.
    expect(begun.filter(({ status }) => status === 'running')).toHaveLength(4)
    const waiting = begun.filter(({ status }) => status === 'pending')
    for (const { id, lease_token } of begun.filter(({ status }) => status === 'running').slice(0, 2))
      await world.db.asCaller(SERVICE, call(`ai.finish_run($1, $2, 'completed', 'x')`, id, lease_token))
    const claims = await Promise.all(
      waiting.map(({ id }) => world.db.asCaller(SERVICE, call(`ai.claim_run($1, 'x', 10) ->> 'id'`, id))),
    )
    expect(claims.filter((id) => id !== null)).toHaveLength(2)
  })

  it('nobody gets in the way of two that interrupt one another', async () => {
    const session = `race-${count}`
    const outcomes = await Promise.all(
      Array.from({ length: 8 }, () => world.db.asCaller(person(MEMBER), begin(session, 'interrupt'))),
    )
    expect(outcomes.map((outcome) => (outcome as Run).status)).toEqual(Array(8).fill('pending'))
    const rows = await world.db.query(
      `select agent_runs.status, cancel_requested_at is not null as told, count(*)::int as count
       from ai.agent_runs join ai.agent_sessions on agent_sessions.id = agent_runs.session_id
       where agent_sessions.session_id = $1 group by 1, 2 order by 1`,
      [session],
    )
    // The last one waits for the only one that runs; those between are over.
    expect(rows).toEqual([
      { status: 'cancelled', told: false, count: 7 },
      { status: 'pending', told: false, count: 1 },
      { status: 'running', told: true, count: 1 },
    ])
  })
})
