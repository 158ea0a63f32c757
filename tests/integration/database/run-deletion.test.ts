// A conversation that is deleted at the very moment at which its run ends: neither waits for the other in a circle.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Sql } from '../../../local/database/database.ts'
import { NATIVE_URL, noNativeServer, usePreparedDatabase } from '../../support/prepared-database.ts'
import { call, meet, person, SERVICE } from '../../support/two-sessions.ts'

const HARBOR = '11111111-1111-4111-8111-111111111111'
const MEMBER = 'a0000000-0000-4000-8000-000000000003'

describe.skipIf(noNativeServer())('a conversation and its run', () => {
  const world = usePreparedDatabase(NATIVE_URL)
  let run: { id: string; lease_token: string }
  let turn: { session_id: string; message_id: string }

  beforeEach(async () => {
    const [agent] = await world.db.query<{ id: string }>(
      'select id from ai.agents where is_default and tenant_id = $1',
      [HARBOR],
    )
    await world.db.query(`delete from ai.agent_runs where status in ('pending', 'running', 'waiting')`)
    turn = (await world.db.asCaller(
      person(MEMBER),
      call(`public.begin_chat_turn(agent_id => $1, message => 'When does it open?')`, agent?.id),
    )) as typeof turn
    run = (await world.db.asCaller(
      person(MEMBER),
      call(
        `ai.start_run($1, null, 'When does it open?', request => '{"message": "x"}', chat_message_id => $2)`,
        agent?.id,
        turn.message_id,
      ),
    )) as typeof run
  })

  const lock = (tx: Sql) => tx.query('select from ai.agent_runs where id = $1 for no key update', [run.id])
  const finish = call.bind(null, `ai.finish_run($1, $2, 'completed', 'At nine.')`)
  const cancel = call.bind(null, `private.end_run($1, 'cancelled')`)
  const remove = async (tx: Sql) => {
    const rows = await tx.query('delete from public.chat_sessions where id = $1 returning id', [turn.session_id])
    return rows.length
  }
  const rename = async (tx: Sql) => {
    await tx.query(`update public.chat_sessions set title = 'Hours' where id = $1`, [turn.session_id])
  }
  /** Resolves when so many sessions of this database wait for a lock. */
  const someoneWaits = async (many = 1) => {
    for (let i = 0; i < 250; i++) {
      const [row] = await world.db.query<{ count: number }>(
        `select count(*)::int as count from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      )
      if ((row?.count ?? 0) >= many) return
      await sleep(20)
    }
    throw new Error('Nobody waited for a lock.')
  }
  const left = async () => {
    const [row] = await world.db.query<{ status: string; messages: number; question: string | null }>(
      `select status, chat_message_id as question,
         (select count(*)::int from public.chat_messages where session_id = $2) as messages
       from ai.agent_runs where id = $1`,
      [run.id, turn.session_id],
    )
    return row
  }

  it.each([
    ['is finished', () => finish(run.id, run.lease_token), 'completed'],
    ['is cancelled', () => cancel(run.id), 'cancelled'],
  ])('is deleted when its run, locked already, %s: both are done', async (_how, end, status) => {
    const locked = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    const ending = world.db.asCaller(SERVICE, async (tx) => {
      // What whoever ends a run does first.
      await lock(tx)
      locked.resolve()
      await goOn.promise
      return end()(tx)
    })
    await locked.promise
    // It locks the session and its messages, and comes to the run.
    const removing = world.db.asCaller(person(MEMBER), remove)
    await someoneWaits().finally(() => goOn.resolve())
    const [ended, removed] = await Promise.all([ending, removing])
    expect(ended).toBe(true)
    expect(removed).toBe(1)
    expect(await left()).toEqual({ status, messages: 0, question: null })
  })

  it('is deleted after its run has ended and before that is to be seen: the answer goes too', async () => {
    const outcomes = await meet(world.db, [SERVICE, finish(run.id, run.lease_token)], [person(MEMBER), remove])
    expect(outcomes).toEqual([{ value: true }, { value: 1 }])
    expect(await left()).toEqual({ status: 'completed', messages: 0, question: null })
  })

  it('is deleted just before its run ends: the run ends without it', async () => {
    const outcomes = await meet(world.db, [person(MEMBER), remove], [SERVICE, finish(run.id, run.lease_token)])
    expect(outcomes).toEqual([{ value: 1 }, { value: true }])
    expect(await left()).toEqual({ status: 'completed', messages: 0, question: null })
  })

  it('is renamed while its run ends: the answer is there', async () => {
    const outcomes = await meet(world.db, [SERVICE, rename], [SERVICE, finish(run.id, run.lease_token)])
    expect(outcomes).toEqual([{ value: undefined }, { value: true }])
    expect(await left()).toEqual({ status: 'completed', messages: 2, question: turn.message_id })
  })

  describe('whose run is interrupted by the next one', () => {
    let agentId = ''
    let session = ''
    let next: typeof turn

    // Holds whoever begins a run: when it has rolled another one back, or else before its own row is written.
    beforeAll(async () => {
      await world.db.query(`create function tests.pause() returns trigger language plpgsql as $$
        begin perform pg_advisory_xact_lock(5); return new; end $$`)
      await world.db.query(`create trigger pause before insert on ai.agent_runs for each row
        when (new.multitask_strategy = 'interrupt') execute function tests.pause()`)
      await world.db.query(`create trigger pause_rollback after update of rolled_back on ai.agent_runs for each row
        execute function tests.pause()`)
    })
    afterAll(() => world.db.query('drop function tests.pause() cascade'))

    const say = async (sessionId: string | null) =>
      (await world.db.asCaller(
        person(MEMBER),
        call(`public.begin_chat_turn($1, $2, 'When does it open?')`, sessionId, agentId),
      )) as typeof turn
    const begin = (strategy: string, messageId: string) =>
      call(
        `ai.start_run($1, $2, 'When?', request => '{"message": "x"}', multitask_strategy => $3, chat_message_id => $4)`,
        agentId,
        session,
        strategy,
        messageId,
      )

    beforeEach(async () => {
      const [row] = await world.db.query<{ id: string }>(
        `insert into ai.agents (tenant_id, name) values ($1, 'Clerk') returning id`,
        [HARBOR],
      )
      agentId = row?.id ?? ''
      turn = await say(null)
      session = `chat-${turn.session_id}`
      run = (await world.db.asCaller(person(MEMBER), begin('queue', turn.message_id))) as typeof run
      next = await say(turn.session_id)
    })

    /** What the next run and a deletion in the midst of its beginning end with. */
    const meetWhileItBegins = async (strategy: string, deletion: (tx: Sql) => Promise<unknown>) => {
      const goOn = Promise.withResolvers<void>()
      const isHeld = Promise.withResolvers<void>()
      const holding = world.db.asCaller(SERVICE, async (tx) => {
        await tx.query('select pg_advisory_xact_lock(5)')
        isHeld.resolve()
        await goOn.promise
      })
      await isHeld.promise
      const beginning = world.db.asCaller(person(MEMBER), begin(strategy, next.message_id))
      const deleting = someoneWaits().then(() => world.db.asCaller(SERVICE, deletion))
      await someoneWaits(2).finally(() => goOn.resolve())
      const [begun, deleted] = await Promise.all([beginning, deleting, holding])
      return [(begun as { status: string }).status, deleted]
    }

    it.each([
      ['interrupt', 'goes on', 'pending'],
      ['rollback', 'goes on', 'pending'],
      ['interrupt', 'has lost its executor', 'running'],
      ['rollback', 'has lost its executor', 'running'],
    ])('is deleted while that begins (%s) and the run %s: both are done', async (strategy, state, begun) => {
      if (state !== 'goes on')
        await world.db.query(`update ai.agent_runs set lease_expires_at = now() - interval '1 s' where id = $1`, [
          run.id,
        ])
      expect(await meetWhileItBegins(strategy, remove)).toEqual([begun, 1])
      expect(await left()).toMatchObject({ messages: 0, question: null })
    })

    it('loses its agent while that begins: both are done', async () => {
      const removeAgent = async (tx: Sql) =>
        (await tx.query('delete from ai.agents where id = $1 returning id', [agentId])).length
      expect(await meetWhileItBegins('interrupt', removeAgent)).toEqual(['pending', 1])
    })

    it('is deleted before that begins: there is nothing to begin', async () => {
      const outcomes = await meet(
        world.db,
        [person(MEMBER), remove],
        [person(MEMBER), begin('interrupt', next.message_id)],
      )
      expect(outcomes).toEqual([{ value: 1 }, { code: 'PT404', detail: expect.stringContaining('not_found') }])
      expect(await left()).toMatchObject({ status: 'running', messages: 0, question: null })
    })
  })
})
