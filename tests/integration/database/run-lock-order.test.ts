// Whatever ends, takes up or removes runs may meet whatever else does: each is stopped in its midst, where it holds locks and is
// about to ask for more, and another one begins. None of them may come to wait for each other in a circle.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { DbCaller, Sql } from '../../../local/database/database.ts'
import { NATIVE_URL, noNativeServer, usePreparedDatabase } from '../../support/prepared-database.ts'
import { call, person, SERVICE } from '../../support/two-sessions.ts'
import { closeGate, codeOf, createStandStill, meetStandingStill, untilWaiting } from './stand-still.ts'
import type { Actor } from './stand-still.ts'

const HARBOR = '11111111-1111-4111-8111-111111111111'
const MEMBER = 'a0000000-0000-4000-8000-000000000003'
/** Held while somebody is to stand still. */
const GATE = 77

type Run = { id: string; run_id: string; lease_token: string; session_uuid: string }
/** A conversation of three turns: an old answer, one that was rolled back, and one whose executor has died. */
type World = { chat: string; session: string; answered: Run; rolledBack: Run; open: Run }
type Operation = {
  caller: DbCaller
  work: (world: World) => (tx: Sql) => Promise<unknown>
  /** Where it is stopped: before it changes its first row of this table, which it has locked. */
  stops: string[]
  /** Whether it has done its work, whoever else has been there. */
  isDone: (left: Left) => boolean
}
type Left = { session: boolean; chat: boolean; messages: number; open: string | null; rolledBack: boolean }

const remove = (table: string, id: (world: World) => string) => (world: World) => async (tx: Sql) =>
  (await tx.query(`delete from ${table} where id = $1 returning id`, [id(world)])).length
const OVER = ['completed', 'cancelled', null]

const OPERATIONS: Record<string, Operation> = {
  // The statement of `DELETE /api/sessions/{id}`, under the token of the person.
  'a session is deleted by its person': {
    caller: person(MEMBER),
    work: remove('ai.agent_sessions', ({ session }) => session),
    stops: ['agent_sessions', 'agent_runs', 'chat_messages'],
    isDone: ({ session, open }) => !session && open === null,
  },
  'a session is deleted by the backend': {
    caller: SERVICE,
    work: remove('ai.agent_sessions', ({ session }) => session),
    stops: ['agent_runs'],
    isDone: ({ session, open }) => !session && open === null,
  },
  'its chat is deleted': {
    caller: person(MEMBER),
    work: remove('public.chat_sessions', ({ chat }) => chat),
    stops: ['chat_sessions', 'chat_messages', 'agent_runs'],
    isDone: ({ chat, messages }) => !chat && messages === 0,
  },
  'its run is finished': {
    caller: SERVICE,
    work: ({ open }) =>
      call(
        `ai.finish_run($1, $2, 'completed', 'At nine.', trace => $3, citations => '[{"citation_key": 1}]')`,
        open.id,
        open.lease_token,
        JSON.stringify({
          steps: [{ step: 1, model: 'm' }],
          tool_calls: [{ step: 1, call_id: 'c1', tool_name: 't', result: 'ok', is_error: false, duration_ms: 1 }],
        }),
      ),
    stops: ['agent_runs', 'chat_messages', 'chat_sessions'],
    // One that was taken over is its next executor's to finish.
    isDone: ({ open }) => [...OVER, 'running'].includes(open),
  },
  'its run is cancelled': {
    caller: person(MEMBER),
    work: ({ open }) => call(`ai.cancel_run($1)`, open.run_id),
    stops: ['chat_messages', 'chat_sessions', 'agent_runs'],
    // Of one that was taken up meanwhile its executor is told.
    isDone: ({ open }) => [...OVER, 'running'].includes(open),
  },
  'its run is taken over': {
    caller: SERVICE,
    work: ({ open }) => call(`ai.claim_run($1, 'another', 10) ->> 'lease_token'`, open.id),
    stops: ['agent_runs'],
    isDone: ({ open }) => [...OVER, 'running'].includes(open),
  },
  'old runs are swept': {
    caller: SERVICE,
    work: () => call('ai.sweep_run_log()'),
    stops: ['agent_runs', 'chat_messages'],
    // What somebody else is at is left for the next time.
    isDone: () => true,
  },
}

const names = Object.keys(OPERATIONS)
const meetings = names.flatMap((first) =>
  OPERATIONS[first]!.stops.flatMap((stop) => names.map((second) => ({ first, stop, second }))),
)

describe.skipIf(noNativeServer())('two at a conversation', () => {
  const prepared = usePreparedDatabase(NATIVE_URL)
  let world: World
  let agent = ''

  beforeAll(async () => {
    await createStandStill((text) => prepared.db.query(text), 'stand_still', GATE)
    for (const table of ['ai.agent_sessions', 'ai.agent_runs', 'public.chat_sessions', 'public.chat_messages']) {
      // By its name the first: the row is locked, and nothing else has been done.
      await prepared.db.query(
        `create trigger "A_stand_still" before insert or update or delete on ${table} for each row execute function tests.stand_still()`,
      )
    }
    const [row] = await prepared.db.query<{ id: string }>(
      `insert into ai.agents (tenant_id, name) values ($1, 'Clerk') returning id`,
      [HARBOR],
    )
    agent = row?.id ?? ''
  })
  afterAll(() => prepared.db.query('drop function tests.stand_still() cascade'))

  beforeEach(async () => {
    await prepared.db.query('delete from ai.agent_runs')
    let chat: string | null = null
    const turn = async (): Promise<Run> => {
      const begun = (await prepared.db.asCaller(
        person(MEMBER),
        call(`public.begin_chat_turn($1, $2, 'When?')`, chat, agent),
      )) as { session_id: string; message_id: string }
      chat = begun.session_id
      const start = call(
        `ai.start_run($1, $2, 'When?', request => '{"message": "x"}', chat_message_id => $3)`,
        agent,
        `chat-${chat}`,
        begun.message_id,
      )
      return (await prepared.db.asCaller(person(MEMBER), start)) as Run
    }
    const over = async () => {
      const run = await turn()
      const finish = call(`ai.finish_run($1, $2, 'completed', 'At ten.')`, run.id, run.lease_token)
      await prepared.db.asCaller(SERVICE, finish)
      return run
    }
    const [answered, rolledBack, open] = [await over(), await over(), await turn()]
    await prepared.db.query(
      `update ai.agent_runs set completed_at = now() - interval '10 minutes', rolled_back = (id = $1) where id = any ($2)`,
      [rolledBack.id, [answered.id, rolledBack.id]],
    )
    await prepared.db.query(`update ai.agent_runs set lease_expires_at = now() - interval '1 s' where id = $1`, [
      open.id,
    ])
    world = { chat: chat ?? '', session: open.session_uuid, answered, rolledBack, open }
  })

  const whatIsLeft = async (): Promise<Left> => {
    const [row] = await prepared.db.query<Left>(
      `select
         exists (select from ai.agent_sessions where id = $1) as session,
         exists (select from public.chat_sessions where id = $2) as chat,
         (select count(*)::int from public.chat_messages where session_id = $2) as messages,
         (select status from ai.agent_runs where id = $3) as open,
         exists (select from ai.agent_runs where id = $4) as "rolledBack"`,
      [world.session, world.chat, world.open.id, world.rolledBack.id],
    )
    return row!
  }

  it.each(meetings)('$first, is stopped at $stop, and $second: both get through', async ({ first, stop, second }) => {
    const [one, two] = [OPERATIONS[first]!, OPERATIONS[second]!]
    const [actor, other] = [one, two].map(({ caller, work }) => ({ caller, work: work(world) })) as [Actor, Actor]
    const codes = await meetStandingStill(prepared.db, GATE, stop, actor, other)
    // A run that is gone or over cannot be cancelled; the rest finds nothing to do.
    const allowed = (name: string) => (name === 'its run is cancelled' ? ['done', 'PT404', 'PT409'] : ['done'])
    expect(allowed(first)).toContain(codes[0])
    expect(allowed(second)).toContain(codes[1])
    const left = await whatIsLeft()
    expect(one.isDone(left), JSON.stringify(left)).toBe(true)
    expect(two.isDone(left), JSON.stringify(left)).toBe(true)
  })

  it('a session and its chat are deleted while its next run begins: all three get through', async () => {
    const next = (await prepared.db.asCaller(
      person(MEMBER),
      call(`public.begin_chat_turn($1, $2, 'And now?')`, world.chat, agent),
    )) as { message_id: string }
    const release = await closeGate(prepared.db, GATE)
    const deleting = OPERATIONS['a session is deleted by its person']!
    const session = codeOf(
      prepared.db.asCaller(deleting.caller, async (tx) => {
        await tx.query(`select set_config('tests.stop_at', 'agent_sessions', true)`)
        return deleting.work(world)(tx)
      }),
    )
    let later: Promise<string>[] = []
    try {
      expect(await untilWaiting(prepared.db, 1, session)).toBe(true)
      const start = call(
        `ai.start_run($1, $2, 'And now?', request => '{"message": "x"}', chat_message_id => $3)`,
        agent,
        `chat-${world.chat}`,
        next.message_id,
      )
      const begun = codeOf(prepared.db.asCaller(person(MEMBER), start))
      later = [begun]
      expect(await untilWaiting(prepared.db, 2, begun)).toBe(true)
      const chat = codeOf(prepared.db.asCaller(person(MEMBER), OPERATIONS['its chat is deleted']!.work(world)))
      later = [begun, chat]
      expect(await untilWaiting(prepared.db, 3, chat)).toBe(true)
    } finally {
      await release()
    }
    expect(await session).toBe('done')
    // There was a session when it looked, and there is none now.
    expect(await Promise.all(later)).toEqual(['PT404', 'done'])
    expect(await whatIsLeft()).toMatchObject({ chat: false, session: false, messages: 0 })
  })

  it('the sweep leaves a rolled back run whose conversation is being deleted, and removes it the next time', async () => {
    const sweep = call('ai.sweep_run_log()')
    const sweeping = Promise.withResolvers<unknown>()
    const isDeleted = Promise.withResolvers<void>()
    const deleting = prepared.db.asCaller(person(MEMBER), async (tx) => {
      await OPERATIONS['its chat is deleted']!.work(world)(tx)
      isDeleted.resolve()
      await sweeping.promise
    })
    await Promise.race([isDeleted.promise, deleting])
    const swept = prepared.db.asCaller(SERVICE, sweep)
    swept.then(sweeping.resolve, sweeping.resolve)
    expect(await swept).toMatchObject({ rolled_back: 0 })
    await deleting
    expect(await prepared.db.asCaller(SERVICE, sweep)).toMatchObject({ rolled_back: 1 })
    expect(await whatIsLeft()).toMatchObject({ chat: false, session: true, rolledBack: false })
  })
})
