import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { SessionLock } from '../../local/database/session-lock.ts'
import { openNative } from '../../local/database/native.ts'
import { ALICE, FIXTURE_PROJECT } from '../support/stack-project.ts'
import { onNative, useStack, WAIT } from '../support/stack.ts'

const stack = useStack({ projectDir: FIXTURE_PROJECT })

describe('the session lock', () => {
  test('lets one run at a time, in order of asking', async () => {
    const lock = new SessionLock()
    const order: string[] = []
    const job = (name: string, ms: number) =>
      lock.run(async () => {
        order.push(`${name} begins`)
        await sleep(ms)
        order.push(`${name} ends`)
      })
    await Promise.all([job('a', 20), job('b', 1), job('c', 5)])
    expect(order).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
  })

  test('is held by the context that runs, goes through calls, and ends with it', async () => {
    const lock = new SessionLock()
    let later: Promise<boolean> | undefined
    const inner = await lock.run(async () => {
      later = sleep(10).then(() => lock.held)
      return lock.run(async () => lock.held)
    })
    expect(inner).toBe(true)
    expect(lock.held).toBe(false)
    expect(await later).toBe(false) // what was begun inside but goes on afterwards does not hold it
  })

  test('is not held in detached callbacks, and survives a failure', async () => {
    const lock = new SessionLock()
    await expect(
      lock.run(async () => {
        expect(lock.detached(() => lock.held)).toBe(false)
        throw new Error('inside')
      }),
    ).rejects.toThrow('inside')
    expect(await lock.run(async () => 'next')).toBe('next')
  })

  test('release counts once', async () => {
    const lock = new SessionLock()
    const first = await lock.acquire()
    const second = lock.acquire()
    first()
    const release = await second
    first() // must not give the second holder's turn away
    const third = lock.acquire()
    expect(await Promise.race([third.then(() => 'got it'), sleep(20, 'waits')])).toBe('waits')
    release()
    ;(await third)()
  })
})

describe('values', () => {
  test('have the same shape on both engines', async () => {
    const [row] = await stack.db.query(
      `select 1::int8 as small, 9007199254740993::int8 as big, 1.10::numeric as price, '12345678901234567890.1'::numeric as exact,
         '2026-01-02 03:04:05.678901+00'::timestamptz as at, 'infinity'::timestamptz as never, '2026-01-02'::date as day,
         '{"a":[1]}'::jsonb as json, '\\x00ff'::bytea as bytes, array[1,2]::int8[] as list, true as flag, null as nothing,
         '[1,2]'::extensions.vector as vector, 0.1::float8 as float`,
    )
    expect(row).toEqual({
      small: 1,
      big: '9007199254740993',
      price: 1.1,
      exact: '12345678901234567890.1',
      at: '2026-01-02T03:04:05.678901+00:00',
      never: 'infinity',
      day: '2026-01-02',
      json: { a: [1] },
      bytes: expect.anything(),
      list: [1, 2],
      flag: true,
      nothing: null,
      vector: '[1,2]',
      float: 0.1,
    })
    expect([...(row?.['bytes'] as Uint8Array)]).toEqual([0, 255])
  })

  test('are accepted as parameters alike', async () => {
    const [row] = await stack.db.query(
      `select $1::jsonb as json, $2::text[] as list, $3::timestamptz as at, $4::extensions.vector as vector, $5::int as n, $6::uuid as id`,
      [JSON.stringify([{ a: 1 }]), ['x', 'y"z'], new Date(0), [1, 2], 3, null],
    )
    expect(row).toEqual({
      json: [{ a: 1 }],
      list: ['x', 'y"z'],
      at: '1970-01-01T00:00:00+00:00',
      vector: '[1,2]',
      n: 3,
      id: null,
    })
  })
})

describe('transactions', () => {
  const count = async () => (await stack.db.query('select count(*)::int as n from public.attempts'))[0]?.['n']

  test('commit together or not at all', async () => {
    const before = Number(await count())
    await stack.db.transaction(async (tx) => {
      await tx.query('insert into public.attempts default values')
      await tx.query('insert into public.attempts default values')
    })
    expect(await count()).toBe(before + 2)
    await expect(
      stack.db.transaction(async (tx) => {
        await tx.query('insert into public.attempts default values')
        throw new Error('changed my mind')
      }),
    ).rejects.toThrow('changed my mind')
    expect(await count()).toBe(before + 2)
  })

  test('refuse the database inside and the transaction outside', async () => {
    let kept: { query: (text: string) => Promise<unknown> } | undefined
    await stack.db.transaction(async (tx) => {
      kept = tx
      await expect(stack.db.query('select 1')).rejects.toThrow('inside an open transaction')
      await expect(stack.db.transaction(async () => {})).rejects.toThrow('inside an open transaction')
    })
    await expect(kept!.query('select 1')).rejects.toThrow('has ended')
  })

  test('give errors with code, detail and hint', async () => {
    const error = await stack.db
      .query(`insert into public.notes (owner_id, body) values ('${ALICE.id}', 'alice one')`)
      .catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: '23505', detail: expect.stringContaining('alice one') })
  })

  test.each([
    ['as it is parsed', 'selec 1', [], '42601'],
    ['as its names are looked up', 'select $1::int from nowhere', [1], '42P01'],
    ['as its parameters are read', 'select $1::int', ['one'], '22P02'],
    ['for want of a parameter', 'select $1::int + $2::int', [1], '08P01'],
    ['as it runs', 'select 1 / $1::int', [0], '22012'],
  ])('fail %s, and the session goes on, in a transaction and outside', async (_when, text, params, code) => {
    const works = async () => expect(await stack.db.query('select $1::int as n', [7])).toEqual([{ n: 7 }])
    await expect(stack.db.query(text, params)).rejects.toMatchObject({ code })
    await works()
    const before = Number(await count())
    await expect(
      stack.db.transaction(async (tx) => {
        await tx.query('insert into public.attempts default values')
        await expect(tx.query(text, params)).rejects.toMatchObject({ code })
        await tx.query('select 1')
      }),
    ).rejects.toMatchObject({ code: '25P02' })
    await works()
    expect(await count()).toBe(before)
  })

  test('of a script that fails are rolled back, and the session goes on', async () => {
    const before = Number(await count())
    const script = 'begin; insert into public.attempts default values; select 1 / 0; commit'
    await expect(stack.db.exec(script)).rejects.toMatchObject({ code: '22012' })
    expect(await count()).toBe(before)
    await stack.db.exec('insert into public.attempts default values; insert into public.attempts default values')
    expect(await count()).toBe(before + 2)
  })

  test('as a caller refuse a role that is no name', async () => {
    const as = (role: string) =>
      stack.db.asCaller({ role, claims: {} }, (tx) => tx.query('select current_user as role'))
    expect(await as('anon')).toEqual([{ role: 'anon' }])
    await expect(as('anon"; reset role; --')).rejects.toThrow('Not a role name')
  })

  test('as a caller carry claims, headers and settings, and lose them with their end', async () => {
    const caller = {
      role: 'authenticated',
      claims: { sub: ALICE.id, email: ALICE.email, role: 'authenticated' },
      headers: { 'x-tenant-id': 't' },
      settings: { 'storage.operation': 'storage.object.list' },
    }
    const state = `select current_user as role, auth.uid() as uid, auth.email() as email, auth.jwt() ->> 'sub' as sub,
      nullif(current_setting('request.headers', true), '')::jsonb ->> 'x-tenant-id' as header,
      nullif(storage.operation(), '') as operation`
    expect(await stack.db.asCaller(caller, (tx) => tx.query(state))).toEqual([
      {
        role: 'authenticated',
        uid: ALICE.id,
        email: ALICE.email,
        sub: ALICE.id,
        header: 't',
        operation: 'storage.object.list',
      },
    ])
    const owner = [{ role: 'postgres', uid: null, email: null, sub: null, header: null, operation: null }]
    expect(await stack.db.query(state)).toEqual(owner)
  })

  test('exec puts the session back, also after half a transaction', async () => {
    await stack.db.exec(`set search_path to pg_catalog; set role anon`)
    await expect(stack.db.exec('begin; select 1 / 0; commit')).rejects.toMatchObject({ code: '22012' })
    const settings = await stack.db.query(
      `select current_user as role, current_setting('search_path') as path, current_setting('TimeZone') as zone`,
    )
    expect(settings).toEqual([{ role: 'postgres', path: '"$user", public, extensions', zone: 'UTC' }])
  })
})

describe('notifications', () => {
  test('reach every listener, outside of any transaction, in order; not after it has stopped; not when rolled back', async () => {
    const heard: string[] = []
    const held: unknown[] = []
    const stopA = await stack.db.listen('some channel', (payload) => {
      heard.push(`a ${payload}`)
      held.push(stack.db.query('select 1')) // would throw inside of somebody's transaction
    })
    const stopB = await stack.db.listen('some channel', (payload) => heard.push(`b ${payload}`))
    await stack.db.transaction(async (tx) => {
      await tx.query(`select pg_notify('some channel', '1')`)
      await tx.query(`select pg_notify('some channel', '2')`)
    })
    await stack.db
      .transaction(async (tx) => {
        await tx.query(`select pg_notify('some channel', 'never')`)
        throw new Error('no')
      })
      .catch(() => {})
    await expect.poll(() => heard.filter((line) => line.startsWith('a')), WAIT).toEqual(['a 1', 'a 2'])
    expect(heard.filter((line) => line.startsWith('b'))).toEqual(['b 1', 'b 2'])
    await Promise.all(held)
    await stopA()
    await stack.db.query(`select pg_notify('some channel', '3')`)
    await expect.poll(() => heard.at(-1), WAIT).toBe('b 3')
    await stopB()
    await stack.db.query(`select pg_notify('some channel', '4')`)
    await sleep(50)
    expect(heard).toEqual(expect.not.arrayContaining(['a 3', 'a 4', 'b 4', 'a never']))
  })
})

test('the platform roles and their rights are those of Supabase', async () => {
  const roles = await stack.db.query(
    `select rolname as name, rolsuper as super, rolbypassrls as bypass, rolcanlogin as login from pg_roles
     where rolname in ('anon', 'authenticated', 'service_role', 'authenticator', 'supabase_auth_admin') order by 1`,
  )
  expect(roles).toEqual([
    { name: 'anon', super: false, bypass: false, login: false },
    { name: 'authenticated', super: false, bypass: false, login: false },
    { name: 'authenticator', super: false, bypass: false, login: true },
    { name: 'service_role', super: false, bypass: true, login: false },
    { name: 'supabase_auth_admin', super: false, bypass: false, login: true },
  ])
  const may = (role: string, sql: string) =>
    stack.db
      .asCaller({ role, claims: {} }, (tx) => tx.query(sql))
      .then(
        () => true,
        (error: { code: string }) => error.code,
      )
  for (const role of ['anon', 'authenticated', 'service_role']) {
    expect(await may(role, 'select from auth.users')).toBe('42501')
    expect(await may(role, 'select from supabase_migrations.schema_migrations')).toBe('42501')
    expect(await may(role, 'select from storage.objects')).toBe(true)
    expect(await may(role, 'create table public.x ()')).toBe('42501')
  }
  expect(await may('anon', `select vault.create_secret('x')`)).toBe('42501')
  expect(await may('authenticated', 'select from vault.decrypted_secrets')).toBe('42501')
  expect(await may('service_role', 'select from vault.decrypted_secrets')).toBe(true)
})

if (!onNative) console.info('Left out: what only a native server has. Set TEST_DATABASE_URL to run it.')

describe.runIf(onNative)('a native server', () => {
  const url = process.env['TEST_DATABASE_URL'] ?? ''

  test('that is not there is named, without its password', async () => {
    const error = await openNative({ url: 'postgresql://postgres:hidden@127.0.0.1:1/postgres', waitMs: 300 }).catch(
      (e: Error) => e,
    )
    expect(error).toBeInstanceOf(Error)
    expect((error as Error).message).toMatch(/127\.0\.0\.1:1.*running and reachable/)
    expect((error as Error).message).not.toContain('hidden')
  })

  test('whose user may not create roles is refused', async () => {
    await stack.db.exec(`drop role if exists bulkhead_test_plain; create role bulkhead_test_plain login password 'x'`)
    const plain = new URL(url)
    plain.username = 'bulkhead_test_plain'
    plain.password = 'x'
    await expect(openNative({ url: plain.toString(), waitMs: 300 })).rejects.toThrow('superuser')
    await stack.db.exec('drop role bulkhead_test_plain')
  })
})
