// A conversation that is deleted at the very moment at which its run ends: neither waits for the other in a circle.
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeEach, describe, expect, it } from 'vitest'
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
  /** Resolves when a session of this database waits for a lock. */
  const someoneWaits = async () => {
    for (let i = 0; i < 250; i++) {
      const [row] = await world.db.query<{ count: number }>(
        `select count(*)::int as count from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      )
      if ((row?.count ?? 0) > 0) return
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
})
