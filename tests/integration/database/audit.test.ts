// The audit log as it is after real commits: gapless whoever writes at the same time, and to be checked by a stranger who has
// nothing but the rows.
import { describe, expect, it } from 'vitest'
import type { DbCaller, SessionDatabase, Sql } from '../../../local/database/database.ts'
import { type AuditRow, hashOf } from '../../support/audit-hash.ts'
import { NATIVE_URL, noNativeServer, usePreparedDatabase } from '../../support/prepared-database.ts'

const HARBOR = '11111111-1111-4111-8111-111111111111'
const MERIDIAN = '22222222-2222-4222-8222-222222222222'
const ADMIN = 'a0000000-0000-4000-8000-000000000002'
const MERIDIAN_OWNER = 'b0000000-0000-4000-8000-000000000001'

const person = (sub: string): DbCaller => ({ role: 'authenticated', claims: { sub, role: 'authenticated' } })
const SERVICE: DbCaller = { role: 'service_role', claims: { role: 'service_role' } }

/** The rows of a tenant as the Data API gives them to an export. */
async function exported(db: SessionDatabase, tenant: string): Promise<AuditRow[]> {
  const [row] = await db.asCaller(SERVICE, (tx) =>
    tx.query<{ rows: AuditRow[] }>(
      `select coalesce(json_agg(e order by e.seq), '[]') as rows from ai.audit_events as e where e.tenant_id = $1`,
      [tenant],
    ),
  )
  return row?.rows ?? []
}

async function verified(db: SessionDatabase, tenant: string): Promise<Record<string, unknown>> {
  const [row] = await db.asCaller(SERVICE, (tx) =>
    tx.query<{ result: Record<string, unknown> }>('select ai.verify_audit($1) as result', [tenant]),
  )
  return row?.result ?? {}
}

const addGroup = (tx: Sql, tenant: string, name: string) =>
  tx.query('insert into public.groups (tenant_id, name) values ($1, $2)', [tenant, name])

describe('the audit log', () => {
  const world = usePreparedDatabase()

  it('X06: a stranger computes every hash anew from the exported rows alone', async () => {
    await world.db.asCaller(person(ADMIN), async (tx) => {
      await addGroup(tx, HARBOR, 'Größe "quoted" \\ and\ttabs')
      await tx.query(`update ai.agents set name = 'renamed' where tenant_id = $1`, [HARBOR])
    })
    // Everything a text may hold, in a detail of its own.
    await world.db.query(`select private.record_audit($1, 'test.written', 'test', $2, $3)`, [
      HARBOR,
      'Ünïcode \u2028 😀 \u007f "\\/\b\f\n\r\t\u0001',
      JSON.stringify({ bb: [1, -2, true, null, {}], a: { ü: 1, z: 1, aa: 'é' }, c: 12345678901 }),
    ])
    const rows = await exported(world.db, HARBOR)
    expect(rows.at(-1)).toMatchObject({ action: 'test.written', actor_id: null, act: { sub: 'system' } })
    expect(rows.length).toBeGreaterThan(10)
    expect(rows[0]?.prev_hash).toBe('0'.repeat(64))
    rows.forEach((row, index) => {
      expect(row.seq).toBe(index + 1)
      expect(hashOf(row), `row ${row.seq}`).toBe(row.hash)
      if (index > 0) expect(row.prev_hash).toBe(rows[index - 1]?.hash)
    })
    expect(await verified(world.db, HARBOR)).toMatchObject({
      ok: true,
      checked: rows.length,
      head_hash: rows.at(-1)?.hash,
    })
  })

  it('what is rolled back leaves neither a row nor a gap', async () => {
    const before = (await exported(world.db, HARBOR)).length
    await expect(
      world.db.asCaller(person(ADMIN), async (tx) => {
        await addGroup(tx, HARBOR, 'never')
        throw new Error('undo')
      }),
    ).rejects.toThrow('undo')
    await world.db.asCaller(person(ADMIN), async (tx) => {
      await tx.query('savepoint here')
      await addGroup(tx, HARBOR, 'not this one')
      await tx.query('rollback to here')
      await addGroup(tx, HARBOR, 'this one')
    })
    const rows = await exported(world.db, HARBOR)
    expect(rows.map((row) => row.seq)).toEqual(rows.map((_, index) => index + 1))
    expect(rows.slice(before).map((row) => row.action)).toEqual(['group.created'])
    expect(await world.db.query('select from private.audit_pending')).toEqual([])
  })

  it('many rows of one statement move the head of the chain once', async () => {
    const moves = async (tx: Sql) => {
      const [row] = await tx.query<{ count: number }>(
        `select pg_stat_get_xact_tuples_updated('private.audit_heads'::regclass)::int as count`,
      )
      return row?.count ?? 0
    }
    await world.db.transaction(async (tx) => {
      const before = await moves(tx)
      await tx.query(
        `insert into public.groups (tenant_id, name) select $1, 'bulk ' || i from generate_series(1, 500) as i`,
        [HARBOR],
      )
      await tx.query('set constraints all immediate')
      expect((await moves(tx)) - before).toBe(1)
    })
    expect((await exported(world.db, HARBOR)).slice(-500).every((row) => row.action === 'group.created')).toBe(true)
  })

  it('the log of a deleted tenant stays, ends with that, and fits', async () => {
    const before = (await exported(world.db, MERIDIAN)).length
    await world.db.asCaller(person(MERIDIAN_OWNER), (tx) =>
      tx.query('delete from public.tenants where id = $1', [MERIDIAN]),
    )
    const rows = await exported(world.db, MERIDIAN)
    expect(rows.slice(before)).toMatchObject([
      { action: 'tenant.deleted', actor_id: MERIDIAN_OWNER, subject_id: MERIDIAN },
    ])
    expect(await verified(world.db, MERIDIAN)).toMatchObject({ ok: true, checked: rows.length })
  })
})

describe.skipIf(noNativeServer())('the audit log with many writers at once', () => {
  const world = usePreparedDatabase(NATIVE_URL)

  it('X06: keeps one gapless chain per tenant', async () => {
    const before = { a: (await exported(world.db, HARBOR)).length, b: (await exported(world.db, MERIDIAN)).length }
    const writers = Array.from({ length: 6 }, async (_, writer) => {
      for (let i = 0; i < 25; i += 1) {
        await world.db
          .transaction(async (tx) => {
            // Both tenants in one transaction, begun from either side: nobody waits for anybody in a circle.
            const tenants = (writer + i) % 2 === 0 ? [HARBOR, MERIDIAN] : [MERIDIAN, HARBOR]
            for (const tenant of tenants) {
              await addGroup(tx, tenant, `of ${writer}, ${i}`)
              await tx.query('update public.groups set name = name || $3 where tenant_id = $1 and name = $2', [
                tenant,
                `of ${writer}, ${i}`,
                '!',
              ])
            }
            if (i % 5 === 4) throw new Error('undo')
          })
          .catch((error: Error) => {
            if (error.message !== 'undo') throw error
          })
      }
    })
    await Promise.all(writers)
    for (const [tenant, count] of [
      [HARBOR, before.a],
      [MERIDIAN, before.b],
    ] as const) {
      const rows = await exported(world.db, tenant)
      expect(rows.length - count).toBe(6 * 20 * 2)
      expect(rows.map((row) => row.seq)).toEqual(rows.map((_, index) => index + 1))
      expect(rows.every((row, index) => row.prev_hash === (rows[index - 1]?.hash ?? '0'.repeat(64)))).toBe(true)
      expect(rows.every((row) => hashOf(row) === row.hash)).toBe(true)
      expect(await verified(world.db, tenant)).toMatchObject({ ok: true, checked: rows.length, clock: { skewed: 0 } })
    }
  })

  it('an open transaction that has changed something holds up nobody', async () => {
    let finish = () => {}
    const finished = new Promise<void>((resolve) => (finish = resolve))
    let begun = () => {}
    const isBegun = new Promise<void>((resolve) => (begun = resolve))
    const slow = world.db.transaction(async (tx) => {
      await addGroup(tx, HARBOR, 'slow')
      begun()
      await finished
    })
    await isBegun
    // Would wait for the slow one, which waits for it, if the chain were locked by the insert.
    await world.db.transaction((tx) => addGroup(tx, HARBOR, 'quick'))
    const [quick] = (await exported(world.db, HARBOR)).slice(-1)
    finish()
    await slow
    const [last] = (await exported(world.db, HARBOR)).slice(-1)
    expect(last?.seq).toBe(Number(quick?.seq) + 1)
    expect(await verified(world.db, HARBOR)).toMatchObject({ ok: true, clock: { skewed: 0 } })
  })

  it('two transactions that change the same rows in turn do not lock each other out through the log', async () => {
    await world.db.query(
      `insert into public.groups (tenant_id, name) select $1, 'turn ' || i from generate_series(1, 2) as i`,
      [HARBOR],
    )
    const rename = (suffix: string) =>
      world.db.transaction(async (tx) => {
        for (const name of ['turn 1', 'turn 2']) {
          await tx.query('update public.groups set name = name || $3 where tenant_id = $1 and starts_with(name, $2)', [
            HARBOR,
            name,
            suffix,
          ])
        }
      })
    await Promise.all(['a', 'b', 'c', 'd'].map(rename))
    expect(await verified(world.db, HARBOR)).toMatchObject({ ok: true })
  })
})
