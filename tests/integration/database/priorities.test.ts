// Jobs of two priorities are queued, overtaken and fetched at the same time: each is fetched once, none is lost, and none waits for another.
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { eventually } from '../../support/eventually.ts'
import { NATIVE_URL, noNativeServer, usePreparedDatabase } from '../../support/prepared-database.ts'
import { HARBOR, MERIDIAN, useNativeQueue } from './native-queue.ts'

const QUEUE = 'extract_source'
const WRITERS = 6
const FETCHERS = 3
const EACH = 60

type Priority = 'normal' | 'low'
type Sql = Pick<pg.ClientBase, 'query'>

describe.skipIf(noNativeServer())('jobs of two priorities', () => {
  const world = usePreparedDatabase(NATIVE_URL)
  const queue = useNativeQueue(world, { connections: WRITERS + 3, fetching: FETCHERS })
  beforeEach(() => world.db.exec('delete from pgboss.job'))
  afterEach(() =>
    world.db.exec(
      `alter function private.wait_for_turns(uuid, text) set lock_timeout = '250ms';
       update private.queue_limits set max_active_per_tenant = 2 where queue = '${QUEUE}'`,
    ),
  )

  const make = async (count: number, priority: Priority, tenant = HARBOR): Promise<string[]> => {
    const { rows } = await queue.pool.query<{ id: string }>(
      `insert into ai.sources (id, tenant_id, name, file_type, mime_type, size_bytes, content_hash, storage_path, uploaded_at, priority)
       select id, $1::uuid, 'x', '.txt', 'text/plain', 1, encode(sha256(id::text::bytea), 'hex'), $1 || '/' || id || '/x', now(), $3
       from (select gen_random_uuid() as id from generate_series(1, $2::int)) as ids
       returning id`,
      [tenant, count, priority],
    )
    return rows.map(({ id }) => id)
  }
  const one = async (priority: Priority, tenant = HARBOR) => (await make(1, priority, tenant))[0]!
  const enqueue = (sql: Sql, id: string) =>
    sql.query(`select private.enqueue($1, jsonb_build_object('id', $2::uuid), now(), $2::text)`, [QUEUE, id])
  const turns = async (): Promise<Record<string, number>> => {
    const { rows } = await queue.pool.query<{ id: string; turn: number }>(
      `select data ->> 'id' as id, -priority as turn from pgboss.job where name = $1 and state < 'active'`,
      [QUEUE],
    )
    return Object.fromEntries(rows.map(({ id, turn }) => [id, turn]))
  }
  const shared = async () => {
    const { rows } = await queue.pool.query<{ turn: number }>(
      `select -priority as turn from pgboss.job where name = $1 and state < 'active' group by group_id, priority having count(*) > 1`,
      [QUEUE],
    )
    return rows
  }
  /** A transaction that stays open until it is told how to end. */
  const begin = async () => {
    const client = await queue.pool.connect()
    await client.query('begin')
    return {
      client,
      end: async (how: 'commit' | 'rollback') => {
        await client.query(how)
        client.release()
      },
    }
  }
  /** Picks the next job as workers do, and keeps the transaction of the pick open. */
  const fetchSlowly = async () => {
    const { client, end } = await begin()
    const { rows } = await client.query<{ id: string }>(
      `update pgboss.job set state = 'active', started_on = now()
       where name = $1 and id = (
         select id from pgboss.job where name = $1 and state < 'active' order by priority desc, created_on limit 1 for update skip locked
       )
       returning data ->> 'id' as id`,
      [QUEUE],
    )
    return { id: rows[0]?.id, end }
  }

  it('come from six at once and are fetched by three: one job a turn, each fetched once, none lost', async () => {
    // However slow the machine is: who queues for the same tenant is waited for.
    await queue.pool.query(`alter function private.wait_for_turns(uuid, text) set lock_timeout = '1min'`)
    await queue.pool.query('update private.queue_limits set max_active_per_tenant = 100 where queue = $1', [QUEUE])
    const all: string[] = []
    const fetched: string[] = []
    const done: string[] = []
    let writing = WRITERS
    let picks = 0
    const write = async (writer: number) => {
      const tenant = writer % 3 === 0 ? MERIDIAN : HARBOR
      const [normal, low] = [await make(EACH / 2, 'normal', tenant), await make(EACH / 2, 'low', tenant)]
      const mine = normal.flatMap((id, index) => [low[index]!, id])
      all.push(...mine)
      for (const [index, id] of mine.entries()) {
        await enqueue(queue.pool, id)
        // Asked for once more, as a sweep does.
        if (index % 3 === 0) await enqueue(queue.pool, mine[Math.max(0, index - 3)]!)
      }
      writing -= 1
    }
    const fetch = async () => {
      while (writing > 0) {
        const [job] = await queue.boss.fetch<{ id: string }>(QUEUE, { groupConcurrency: 100 })
        if (!job) continue
        picks += 1
        // Some are tried again, and so come once more.
        if (picks % 10 === 0) {
          await queue.boss.fail(QUEUE, job.id)
          continue
        }
        fetched.push(job.data.id)
        done.push(job.id)
        await queue.boss.complete(QUEUE, job.id)
      }
    }
    await Promise.all([
      ...Array.from({ length: WRITERS }, (_, writer) => write(writer)),
      ...Array.from({ length: FETCHERS }, fetch),
    ])
    expect(all).toHaveLength(WRITERS * EACH)
    expect(await shared()).toEqual([])
    const waiting = Object.keys(await turns())
    expect(waiting.length).toBeGreaterThan(0)
    expect(new Set(done).size).toBe(done.length)
    // What was asked for once more when it had been fetched waits again.
    expect(new Set([...fetched, ...waiting])).toEqual(new Set(all))
    expect(new Set(waiting).size).toBe(waiting.length)
    // What is left goes in the order of the priorities: no low one of a tenant before a normal one.
    const { rows } = await queue.pool.query<{ group_id: string; group_tier: string | null }>(
      `select group_id, group_tier from pgboss.job where name = $1 and state = 'created' order by priority desc`,
      [QUEUE],
    )
    for (const tenant of [HARBOR, MERIDIAN]) {
      const tiers = rows.filter(({ group_id }) => group_id === tenant).map(({ group_tier }) => group_tier ?? 'normal')
      expect(tiers).toEqual([...tiers].sort().reverse())
    }
  }, 120_000)

  it('a low one that is being fetched is not moved: the next one gives way', async () => {
    const [first, second, third] = await make(3, 'low')
    for (const id of [first!, second!, third!]) await enqueue(queue.pool, id)
    const pick = await fetchSlowly()
    expect(pick.id).toBe(first)
    const normal = await one('normal')
    // Answers although the pick is not over.
    await enqueue(queue.pool, normal)
    expect(await turns()).toMatchObject({ [normal]: 1, [third!]: 2, [second!]: 3 })
    await pick.end('commit')
    expect(await turns()).toEqual({ [normal]: 1, [third!]: 2, [second!]: 3 })
    const taken = await queue.pool.query<{ turn: number; state: string }>(
      `select -priority as turn, state from pgboss.job where data ->> 'id' = $1`,
      [first],
    )
    expect(taken.rows).toEqual([{ turn: 0, state: 'active' }])
  })

  it('one whose fetch is taken back has its turn still', async () => {
    const [first, second] = await make(2, 'low')
    for (const id of [first!, second!]) await enqueue(queue.pool, id)
    const pick = await fetchSlowly()
    const normal = await one('normal')
    await enqueue(queue.pool, normal)
    await pick.end('rollback')
    expect(await turns()).toEqual({ [first!]: 0, [normal]: 1, [second!]: 2 })
    expect(await shared()).toEqual([])
  })

  it('one that is being overtaken is not fetched, and nobody waits for it', async () => {
    const [first, second] = await make(2, 'low')
    for (const id of [first!, second!]) await enqueue(queue.pool, id)
    const writer = await begin()
    const normal = await one('normal')
    await enqueue(writer.client, normal)
    const pick = await fetchSlowly()
    expect(pick.id).toBe(second)
    await pick.end('commit')
    await writer.end('commit')
    expect(await turns()).toEqual({ [normal]: 0, [first!]: 2 })
  })

  it('one that is overtaken while somebody looks at it is not fetched with its new turn', async () => {
    const [first, second] = await make(2, 'low')
    for (const id of [first!, second!]) await enqueue(queue.pool, id)
    const gate = await begin()
    await gate.client.query('select pg_advisory_xact_lock(77)')
    // It has seen the first job, and comes to lock it when it has been overtaken.
    const looking = queue.pool.query<{ id: string; turn: number }>(
      `with gate as materialized (select pg_advisory_xact_lock_shared(77))
       update pgboss.job set state = 'active', started_on = now()
       where name = $1 and id = (
         select job.id from pgboss.job cross join (select from gate) as open where job.name = $1 and job.state < 'active'
         order by job.priority desc, job.created_on limit 1 for update of job skip locked
       )
       returning data ->> 'id' as id, -priority as turn`,
      [QUEUE],
    )
    await eventually(async () => {
      const { rows } = await queue.pool.query(
        `select from pg_locks where locktype = 'advisory' and objid = 77 and not granted`,
      )
      expect(rows).toHaveLength(1)
    })
    const normal = await one('normal')
    await enqueue(queue.pool, normal)
    await gate.end('commit')
    expect((await looking).rows).toEqual([{ id: second, turn: 1 }])
    expect(await turns()).toEqual({ [normal]: 0, [first!]: 2 })
  })

  it('one that is asked for again while it is being fetched goes before low ones like any other', async () => {
    const normal = await one('normal')
    await enqueue(queue.pool, normal)
    const lows = await make(3, 'low')
    for (const id of lows) await enqueue(queue.pool, id)
    const pick = await fetchSlowly()
    expect(pick.id).toBe(normal)
    // Whether it waits already is known when the pick is over.
    const asking = enqueue(queue.pool, normal)
    await eventually(async () => {
      const { rows } = await queue.pool.query(
        `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      )
      expect(rows).toHaveLength(1)
    })
    await pick.end('commit')
    await asking
    expect(await turns()).toEqual({ [normal]: 1, [lows[1]!]: 2, [lows[2]!]: 3, [lows[0]!]: 4 })
  })

  it('who is taken back has moved nothing', async () => {
    const [first, second] = await make(2, 'low')
    for (const id of [first!, second!]) await enqueue(queue.pool, id)
    const writer = await begin()
    await enqueue(writer.client, await one('normal'))
    await writer.end('rollback')
    expect(await turns()).toEqual({ [first!]: 0, [second!]: 1 })
  })

  it('who queues while somebody of the tenant has not committed waits for that, and takes the next turn', async () => {
    await queue.pool.query(`alter function private.wait_for_turns(uuid, text) set lock_timeout = '1min'`)
    const writer = await begin()
    const [first, second] = await make(2, 'normal')
    await enqueue(writer.client, first!)
    let isThrough = false
    const waiting = enqueue(queue.pool, second!).then(() => (isThrough = true))
    // Of another tenant: nobody is waited for.
    const foreign = await one('normal', MERIDIAN)
    await enqueue(queue.pool, foreign)
    expect(isThrough).toBe(false)
    await writer.end('commit')
    await waiting
    expect(await turns()).toEqual({ [first!]: 0, [second!]: 1, [foreign]: 0 })
  })

  it('nobody waits for ever: who holds the turns for long is passed by, and waited for once in a transaction', async () => {
    const writer = await begin()
    const [first, second, third] = await make(3, 'normal')
    await enqueue(writer.client, first!)
    const other = await begin()
    await enqueue(other.client, second!)
    // From here on, who waits once more waits for longer than this test may take.
    await queue.pool.query(`alter function private.wait_for_turns(uuid, text) set lock_timeout = '10min'`)
    await enqueue(other.client, third!)
    await other.end('commit')
    expect(await turns()).toEqual({ [second!]: 0, [third!]: 1 })
    await writer.end('commit')
    expect(Object.keys(await turns()).sort()).toEqual([first!, second!, third!].sort())
  })

  it('nothing else is given up so soon: a document whose row somebody holds is waited for', async () => {
    const id = await one('normal')
    const holder = await begin()
    await holder.client.query('lock table ai.sources in access exclusive mode')
    const queuing = enqueue(queue.pool, id)
    await eventually(async () => {
      const { rows } = await queue.pool.query(
        `select from pg_locks where relation = 'ai.sources'::regclass and not granted and pid <> pg_backend_pid()`,
      )
      expect(rows).toHaveLength(1)
    })
    // As long as turns would be waited for, and more.
    await queue.pool.query('select pg_sleep(0.5)')
    await holder.end('commit')
    await queuing
    expect(Object.keys(await turns())).toEqual([id])
  })
})
