// Decisions about calls that wait, of several people at once: one counts, and the run is neither lost nor woken twice.
import { beforeEach, describe, expect, it } from 'vitest'
import type { DbCaller, Sql } from '../../../local/database/database.ts'
import { NATIVE_URL, noNativeServer, usePreparedDatabase } from '../../support/prepared-database.ts'

const HARBOR = '11111111-1111-4111-8111-111111111111'
const ADMIN = 'a0000000-0000-4000-8000-000000000002'
const MEMBER = 'a0000000-0000-4000-8000-000000000003'
const OWNER = 'a0000000-0000-4000-8000-000000000001'
const person = (sub: string): DbCaller => ({ role: 'authenticated', claims: { sub, role: 'authenticated' } })
const SERVICE: DbCaller = { role: 'service_role', claims: { role: 'service_role' } }
/** How often two things are let happen at once: which of them comes first is the server's to say. */
const ROUNDS = 12

describe.skipIf(noNativeServer())('approvals, several people at once', () => {
  const world = usePreparedDatabase(NATIVE_URL)
  let agent = ''
  beforeEach(async () => {
    const [row] = await world.db.query<{ id: string }>(
      `insert into ai.agents (tenant_id, name, created_by) values ($1, 'Clerk', $2) returning id`,
      [HARBOR, MEMBER],
    )
    agent = row?.id ?? ''
  })

  const value = async <T>(tx: Sql, text: string, ...params: unknown[]) => {
    const [row] = await tx.query<{ result: T }>(`select ${text} as result`, params)
    return row?.result as T
  }
  const as = <T>(caller: DbCaller, text: string, ...params: unknown[]): Promise<T> =>
    world.db.asCaller(caller, (tx) => value<T>(tx, text, ...params))

  type Run = { id: string; lease_token: string }
  type Asked = { run: Run; id: string }
  async function asking(rule: object = {}): Promise<Asked> {
    const run = await as<Run>(person(MEMBER), `ai.start_run($1, message => 'x', request => '{"message": "x"}')`, agent)
    const id = await as<string>(
      SERVICE,
      `ai.request_approval($1, $2, 'c1', 'mail', '{"to": "x"}', 'Send?', rule => $3) ->> 'approval_id'`,
      run.id,
      run.lease_token,
      JSON.stringify(rule),
    )
    return { run, id }
  }
  const decide = (who: string, { id }: Asked, approved: boolean) =>
    as<string>(person(who), `ai.decide_approval($1::uuid, $2) ->> 'status'`, id, approved).catch(
      (error: { code?: string }) => error.code ?? 'failed',
    )
  const suspend = ({ run }: Asked) =>
    as<string>(SERVICE, `ai.suspend_run($1, $2, 1, '[]', '[]', 'approval')`, run.id, run.lease_token)
  const stateOf = async ({ run, id }: Asked) => {
    const [row] = await world.db.query<{ run: string; approval: string; decisions: number; jobs: number }>(
      `select agent_runs.status as run, approvals.status as approval,
         (select count(*)::int from ai.approval_decisions where approval_id = approvals.id) as decisions,
         (select count(*)::int from pgboss.job where name = 'run_agent' and data ->> 'id' = agent_runs.id::text) as jobs
       from ai.agent_runs join ai.approvals on approvals.run_id = agent_runs.id
       where agent_runs.id = $1 and approvals.id = $2`,
      [run.id, id],
    )
    return row
  }

  it('Q03 racing approvals and denials: one counts, whoever it is', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const asked = await asking()
      await suspend(asked)
      const said = [true, false, true, false, true]
      const who = [MEMBER, ADMIN, OWNER, MEMBER, ADMIN]
      const answers = await Promise.all(said.map((approved, at) => decide(who[at] ?? '', asked, approved)))
      expect(answers.filter((answer) => answer === 'resumed')).toHaveLength(1)
      expect(answers.filter((answer) => answer !== 'resumed')).toEqual(Array(4).fill('PT404'))
      expect(await stateOf(asked)).toEqual({
        run: 'pending',
        approval: said[answers.indexOf('resumed')] ? 'approved' : 'denied',
        decisions: 1,
        jobs: 1,
      })
    }
  })

  it('two who are asked for are two: one who sends it twice at once is one', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const asked = await asking({ role: 'viewer', quorum: 2 })
      await suspend(asked)
      const alone = await Promise.all([1, 2, 3].map(() => decide(ADMIN, asked, true)))
      expect(alone.toSorted()).toEqual(['PT409', 'PT409', 'waiting'])
      const answers = await Promise.all([decide(MEMBER, asked, true), decide(OWNER, asked, true)])
      expect(answers.toSorted()).toEqual(['PT404', 'resumed'])
      expect(await stateOf(asked)).toEqual({ run: 'pending', approval: 'approved', decisions: 2, jobs: 1 })
    }
  })

  it('a decision while the run is about to wait is not lost, in whatever order', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const asked = await asking()
      const [decided] = await Promise.all([decide(ADMIN, asked, true), suspend(asked)])
      expect(decided).toBe('resumed')
      expect(await stateOf(asked)).toEqual({ run: 'pending', approval: 'approved', decisions: 1, jobs: 1 })
    }
  })

  it('what expires while it is decided about ends one way', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const asked = await asking()
      await suspend(asked)
      const soon = world.db.query('update ai.approvals set expires_at = clock_timestamp() where id = $1', [asked.id])
      const [decided] = await Promise.all([
        decide(ADMIN, asked, true),
        soon.then(() => as<number>(SERVICE, 'ai.expire_approvals()')),
      ])
      await as(SERVICE, 'ai.expire_approvals()')
      const state = await stateOf(asked)
      expect(state).toMatchObject({ run: 'pending', approval: decided === 'resumed' ? 'approved' : 'expired', jobs: 1 })
      expect(state?.decisions).toBe(decided === 'resumed' ? 1 : 0)
    }
  })

  it('who loses the right while they wait for a lock has lost it', async () => {
    const asked = await asking({ role: 'admin' })
    await suspend(asked)
    let isHeld = () => {}
    const held = new Promise<void>((resolve) => (isHeld = resolve))
    let release = () => {}
    const released = new Promise<void>((resolve) => (release = resolve))
    const holder = world.db.asCaller(SERVICE, async (tx) => {
      await tx.query('select from ai.agent_runs where id = $1 for update', [asked.run.id])
      isHeld()
      await released
    })
    await held
    const decided = decide(ADMIN, asked, true)
    await waitUntilBlocked()
    await world.db.query(`update public.memberships set role = 'member' where tenant_id = $1 and user_id = $2`, [
      HARBOR,
      ADMIN,
    ])
    release()
    await holder
    try {
      expect(await decided).toBe('PT404')
      expect(await stateOf(asked)).toEqual({ run: 'waiting', approval: 'pending', decisions: 0, jobs: 0 })
    } finally {
      await world.db.query(`update public.memberships set role = 'admin' where tenant_id = $1 and user_id = $2`, [
        HARBOR,
        ADMIN,
      ])
    }
    expect(await decide(ADMIN, asked, true)).toBe('resumed')
  })

  /** Until a session waits for a lock of another. */
  async function waitUntilBlocked(): Promise<void> {
    for (;;) {
      const [row] = await world.db.query<{ count: number }>(
        `select count(*)::int as count from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock' and query like '%decide_approval%'`,
      )
      if ((row?.count ?? 0) > 0) return
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
})
