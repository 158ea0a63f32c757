import type { SupabaseClient } from '@supabase/supabase-js'
import { beforeAll, describe, expect, test } from 'vitest'
import { ALICE, FIXTURE_PASSWORD, FIXTURE_PROJECT } from '../support/stack-project.ts'
import { onNative, useStack, WAIT } from '../support/stack.ts'

const stack = useStack({ projectDir: FIXTURE_PROJECT })
let alice: SupabaseClient

beforeAll(async () => {
  alice = await stack.signIn(ALICE.email, FIXTURE_PASSWORD)
})

const attempts = async () => (await stack.db.query('select count(*)::int as n from public.attempts'))[0]?.['n']
const bearer = async () => (await alice.auth.getSession()).data.session?.access_token ?? ''

describe('rows', () => {
  test('have the shapes of PostgREST: ISO times, numbers, arrays, vectors as text', async () => {
    const { data, error } = await alice.from('notes').select('*').eq('body', 'alice one').single()
    expect(error).toBeNull()
    expect(data).toMatchObject({
      id: 1,
      'odd;name': 'a;b',
      price: 1.5,
      big: 9007199254740991,
      meta: { a: [1, { b: null }] },
      tags: ['x', 'y z'],
      embedding: '[1,0,0]',
      due: '2026-02-03',
      created_at: '2026-01-02T03:04:05.6+00:00',
    })
  })

  test('are those of the caller: own rows for alice, all for service_role, none for anon', async () => {
    expect((await alice.from('notes').select('body').order('id')).data).toEqual([
      { body: 'alice one' },
      { body: 'alice two' },
    ])
    expect((await stack.service.from('notes').select('body')).data).toHaveLength(3)
    expect(await stack.anon.from('notes').select('body')).toMatchObject({ data: [], error: null })
  })

  test('come through embeds, filters, views, other schemas, counts and CSV', async () => {
    const embed = await alice.from('notes').select('body, comments(body)').eq('id', 1).single()
    expect(embed.data).toEqual({ body: 'alice one', comments: [{ body: 'about alice one' }] })
    expect((await alice.from('note_bodies').select('*').ilike('body', '%TWO')).data).toEqual([{ body: 'alice two' }])
    expect((await alice.schema('ai').from('things').select('name').order('id')).data).toEqual([
      { name: 'one' },
      { name: 'two' },
    ])
    expect(await alice.from('notes').select('*', { count: 'exact', head: true })).toMatchObject({
      count: 2,
      status: 200,
    })
    expect((await alice.from('notes').select('id,body').csv()).data).toContain('1,"alice one"')
    expect((await alice.from('notes').select('body').or('id.eq.1,body.eq.nothing')).data).toHaveLength(1)
    expect((await alice.from('notes').select('meta->a->0').eq('id', 1).single()).data).toEqual({ a: 1 })
  })

  test('are at most max_rows', async () => {
    await stack.db.query(`insert into public.attempts select from generate_series(1, 9)`)
    const { data } = await stack.service.from('attempts').select('*')
    expect(data).toHaveLength(5)
  })

  test('are written with their values: vectors as array and as text, json, upserts', async () => {
    const inserted = await alice
      .from('notes')
      .insert([
        { body: 'v1', embedding: [0.5, 0.5, 0], meta: { deep: [1] }, tags: ['p'] },
        { body: 'v2', embedding: '[0.25,0,1]', meta: { deep: [2] }, tags: [] },
      ])
      .select('body,embedding,meta,tags,owner_id')
    expect(inserted.error).toBeNull()
    expect(inserted.data).toEqual([
      { body: 'v1', embedding: '[0.5,0.5,0]', meta: { deep: [1] }, tags: ['p'], owner_id: ALICE.id },
      { body: 'v2', embedding: '[0.25,0,1]', meta: { deep: [2] }, tags: [], owner_id: ALICE.id },
    ])
    const upserted = await alice
      .from('notes')
      .upsert({ body: 'v1', price: 7 }, { onConflict: 'owner_id,body' })
      .select('price')
      .single()
    expect(upserted).toMatchObject({ data: { price: 7 }, error: null })
    const byArray = await alice.rpc('nearest', { query: [0.5, 0.5, 0], k: 1 })
    const byText = await alice.rpc('nearest', { query: '[0.5,0.5,0]', k: 1 })
    expect(byArray.error).toBeNull()
    expect(byArray.data).toEqual(byText.data)
    expect(byArray.data[0].body).toBe('v1')
    expect((await alice.from('notes').delete().in('body', ['v1', 'v2']).select('body')).data).toHaveLength(2)
  })
})

describe('the transaction of a request', () => {
  test('has role, claims, headers without credentials, method and path', async () => {
    const response = await fetch(`${stack.url}/rest/v1/rpc/whoami?apikey=${stack.keys.publishable}`, {
      headers: { authorization: `Bearer ${await bearer()}`, 'X-Tenant-Id': 't-9', cookie: 'a=b' },
    })
    const seen = await response.json()
    expect(seen).toMatchObject({
      user: 'authenticated',
      uid: ALICE.id,
      role: 'authenticated',
      method: 'GET',
      path: '/rpc/whoami',
      text: "it's; fine",
      claims: {
        sub: ALICE.id,
        role: 'authenticated',
        app_metadata: { tenant_id: 't-1' },
        hook: 'supabase_auth_admin:password',
      },
    })
    expect(seen.headers['x-tenant-id']).toBe('t-9')
    expect(Object.keys(seen.headers).filter((name) => ['authorization', 'apikey', 'cookie'].includes(name))).toEqual([])
  })

  test('has the headers for tables too, not for functions only', async () => {
    await stack.db
      .exec(`create view public.seen_headers as select current_setting('request.headers', true)::jsonb ->> 'x-tenant-id' as tenant;
      grant select on public.seen_headers to anon`)
    await expect
      .poll(async () => {
        const response = await fetch(`${stack.url}/rest/v1/seen_headers`, {
          headers: { apikey: stack.keys.publishable, 'x-tenant-id': 't-7' },
        })
        return response.json()
      }, WAIT)
      .toEqual([{ tenant: 't-7' }])
  })

  test('leaves nothing in the session, whether it commits or fails', async () => {
    await alice.rpc('whoami')
    await alice.rpc('fail', { sqlstate: 'P0001' })
    const rows = await stack.db.query(
      `select current_user as role, current_setting('request.jwt.claims', true) as claims,
         current_setting('request.headers', true) as headers, current_setting('request.jwt.claim.sub', true) as sub`,
    )
    for (const row of rows) {
      expect(row['role']).toBe('postgres')
      expect([row['claims'], row['headers'], row['sub']].filter(Boolean)).toEqual([])
    }
  })

  test('is undone when the request fails, also when the failure is found in the answer', async () => {
    const before = await attempts()
    expect((await alice.rpc('fail', { sqlstate: 'PT409' })).status).toBe(409)
    expect(await attempts()).toBe(before)
    // .single() on two new rows is an error of the answer, not of the statement.
    const { error } = await alice
      .from('notes')
      .insert([{ body: 's1' }, { body: 's2' }])
      .select('id')
      .single()
    expect(error?.code).toBe('PGRST116')
    expect((await alice.from('notes').select('id').in('body', ['s1', 's2'])).data).toEqual([])
  })

  test('is kept when a function only sets the status of its answer', async () => {
    const before = Number(await attempts())
    const response = await fetch(`${stack.url}/rest/v1/rpc/teapot`, {
      method: 'POST',
      headers: { apikey: stack.keys.secret },
    })
    expect([response.status, response.headers.get('x-tea')]).toEqual([418, 'green'])
    expect(await attempts()).toBe(before + 1)
  })

  test('begins with the pre-request function that the project names, from the moment it does', async () => {
    await stack.db.exec(`
      create schema gate;
      grant usage on schema gate to anon, authenticated;
      create function gate.check_request() returns void language plpgsql as $$
      begin
        if current_user = 'authenticated' and current_setting('request.headers')::json ->> 'x-stop' = auth.uid()::text then
          raise exception using errcode = 'PT429', message = 'Stopped.';
        end if;
      end $$`)
    const name = (await stack.db.query<{ name: string }>('select current_database() as name'))[0]!.name
    const ask = async (stop: string, method = 'GET') =>
      fetch(`${stack.url}/rest/v1/notes?select=id`, {
        method,
        headers: { apikey: stack.keys.publishable, authorization: `Bearer ${await bearer()}`, 'x-stop': stop },
      })
    expect((await ask(ALICE.id)).status).toBe(200)
    await stack.db.exec(
      `alter role authenticator in database "${name}" set pgrst.db_pre_request = 'gate.check_request'`,
    )
    await stack.db.exec(`notify pgrst, 'reload config'`)
    await expect.poll(async () => (await ask(ALICE.id)).status, WAIT).toBe(429)
    expect(await (await ask(ALICE.id)).json()).toMatchObject({ code: 'PT429', message: 'Stopped.' })
    expect((await ask(ALICE.id, 'HEAD')).status).toBe(429)
    expect((await ask('somebody else')).status).toBe(200)
    await stack.db.exec(`alter role authenticator in database "${name}" reset pgrst.db_pre_request`)
    await stack.db.exec(`notify pgrst, 'reload config'`)
    await expect.poll(async () => (await ask(ALICE.id)).status, WAIT).toBe(200)
  })

  test('has the statement_timeout that its function sets before that is called', async () => {
    // What is made before the function is called shows in the pre-request function, and the function's own setting does not.
    await stack.db.exec(`
      create function public.patient() returns int language sql set statement_timeout = '1min' as 'select 1';
      create function public.tell_timeout() returns void language plpgsql as $$
      begin
        raise exception using errcode = 'PT418', message = current_setting('statement_timeout');
      end $$`)
    const name = (await stack.db.query<{ name: string }>('select current_database() as name'))[0]!.name
    const set = (what: string) =>
      stack.db.exec(`
        alter role authenticator in database "${name}" ${what};
        notify pgrst, 'reload schema';
        notify pgrst, 'reload config'`)
    expect(await stack.service.rpc('patient')).toMatchObject({ error: null })
    await set(`set pgrst.db_pre_request = 'tell_timeout'`)
    await expect.poll(async () => (await stack.service.rpc('patient')).error?.message, WAIT).toBe('1min')
    expect((await stack.service.rpc('whoami')).error?.message).not.toBe('1min')
    await set('reset pgrst.db_pre_request')
    await expect.poll(async () => (await stack.service.rpc('patient')).error, WAIT).toBeNull()
  })

  test('cannot write in a GET', async () => {
    const response = await fetch(`${stack.url}/rest/v1/rpc/teapot`, { headers: { apikey: stack.keys.secret } })
    expect(response.status).toBe(405)
    expect(await response.json()).toMatchObject({ code: '25006' })
  })

  if (!onNative) console.info('Left out: statement_timeout, which PGlite has not. Set TEST_DATABASE_URL to run it.')
  test.runIf(onNative)('has the statement_timeout of its role', async () => {
    expect((await alice.rpc('whoami')).data.timeout).toBe('8s')
    expect((await stack.anon.rpc('whoami')).data.timeout).toBe('3s')
    const { error, status } = await stack.anon.rpc('slow', { seconds: 6 })
    expect([status, error?.code]).toEqual([500, '57014'])
  })
})

describe('errors', () => {
  test.each([
    ['P0001', 400],
    ['PT404', 404],
    ['PT409', 409],
    ['PT418', 418],
    ['PT999', 500],
    ['23514', 400],
    ['23505', 409],
    ['23503', 409],
    ['23502', 400],
    ['22P02', 400],
    ['21000', 500],
    ['25006', 405],
    ['28000', 403],
    ['0L000', 403],
    ['08000', 503],
    ['53000', 503],
    ['53400', 500],
    ['40001', 500],
    ['54000', 500],
    ['55000', 500],
    ['57014', 500],
    ['XX000', 500],
    ['42P01', 404],
    ['42P17', 500],
    ['ZZ001', 400],
  ])('SQLSTATE %s raised by a function → %i with code, message, details and hint', async (sqlstate, status) => {
    const args = { sqlstate, message: 'What happened.', detail: '{"code":"machine"}', hint: 'Do this.' }
    const result = await alice.rpc('fail', args)
    expect(result.status).toBe(status)
    expect(result.error).toMatchObject({
      code: sqlstate,
      message: 'What happened.',
      details: '{"code":"machine"}',
      hint: 'Do this.',
    })
  })

  test('a table without grants → 401 for anon, 403 for a signed-in user, 42501 for both', async () => {
    const asAnon = await stack.anon.from('sealed').select('*')
    expect([asAnon.status, asAnon.error?.code]).toEqual([401, '42501'])
    const asAlice = await alice.from('sealed').select('*')
    expect([asAlice.status, asAlice.error?.code]).toEqual([403, '42501'])
    expect((await stack.service.from('sealed').select('*')).status).toBe(200)
  })

  test('a row that a policy refuses → 403 42501, and it is not there', async () => {
    const { status, error } = await alice.from('notes').insert({ body: 'stolen', owner_id: crypto.randomUUID() })
    expect([status, error?.code]).toEqual([403, '42501'])
    expect((await stack.service.from('notes').select('id').eq('body', 'stolen')).data).toEqual([])
  })

  test('an insert by anon, who may only read → 401, and by the owner → 201', async () => {
    expect((await stack.anon.from('notes').insert({ body: 'x', owner_id: ALICE.id })).status).toBe(401)
    expect((await alice.from('notes').insert({ body: 'mine' })).status).toBe(201)
    expect((await alice.from('notes').delete().eq('body', 'mine')).status).toBe(204)
  })

  test('constraint violations of tables', async () => {
    expect(await alice.from('notes').insert({ body: ' ' })).toMatchObject({ status: 400, error: { code: '23514' } })
    expect(await alice.from('notes').insert({ body: 'alice one' })).toMatchObject({
      status: 409,
      error: { code: '23505' },
    })
    expect(await alice.from('notes').insert({ body: null })).toMatchObject({ status: 400, error: { code: '23502' } })
    expect(await stack.service.from('comments').insert({ note_id: 999, body: 'x' })).toMatchObject({
      status: 409,
      error: { code: '23503' },
    })
  })

  test('what does not exist', async () => {
    expect(await alice.from('nothing').select()).toMatchObject({ status: 404, error: { code: 'PGRST205' } })
    expect(await alice.rpc('nothing')).toMatchObject({ status: 404, error: { code: 'PGRST202' } })
    expect(await alice.from('notes').select('nothing')).toMatchObject({ status: 400, error: { code: '42703' } })
    expect(await alice.schema('private').from('x').select()).toMatchObject({ status: 406, error: { code: 'PGRST106' } })
    expect(await alice.from('notes').select('*').eq('id', 'abc')).toMatchObject({
      status: 400,
      error: { code: '22P02' },
    })
    expect(await alice.from('notes').select('*').eq('id', 0).single()).toMatchObject({
      status: 406,
      error: { code: 'PGRST116' },
    })
  })

  test('schemas that are not exposed stay out of reach, by profile and by qualified name', async () => {
    for (const path of ['auth.users', 'users', 'vault.secrets']) {
      const response = await fetch(`${stack.url}/rest/v1/${path}`, { headers: { apikey: stack.keys.secret } })
      expect(response.status).toBe(404)
    }
    for (const schema of ['auth', 'vault', 'storage', 'realtime', 'supabase_migrations', 'pg_catalog', 'extensions']) {
      const response = await fetch(`${stack.url}/rest/v1/users`, {
        headers: { apikey: stack.keys.secret, 'accept-profile': schema },
      })
      expect([schema, response.status]).toEqual([schema, 406])
    }
  })

  test('malformed bodies', async () => {
    const send = (body: string) =>
      fetch(`${stack.url}/rest/v1/notes`, {
        method: 'POST',
        headers: { apikey: stack.keys.secret, 'content-type': 'application/json' },
        body,
      })
    expect((await send('{"body":')).status).toBe(400)
    expect((await send('[1,2]')).status).toBe(400)
  })
})

test('a table made while the stack runs is served', async () => {
  await stack.db.exec('create table public.late (id int); insert into public.late values (1)')
  await expect.poll(async () => (await stack.service.from('late').select()).data, WAIT).toEqual([{ id: 1 }])
  await stack.db.exec('drop table public.late')
  await expect.poll(async () => (await stack.service.from('late').select()).status, WAIT).toBe(404)
})

test('a function that is replaced while the stack runs answers with its new columns, in every session', async () => {
  const make = (columns: string, value: string) =>
    stack.db.exec(
      `drop function if exists public.late_shape();
       create function public.late_shape() returns table (${columns}) language sql as $$ select ${value} $$`,
    )
  const callAll = () =>
    Promise.all(Array.from({ length: 20 }, async () => (await stack.service.rpc('late_shape')).data))
  await make('a int', '1')
  await expect.poll(async () => (await stack.service.rpc('late_shape')).data, WAIT).toEqual([{ a: 1 }])
  await callAll()
  expect(await callAll()).toEqual(Array.from({ length: 20 }, () => [{ a: 1 }]))
  await make('b text', "'x'")
  await expect.poll(async () => (await stack.service.rpc('late_shape')).data, WAIT).toEqual([{ b: 'x' }])
  expect(await callAll()).toEqual(Array.from({ length: 20 }, () => [{ b: 'x' }]))
  await stack.db.exec('drop function public.late_shape()')
})
