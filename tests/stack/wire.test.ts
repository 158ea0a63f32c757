import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import postgres from 'postgres'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { ALICE, FIXTURE_PROJECT } from '../support/stack-project.ts'
import { onNative, useStack, WAIT } from '../support/stack.ts'

const IDLE_MS = 30_000
const stack = useStack({ projectDir: FIXTURE_PROJECT, idleInTransactionMs: IDLE_MS })

const open: pg.Client[] = []
const connect = async (more: object = {}) => {
  const client = new pg.Client({ connectionString: stack.dbUrl, ...more })
  client.on('error', () => {}) // tests look at the queries
  await client.connect()
  open.push(client)
  return client
}
/** From here to the end of the test no time passes for the port, except what the test says. */
const holdTime = () => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
/** What a promise brings, and whether it has done so. */
const watch = <T>(promise: Promise<T>) => {
  const watched = { promise, isSettled: false }
  const settle = () => void (watched.isSettled = true)
  promise.then(settle, settle)
  return watched
}
afterEach(async () => {
  vi.useRealTimers()
  await Promise.all(open.splice(0).map((client) => client.end().catch(() => {})))
})

if (onNative)
  console.log('wire.test.ts: only PGlite has a wire port; on a native server clients use the server itself.')

describe.skipIf(onNative)('statements', () => {
  test('400 with parameters, interleaved over four connections of two drivers: none gets the answer of another', async () => {
    const clients = await Promise.all([connect(), connect()])
    const sql = postgres(stack.dbUrl, { max: 2 })
    const answers = await Promise.all(
      Array.from({ length: 400 }, async (_, n) => {
        if (n % 2 === 0)
          return (await clients[(n / 2) % 2]!.query('select $1::int as n, $2::text as t', [n, `t${n}`])).rows[0]
        return (await sql`select ${n}::int as n, ${`t${n}`}::text as t`)[0]
      }),
    )
    expect(answers).toEqual(Array.from({ length: 400 }, (_, n) => ({ n, t: `t${n}` })))
    await sql.end()
  })

  test('prepared under one name by two connections stay apart; DEALLOCATE ALL of one leaves those of the other', async () => {
    const [a, b] = await Promise.all([connect(), connect()])
    const runA = () => a.query({ name: 'same', text: `select 'a' as who, $1::int as n`, values: [1] })
    const runB = () => b.query({ name: 'same', text: `select 'b' as who, $1::text as t`, values: ['x'] })
    expect([(await runA()).rows, (await runB()).rows]).toEqual([[{ who: 'a', n: 1 }], [{ who: 'b', t: 'x' }]])
    expect([(await runA()).rows, (await runB()).rows]).toEqual([[{ who: 'a', n: 1 }], [{ who: 'b', t: 'x' }]])
    await a.query('deallocate all')
    expect((await runB()).rows).toEqual([{ who: 'b', t: 'x' }])
    await b.query('discard all')
    await b.end()
    const [left] = await stack.db.query(`select count(*)::int as n from pg_prepared_statements where name like 'wire%'`)
    expect(left).toEqual({ n: 0 })
  })

  test('that fail leave the connection usable, also in the extended protocol and in pipelines', async () => {
    const client = await connect()
    await expect(client.query('select nothing')).rejects.toMatchObject({ code: '42703' })
    await expect(client.query('select $1::int', ['x'])).rejects.toMatchObject({ code: '22P02' })
    const pipelined = await Promise.allSettled([
      client.query('select 1 as n'),
      client.query('select 1 / $1::int', [0]),
      client.query('select 3 as n'),
    ])
    expect(pipelined.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    const several = await client.query('select 1 as a; select 2 as b')
    expect((several as unknown as pg.QueryResult[]).map(({ rows }) => rows[0])).toEqual([{ a: 1 }, { b: 2 }])
  })

  test('with large parameters and results pass', async () => {
    const client = await connect()
    const text = 'x'.repeat(3_000_000)
    const { rows } = await client.query(`select $1::text as t, repeat('y', 3000000) as u`, [text])
    expect([rows[0].t.length, rows[0].u.length]).toEqual([3_000_000, 3_000_000])
  })
})

describe.skipIf(onNative)('a transaction', () => {
  test('is seen by nobody before it commits: not by other connections, not over HTTP, not in process', async () => {
    const [a, b] = await Promise.all([connect(), connect()])
    await a.query('begin')
    await a.query(`insert into ai.things values (100, 'uncommitted')`)
    const find = 'select name from ai.things where id = 100'
    const others = Promise.all([
      b.query(find).then(({ rows }) => rows),
      stack.db.query(find),
      stack.service
        .schema('ai')
        .from('things')
        .select('name')
        .eq('id', 100)
        .then(({ data }) => data ?? 'no right'),
    ])
    await sleep(100)
    await a.query('rollback')
    expect((await others).slice(0, 2)).toEqual([[], []])
  })

  test('that failed says so until it is rolled back', async () => {
    const client = await connect()
    await client.query('begin')
    await expect(client.query('select 1 / 0')).rejects.toMatchObject({ code: '22012' })
    await expect(client.query('select 1')).rejects.toMatchObject({ code: '25P02' })
    await client.query('rollback')
    expect((await client.query('select 1 as n')).rows).toEqual([{ n: 1 }])
  })

  test('left idle is ended with 25P03, rolled back, and the others go on', async () => {
    holdTime()
    const client = await connect()
    const ended = new Promise((resolve) => client.on('error', resolve))
    await client.query('begin')
    await client.query(`insert into ai.things values (101, 'idle')`)
    const other = watch(stack.db.query('select from ai.things where id = 101'))
    vi.advanceTimersByTime(IDLE_MS - 1)
    await client.query('select 1') // there and back, while the other waits
    expect(other.isSettled).toBe(false)
    vi.advanceTimersByTime(IDLE_MS)
    expect(await ended).toMatchObject({ code: '25P03' })
    expect(await other.promise).toEqual([])
  })

  test('in use is not ended, however long it takes', async () => {
    holdTime()
    const client = await connect()
    await client.query('begin')
    for (let i = 0; i < 4; i++) {
      vi.advanceTimersByTime(IDLE_MS - 1)
      await client.query('select 1')
    }
    await client.query('commit')
  })

  test('of a client that is gone is rolled back at once', async () => {
    holdTime() // so that nothing else can end it
    const client = await connect()
    await client.query('begin')
    await client.query(`insert into ai.things values (102, 'gone')`)
    ;(client as unknown as { connection: { stream: net.Socket } }).connection.stream.destroy()
    expect(await stack.db.query('select from ai.things where id = 102')).toEqual([])
  })
})

describe.skipIf(onNative)('the session', () => {
  test('of one connection is not that of another, of HTTP or of the process, and is there again at its next turn', async () => {
    const [a, b] = await Promise.all([connect(), connect()])
    await a.query(`set search_path to ai; set statement_timeout to '7s'; set role authenticated`)
    await a.query(`select set_config('app.mine', 'a', false)`)
    const look = `select current_user as role, current_setting('search_path') as path, current_setting('statement_timeout') as timeout`
    const clean = { role: 'postgres', path: '"$user", public, extensions', timeout: '0' }
    expect((await b.query(look)).rows).toEqual([clean])
    expect(await stack.db.query(look)).toEqual([clean])
    expect((await stack.anon.rpc('whoami')).data.user).toBe('anon')
    expect((await a.query(`${look}, current_setting('app.mine', true) as mine`)).rows).toEqual([
      { role: 'authenticated', path: 'ai', timeout: '7s', mine: 'a' },
    ])
    await a.query('reset role; reset all')
    expect((await a.query(look)).rows).toEqual([clean])
  })

  test.each([
    'set search_path to ai',
    '-- first a word\nset search_path to ai',
    '/* first a word */ set search_path to ai',
    'select 1;\n  set search_path to ai',
    'begin; set local statement_timeout = 5; set search_path to ai; commit',
    `do $$ begin set search_path to ai; end $$`,
    `select set_config('search_path', 'ai', false)`,
  ])('is that of its connection after: %j', async (sql) => {
    const [client, other] = await Promise.all([connect(), connect()])
    await client.query(sql)
    const look = `select current_setting('search_path') as path`
    expect((await other.query(look)).rows).toEqual([{ path: '"$user", public, extensions' }])
    expect((await client.query(look)).rows).toEqual([{ path: 'ai' }])
  })

  test('takes settings from the start packet', async () => {
    const client = await connect({ options: '-c search_path=ai -c app.started=yes' })
    const { rows } = await client.query(
      `select name, current_setting('app.started') as started from things where id = 1`,
    )
    expect(rows).toEqual([{ name: 'one', started: 'yes' }])
  })
})

describe.skipIf(onNative)('LISTEN', () => {
  const listen = async (channel: string) => {
    const client = await connect()
    const heard: string[] = []
    client.on('notification', ({ payload = '' }) => heard.push(payload))
    await client.query(`listen ${channel}`)
    return { client, heard }
  }

  test('hears NOTIFY of other connections, of the process and of triggers behind HTTP, and of no other channel', async () => {
    const a = await listen('wire_a')
    const b = await listen('"wire B"')
    const other = await connect()
    await other.query(`notify wire_a, 'from a connection'`)
    await stack.db.query(`select pg_notify('wire_a', 'from the process'), pg_notify('wire B', 'quoted')`)
    await expect.poll(() => a.heard, WAIT).toEqual(['from a connection', 'from the process'])
    await expect.poll(() => b.heard, WAIT).toEqual(['quoted'])
  })

  test('of one ends without silencing the others', async () => {
    const [a, b] = await Promise.all([listen('wire_c'), listen('wire_c')])
    const inProcess: string[] = []
    const stop = await stack.db.listen('wire_c', (payload) => inProcess.push(payload))
    await a.client.query('unlisten *')
    await stack.db.query(`select pg_notify('wire_c', '1')`)
    await expect.poll(() => [b.heard, inProcess], WAIT).toEqual([['1'], ['1']])
    await b.client.end()
    await stack.db.query(`select pg_notify('wire_c', '2')`)
    await expect.poll(() => inProcess, WAIT).toEqual(['1', '2'])
    expect([a.heard, b.heard]).toEqual([[], ['1']])
    await stop()
  })

  test('works with the postgres driver', async () => {
    const sql = postgres(stack.dbUrl, { max: 1 })
    const heard: string[] = []
    await sql.listen('wire_d', (payload) => heard.push(payload))
    await stack.db.query(`select pg_notify('wire_d', 'hello')`)
    await expect.poll(() => heard, WAIT).toEqual(['hello'])
    await sql.end()
  })
})

/** A COPY FROM STDIN for the pg driver, which has none of its own. */
const copyIn = (client: pg.Client, sql: string, data: string) =>
  new Promise<void>((resolve, reject) => {
    client.query({
      submit: (connection: { query(text: string): void }) => connection.query(sql),
      handleCopyInResponse(connection: { sendCopyFromChunk(data: Buffer): void; endCopyFrom(): void }) {
        connection.sendCopyFromChunk(Buffer.from(data))
        connection.endCopyFrom()
      },
      handleCommandComplete: () => {},
      handleError: (error: Error) => reject(error),
      handleReadyForQuery: () => resolve(),
    } as never)
  })

describe.skipIf(onNative)('COPY', () => {
  test('in and out, and a failing one leaves connection, transaction and server as Postgres does', async () => {
    const client = await connect()
    await client.query('create table public.copied (id int primary key, t text)')
    const count = async () => (await client.query('select count(*)::int as n from public.copied')).rows[0].n
    await copyIn(client, 'copy public.copied from stdin', '1\tone\n2\t\\N\n')
    await copyIn(client, 'COPY public.copied (id, t) FROM STDIN WITH (FORMAT csv);', '3,"a, b"\n')
    expect((await client.query('select * from public.copied order by id')).rows).toEqual([
      { id: 1, t: 'one' },
      { id: 2, t: null },
      { id: 3, t: 'a, b' },
    ])
    const sql = postgres(stack.dbUrl, { max: 1 })
    const out: string[] = []
    for await (const chunk of await sql`copy public.copied to stdout`.readable()) out.push(String(chunk))
    expect(out.join('')).toBe('1\tone\n2\t\\N\n3\ta, b\n')
    await sql.end()

    await expect(copyIn(client, 'copy public.copied from stdin', '1\ttwice\n')).rejects.toMatchObject({ code: '23505' })
    await expect(client.query('copy public.copied from stdin')).rejects.toMatchObject({ code: '57014' }) // the driver gives up
    expect(await count()).toBe(3)
    await client.query('begin')
    await expect(copyIn(client, 'copy public.copied from stdin', 'no number\n')).rejects.toMatchObject({
      code: '22P02',
    })
    await expect(client.query('select 1')).rejects.toMatchObject({ code: '25P02' })
    await client.query('rollback')
    // These would end the backend of PGlite.
    for (const sql of ['select 1; copy public.copied from stdin', '/* c */ copy public.copied from stdin; select 1']) {
      await expect(client.query(sql)).rejects.toMatchObject({ code: '0A000' })
    }
    await expect(client.query({ name: 'p', text: 'copy public.copied from stdin' })).rejects.toMatchObject({
      code: '0A000',
    })
    expect((await client.query(`select 'copy it; from stdin' as text`)).rows).toEqual([{ text: 'copy it; from stdin' }])
    expect(await count()).toBe(3)
    await client.query('drop table public.copied')
  })
})

describe.skipIf(onNative)('the port', () => {
  const raw = async (bytes: Buffer) => {
    const socket = net.connect(stack.stack.dbUrl.match(/:(\d+)\//)?.[1] as never, '127.0.0.1')
    const received: Buffer[] = []
    socket.on('data', (data) => received.push(data)).on('error', () => {})
    socket.write(bytes)
    return { socket, received, closed: new Promise((resolve) => socket.on('close', resolve)) }
  }
  const packet = (code: number, rest = '') => {
    const bytes = Buffer.alloc(8 + rest.length)
    bytes.writeInt32BE(bytes.length, 0)
    bytes.writeInt32BE(code, 4)
    bytes.write(rest, 8, 'latin1')
    return bytes
  }

  test('knows the user and the database postgres only', async () => {
    await expect(
      connect({ user: 'authenticator', connectionString: stack.dbUrl.replace('postgres:', 'authenticator:') }),
    ).rejects.toMatchObject({ code: '28000' })
    await expect(connect({ connectionString: stack.dbUrl.replace(/postgres$/, 'other') })).rejects.toMatchObject({
      code: '3D000',
    })
    const client = await connect()
    expect((await client.query('select current_user as u')).rows).toEqual([{ u: 'postgres' }])
  })

  test('refuses encryption politely: a driver that prefers it goes on without', async () => {
    const { socket, received } = await raw(packet(80877103))
    await expect.poll(() => Buffer.concat(received).toString(), WAIT).toBe('N')
    socket.destroy()
    const sql = postgres(stack.dbUrl, { max: 1, ssl: 'prefer' })
    expect([...(await sql`select 1 as n`)]).toEqual([{ n: 1 }])
    await sql.end()
  })

  test('survives garbage, half messages and cancel requests', async () => {
    const garbage = [
      Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
      packet(80877102, '\0\0\0\0\0\0\0\0'),
      packet(131072),
      Buffer.concat([
        packet(196608, 'user\0postgres\0database\0postgres\0\0'),
        Buffer.from([0x51, 0xff, 0xff, 0xff, 0xff]),
      ]),
    ]
    for (const bytes of garbage) {
      const { socket, closed } = await raw(bytes)
      await closed
      socket.destroy()
    }
    expect(await stack.db.query('select 1 as n')).toEqual([{ n: 1 }])
  })

  test('a request sent in part blocks the others for the idle time only', async () => {
    holdTime()
    const flush = 'H\0\0\0\x04'
    const parse = Buffer.from(`P\0\0\0\x10\0select 1\0\0\0${flush}`, 'latin1')
    const { socket, received, closed } = await raw(
      Buffer.concat([packet(196608, 'user\0postgres\0database\0postgres\0\0'), parse]),
    )
    const answer = () => Buffer.concat(received).toString('latin1')
    const answered = async (part: string) => {
      while (!answer().includes(part)) await once(socket, 'data')
    }
    await answered('1\0\0\0\x04') // it is parsed
    const other = watch(stack.db.query('select 2 as n'))
    vi.advanceTimersByTime(IDLE_MS - 1)
    socket.write(Buffer.from(`D\0\0\0\x06S\0${flush}`, 'latin1'))
    await answered('?column?') // it is described, while the other waits
    expect(other.isSettled).toBe(false)
    vi.advanceTimersByTime(IDLE_MS)
    expect(await other.promise).toEqual([{ n: 2 }])
    await closed
    expect(answer()).toContain('25P03')
  })

  test('runs what an application does in a transaction as a user, role switched and back', async () => {
    const client = await connect()
    await client.query('begin')
    await client.query(`select set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true)`, [
      JSON.stringify({ sub: ALICE.id }),
    ])
    expect((await client.query('select body from public.notes order by id')).rows).toEqual([
      { body: 'alice one' },
      { body: 'alice two' },
    ])
    await client.query('commit')
    expect((await client.query('select current_user as u, auth.uid() as uid')).rows).toEqual([
      { u: 'postgres', uid: null },
    ])
  })
})
