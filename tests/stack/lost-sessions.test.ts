// Sessions that the server ends, as it does when it restarts: who uses one is told, and the next ones are new.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openNative, type NativeDatabase } from '../../local/database/native.ts'
import { NATIVE_URL, noNativeServer } from '../support/prepared-database.ts'
import { WAIT } from '../support/stack.ts'

const POOL_SIZE = 3
const NAME = `lost_sessions_${process.pid}`

describe.skipIf(noNativeServer())('sessions that the server ends', () => {
  let db: NativeDatabase
  let admin: NativeDatabase

  beforeEach(async () => {
    admin = await openNative({ url: NATIVE_URL!, poolSize: 1 })
    await admin.query(`drop database if exists ${NAME} with (force)`)
    await admin.query(`create database ${NAME}`)
    const url = new URL(NATIVE_URL!)
    url.pathname = `/${NAME}`
    db = await openNative({ url: url.href, poolSize: POOL_SIZE })
  })
  afterEach(async () => {
    await db.close()
    await admin.query(`drop database ${NAME}`)
    await admin.close()
  })

  /** Ends all sessions of `db`; resolves when the server has none left, and a moment later, when the driver has heard of it. */
  const endAll = async () => {
    await admin.query(`select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '${NAME}'`)
    await sleep(50)
  }
  const answer = async () => (await db.query<{ x: number }>('select 1 as x'))[0]?.x

  it('a transaction that pauses meanwhile fails, and nothing of it goes on', async () => {
    await db.exec('create table things (id int)')
    const broken = db.transaction(async (tx) => {
      await tx.query('insert into things values (1)')
      await endAll()
      await tx.query('insert into things values (2)')
    })
    await expect(broken).rejects.toThrow()
    expect(await db.query('select id from things')).toEqual([])
  })

  it('a statement that is under way fails', async () => {
    const sleeping = expect(db.query('select pg_sleep(60)')).rejects.toThrow()
    await expect
      .poll(
        () => admin.query(`select from pg_stat_activity where datname = '${NAME}' and wait_event = 'PgSleep'`),
        WAIT,
      )
      .toHaveLength(1)
    await endAll()
    await sleeping
    expect(await answer()).toBe(1)
  })

  it('idle ones are not given to anybody', async () => {
    await Promise.all(Array.from({ length: POOL_SIZE }, answer))
    await endAll()
    expect(await Promise.all(Array.from({ length: 2 * POOL_SIZE }, answer))).toEqual(Array(2 * POOL_SIZE).fill(1))
  })

  it('who waits for a session gets a new one', async () => {
    const leased = await Promise.all(Array.from({ length: POOL_SIZE }, () => db.lease()))
    await Promise.all(leased.map((session) => session.exec('begin')))
    const waiting = answer()
    await endAll()
    expect(await waiting).toBe(1)
    await expect(leased[0]!.run('select 1')).rejects.toThrow()
    for (const session of leased) await session.release()
    expect(await Promise.all(Array.from({ length: 2 * POOL_SIZE }, answer))).toEqual(Array(2 * POOL_SIZE).fill(1))
    expect(await admin.query(`select from pg_stat_activity where datname = '${NAME}'`)).toHaveLength(POOL_SIZE)
  })

  it('what was listened to is listened to again', async () => {
    const heard: string[] = []
    const stop = await db.listen('news', (payload) => void heard.push(payload))
    await endAll()
    await expect
      .poll(async () => {
        await db.query(`select pg_notify('news', 'again')`)
        return heard.length
      }, WAIT)
      .toBeGreaterThan(0)
    expect(new Set(heard)).toEqual(new Set(['again']))
    await stop()
    const before = heard.length
    await db.query(`select pg_notify('news', 'later')`)
    await answer()
    expect(heard.slice(before)).not.toContain('later')
  })

  it('the end waits for who still works', async () => {
    const session = await db.lease()
    const ended = db.close()
    await expect(answer()).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' })
    expect((await session.run('select 2 as x')).rows).toEqual([{ x: 2 }])
    await session.release()
    await ended
  })
})
