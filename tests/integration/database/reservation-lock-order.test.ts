// Tokens are reserved, settled and released beside whatever removes what they are for. Each is stopped in its midst, where it holds
// locks and is about to ask for more, while others begin. None of them may come to wait for each other in a circle.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Row } from '../../../local/database/database.ts'
import { NATIVE_URL, noNativeServer, usePreparedDatabase } from '../../support/prepared-database.ts'
import { call, person, SERVICE } from '../../support/two-sessions.ts'
import { closeGate, codeOf, countWaiting, createStandStill, untilWaiting } from './stand-still.ts'

const HARBOR = '11111111-1111-4111-8111-111111111111'
const MEMBER = 'a0000000-0000-4000-8000-000000000003'
const TOKEN = 'a0000000-0000-4000-8000-00000000aaaa'
/** Held while somebody is to stand still. */
const GATE = 78

describe.skipIf(noNativeServer())('tokens that are reserved', () => {
  const prepared = usePreparedDatabase(NATIVE_URL)
  let agent = ''

  const query = <R extends Row>(text: string, params: unknown[] = []) => prepared.db.query<R>(text, params)
  const idOf = async (text: string, params: unknown[] = []) => (await query<{ id: string }>(text, params))[0]!.id
  beforeAll(async () => {
    await createStandStill(query, 'stand_still_here', GATE)
    for (const [when, table] of [
      ['delete', 'ai.indexed_sources'],
      ['insert', 'private.token_reservations'],
      ['insert', 'ai.usage_entries'],
    ]) {
      // By its name the last: whatever else the row has done before is done.
      await query(
        `create trigger z_stand_still before ${when} on ${table} for each row execute function tests.stand_still_here()`,
      )
    }
    agent = await idOf(`insert into ai.agents (tenant_id, name) values ($1, 'Clerk') returning id`, [HARBOR])
    await query(`insert into ai.budgets (tenant_id, scope, period, max_tokens) values ($1, 'tenant', 'day', 1000000)`, [
      HARBOR,
    ])
  })
  afterAll(() => query('drop function tests.stand_still_here() cascade'))
  beforeEach(async () => {
    await query('delete from private.token_reservations')
    await query('delete from ai.agent_runs')
  })

  /** `first` stands still at a row of the table; then the others begin, and wait or get through; then it goes on. */
  async function meeting(
    table: string,
    first: (stop: () => ReturnType<typeof call>) => Promise<unknown>,
    others: (() => Promise<unknown>)[],
  ): Promise<string[]> {
    const release = await closeGate(prepared.db, GATE)
    let settled = 0
    const begin = (promise: Promise<unknown>) => codeOf(promise).finally(() => (settled += 1))
    const all = [begin(first(() => call(`set_config('tests.stop_at', $1, true)`, table)))]
    /** All that have begun wait for a lock or are through. */
    const untilStill = async () => {
      for (let i = 0; i < 500; i++) {
        if ((await countWaiting(prepared.db)) + settled >= all.length) return
        await sleep(5)
      }
      throw new Error('Neither waited for a lock nor got through.')
    }
    try {
      await untilStill()
      expect(settled, 'nobody stood still').toBe(0)
      for (const other of others) {
        all.push(begin(other()))
        await untilStill()
      }
    } finally {
      await release()
    }
    return Promise.all(all)
  }

  const reserveChat = (run: { id: string; lease_token: string }) =>
    prepared.db.asCaller(SERVICE, call(`ai.reserve_tokens($1, $2, 1, 'm', 10, 10)`, run.id, run.lease_token))
  const start = async () =>
    (await prepared.db.asCaller(
      person(MEMBER),
      call(`ai.start_run($1, null, 'When?', request => '{"message": "x"}')`, agent),
    )) as { id: string; lease_token: string; session_uuid: string }
  const removeSession = (session: string) => () =>
    prepared.db.asCaller(person(MEMBER), (tx) => tx.query('delete from ai.agent_sessions where id = $1', [session]))
  const noneIsHeld = async () => {
    await prepared.db.asCaller(SERVICE, call('ai.close_expired_searches()'))
    expect(await query('select id from private.token_reservations')).toEqual([])
    expect(await query('select reserved_tokens from private.budget_counters where reserved_tokens <> 0')).toEqual([])
  }

  it('a knowledge base is deleted while its sources are indexed: nobody waits in a circle', async () => {
    const base = await idOf(`insert into ai.knowledge_bases (tenant_id, name) values ($1, 'Rules') returning id`, [
      HARBOR,
    ])
    const indexed: string[] = []
    for (const name of ['one', 'two']) {
      const source = await idOf(
        `insert into ai.sources (id, tenant_id, name, file_type, mime_type, size_bytes, content_hash, storage_path, uploaded_at)
         select made.id, $1::uuid, $2, '.txt', 'text/plain', 1, encode(sha256(convert_to($2, 'UTF8')), 'hex'), concat($1::uuid, '/', made.id, '/', $2::text), now()
         from (select gen_random_uuid() as id) as made
         returning id`,
        [HARBOR, name],
      )
      indexed.push(
        await idOf(
          `insert into ai.indexed_sources (tenant_id, knowledge_base_id, source_id, index_status, lease_token, lease_expires_at)
           values ($1, $2, $3, 'indexing', $4, now() + interval '1 minute') returning id`,
          [HARBOR, base, source, TOKEN],
        ),
      )
    }
    const reserve = (id: string) => () =>
      prepared.db.asCaller(SERVICE, call(`ai.reserve_indexing_tokens($1, $2, 'm', 'p', 10, 10)`, id, TOKEN))
    for (const id of indexed) await reserve(id)()
    const codes = await meeting(
      'indexed_sources',
      (stop) =>
        prepared.db.asCaller(SERVICE, async (tx) => {
          await stop()(tx)
          await tx.query('delete from ai.knowledge_bases where id = $1', [base])
        }),
      indexed.map(reserve),
    )
    expect(codes).toEqual(['done', 'done', 'done'])
    expect(await query('select id from ai.knowledge_bases where id = $1', [base])).toEqual([])
    await sleep(5)
    await noneIsHeld()
  })

  it('a run is deleted while a search of it reserves: both get through', async () => {
    const run = await start()
    await reserveChat(run)
    const codes = await meeting(
      'token_reservations',
      (stop) =>
        prepared.db.asCaller(SERVICE, async (tx) => {
          await stop()(tx)
          return call(
            `ai.reserve_search_tokens($1, $2, null, $3, $4, 'm', 'p', 10, 10)`,
            HARBOR,
            MEMBER,
            run.id,
            TOKEN,
          )(tx)
        }),
      [removeSession(run.session_uuid)],
    )
    expect(codes).toEqual(['done', 'done'])
    await noneIsHeld()
  })

  it('a run is deleted while a call of it is settled: both get through', async () => {
    const run = await start()
    const { id } = (await reserveChat(run)) as { id: string }
    const codes = await meeting(
      'usage_entries',
      (stop) =>
        prepared.db.asCaller(SERVICE, async (tx) => {
          await stop()(tx)
          return call(`ai.settle_tokens($1, $2, '{"total_tokens": 7}')`, id, run.lease_token)(tx)
        }),
      [removeSession(run.session_uuid)],
    )
    expect(codes).toEqual(['done', 'done'])
    await noneIsHeld()
  })

  it('a run settles a call of yesterday and reserves today, in one write: nobody waits in a circle', async () => {
    // By their ids those of a day are locked first, and that of all days last.
    await query(
      `insert into ai.budgets (id, tenant_id, scope, period, max_tokens)
       values ('00000000-0000-4000-8000-000000000001', $1, 'user', 'day', 1000000), ('ffffffff-ffff-4fff-8fff-ffffffffffff', $1, 'tenant', 'total', 1000000)`,
      [HARBOR],
    )
    const [one, two] = [await start(), await start()]
    await reserveChat(two)
    const yesterday = await idOf(
      `insert into private.token_reservations (tenant_id, run_id, lease_token, user_id, step, prompt_tokens, reserved_tokens, budget_ids, created_at)
       values ($1, $2, $3, $4, 1, 10, 10, '{}', now() - interval '1 day') returning id`,
      [HARBOR, one.id, one.lease_token, MEMBER],
    )
    const isHeld = Promise.withResolvers<void>()
    const release = Promise.withResolvers<void>()
    const holding = prepared.db.asCaller(SERVICE, async (tx) => {
      await tx.query(
        `select from private.budget_counters where budget_id = 'ffffffff-ffff-4fff-8fff-ffffffffffff' for update`,
      )
      isHeld.resolve()
      await release.promise
    })
    await isHeld.promise
    const writing = codeOf(
      prepared.db.asCaller(
        SERVICE,
        call(
          `ai.append_run_events($1, $2, 1, '[]', $3, reservation => $4)`,
          one.id,
          one.lease_token,
          JSON.stringify([{ op: 'tokens_used', reservation_id: yesterday, usage: { total_tokens: 7 } }]),
          JSON.stringify({ id: TOKEN, step: 2, model: 'm', prompt_tokens: 10, max_tokens: 10 }),
        ),
      ),
    )
    let reserving = Promise.resolve('')
    try {
      expect(await untilWaiting(prepared.db, 1, writing)).toBe(true)
      reserving = codeOf(reserveChat(two))
      expect(await untilWaiting(prepared.db, 2, reserving)).toBe(true)
    } finally {
      release.resolve()
      await holding
    }
    expect(await Promise.all([writing, reserving])).toEqual(['done', 'done'])
    expect(await query('select id from private.token_reservations where id = $1', [TOKEN])).toHaveLength(1)
    for (const { session_uuid } of [one, two]) await removeSession(session_uuid)()
    await noneIsHeld()
  })
})
