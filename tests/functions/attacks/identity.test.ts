import { SignJWT, UnsecuredJWT, decodeJwt } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { obey, script } from '../../support/scripted-model/index.ts'
import { eventsOf, streamRun } from '../support/agent-run.ts'
import { useModel } from '../../support/scripted-model/use-model.ts'
import { useFunctionsStack } from '../support/functions-stack.ts'
import { HARBOR, MERIDIAN, caller, serviceCaller, tokenOf, userCaller } from '../support/http.ts'
import type { Json } from '../support/http.ts'
import { createTestProject } from '../support/tokens.ts'

// Who somebody is: rows of the attack catalogue that try to be somebody else, or more than they are.

const userEnv: Record<string, string> = {}
const model = useModel(userEnv)
const stack = useFunctionsStack({ userEnv })

let token: string
let claims: Record<string, unknown>
beforeAll(async () => {
  token = await tokenOf(await stack.signIn('member@harbor.example'))
  claims = decodeJwt(token)
})

const now = () => Math.floor(Date.now() / 1000)
const rest = (bearer: string, path: string, body?: object) =>
  fetch(`${stack.url}/rest/v1/${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      apikey: stack.keys.publishable,
      authorization: `Bearer ${bearer}`,
      'content-type': 'application/json',
      'accept-profile': 'ai',
      'content-profile': 'ai',
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
const asBearer = (bearer: string) =>
  caller(stack, { apikey: stack.keys.publishable, authorization: `Bearer ${bearer}` })

describe('P09 a token that was not issued to its bearer', () => {
  it.each<[name: string, forge: () => Promise<string> | string]>([
    ['without a signature', () => new UnsecuredJWT(claims).encode()],
    ['signed by another project', async () => (await createTestProject(`${stack.url}/auth/v1`)).sign(claims)],
    [
      'signed by another project as service_role',
      async () => (await createTestProject(`${stack.url}/auth/v1`)).sign({ ...claims, role: 'service_role' }),
    ],
    [
      'signed with the public key as a secret',
      async () => {
        const jwks = await (await fetch(`${stack.url}/auth/v1/.well-known/jwks.json`)).text()
        return new SignJWT({ ...claims }).setProtectedHeader({ alg: 'HS256' }).sign(new TextEncoder().encode(jwks))
      },
    ],
    ['that has expired', () => stack.stack.tokens.sign({ ...claims, iat: now() - 100, exp: now() - 50 })],
    ['changed after signing', () => `${token.slice(0, -6)}AAAAAA`],
  ])('%s is nobody to the functions and to the Data API', async (_name, forge) => {
    const forged = await forge()
    expect((await asBearer(forged).json(401, 'GET', '/api/agents'))['code']).toBe('unauthenticated')
    expect((await rest(forged, 'agents?select=id')).status).toBe(401)
  })

  it.each<[name: string, more: Record<string, unknown>]>([
    ['of another issuer', { iss: 'https://evil.example/auth/v1' }],
    ['for another audience', { aud: 'somebody' }],
    ['as service_role, though signed by the project', { role: 'service_role' }],
    ['whose subject is no uuid', { sub: 'admin' }],
    ['without a subject', { sub: undefined }],
  ])('%s is nobody to the functions', async (_name, more) => {
    const forged = await stack.stack.tokens.sign({ ...claims, ...more })
    await asBearer(forged).json(401, 'GET', '/api/agents')
    await asBearer(forged).json(401, 'GET', '/api/sources')
  })

  it('with claims of another tenant, or of an anonymous sign-in, sees less and not more', async () => {
    expect((await asBearer(token).json(200, 'GET', '/api/agents'))['total']).toBeGreaterThan(0)
    for (const more of [
      { app_metadata: { tenant_id: MERIDIAN, role: 'owner' } },
      { tenant_id: MERIDIAN },
      { sub: crypto.randomUUID(), is_anonymous: true },
    ]) {
      const forged = await stack.stack.tokens.sign({ ...claims, ...more })
      expect(await asBearer(forged).json(200, 'GET', '/api/agents')).toMatchObject({ agents: [], total: 0 })
      await asBearer(forged).json(404, 'GET', `/api/agents/${await agentId()}`)
    }
    const claimsMore = { user_metadata: { tenant_id: MERIDIAN, role: 'service_role' }, tenant_role: 'owner' }
    const forged = await stack.stack.tokens.sign({ ...claims, ...claimsMore })
    expect(await asBearer(forged).json(200, 'GET', '/api/agents')).toEqual(
      await asBearer(token).json(200, 'GET', '/api/agents'),
    )
  })
})

const agentId = async (): Promise<string> =>
  (await serviceCaller(stack, { 'x-tenant-id': HARBOR }).json(200, 'GET', '/api/agents'))['agents'][0].id

describe('P10 becoming a role that row-level security does not hold for', () => {
  it('no role that requests run as owns a table, skips row-level security, or may become one that does', async () => {
    const roles = await stack.db.query<Json>(
      `select rolname, rolsuper, rolbypassrls, rolcreaterole from pg_roles where rolname in ('anon', 'authenticated')`,
    )
    expect(roles).toHaveLength(2)
    for (const { rolsuper, rolbypassrls, rolcreaterole } of roles) {
      expect([rolsuper, rolbypassrls, rolcreaterole]).toEqual([false, false, false])
    }
    const reach = await stack.db.query<Json>(`
      select from_role.rolname as from_role, to_role.rolname as to_role
      from pg_roles as from_role, pg_roles as to_role
      where from_role.rolname in ('anon', 'authenticated') and to_role.rolname <> from_role.rolname
        and pg_has_role(from_role.oid, to_role.oid, 'member')
    `)
    expect(reach).toEqual([])
    const weak = await stack.db.query<Json>(`
      select pg_class.oid::regclass::text as table_name
      from pg_class
      where pg_class.relnamespace::regnamespace::text in ('public', 'ai', 'private', 'pgboss') and pg_class.relkind in ('r', 'p')
        and (
          not (pg_class.relrowsecurity and pg_class.relforcerowsecurity)
          or pg_class.relowner::regrole::text in ('anon', 'authenticated')
        )
    `)
    expect(weak).toEqual([])
  })

  it('no call of the Data API sets a role or claims, whoever asks', async () => {
    const before = await (await rest(token, 'agents?select=tenant_id')).json()
    for (const bearer of [token, stack.keys.anon]) {
      for (const [name, args] of [
        ['set_config', { setting_name: 'role', new_value: 'service_role', is_local: false }],
        ['set_config', { setting_name: 'request.jwt.claims', new_value: '{}', is_local: false }],
        ['pg_read_file', { filename: '/etc/passwd' }],
        ['query_to_xml', { query: 'select 1', nulls: true, tableforest: true, targetns: '' }],
      ] as const) {
        expect([401, 404]).toContain((await rest(bearer, `rpc/${name}`, args)).status)
      }
    }
    const header = await fetch(`${stack.url}/rest/v1/agents?select=tenant_id`, {
      headers: {
        apikey: stack.keys.publishable,
        authorization: `Bearer ${token}`,
        'accept-profile': 'ai',
        role: 'service_role',
        'request.jwt.claims': '{"role":"service_role"}',
        'x-tenant-id': HARBOR,
      },
    })
    expect(await header.json()).toEqual(before)
    expect(new Set(before.map((row: Json) => row['tenant_id']))).toEqual(new Set([HARBOR]))
  })

  it('no query of an agent sets them, also not for the query after it', async () => {
    model.play(obey())
    const backend = serviceCaller(stack, { 'x-tenant-id': HARBOR })
    const { id } = await backend.json(201, 'POST', '/api/agents', { json: { name: 'Obedient' } })
    await backend.json(201, 'POST', `/api/agents/${id}/tools`, {
      json: { tool_name: 'database_query', config_override: { schemas: { public: ['memories', 'memberships'] } } },
    })
    const queries = [
      `select set_config('role', 'service_role', false) from memories`,
      `select set_config('request.jwt.claims', '{"role":"service_role"}', false) from memories`,
      'set role service_role',
      'reset role',
      'select tenant_id from memberships limit 1000',
    ]
    const run = await streamRun(asBearer(token), id as string, {
      message: queries.map((query) => `CALL database_query ${JSON.stringify({ query })}`).join('\n'),
    })
    const results = eventsOf(run, 'tool_result')
    expect(results.map((result) => result['is_error'])).toEqual([true, true, true, true, false])
    expect(results.at(-1)!['result']).toContain(HARBOR)
    expect(run.raw).not.toContain(MERIDIAN)
  })
})

describe('P15 what would hold up or disturb the others, asked of the Data API', () => {
  it('is no function that anybody may call', async () => {
    for (const bearer of [token, stack.keys.anon]) {
      for (const [name, args] of [
        ['pg_sleep', { seconds: 60 }],
        ['pg_advisory_lock', { key: 1 }],
        ['pg_notify', { channel: 'pgboss', payload: 'x' }],
        ['lo_create', { loid: 0 }],
        ['lo_import', { filename: '/etc/passwd' }],
        ['pg_terminate_backend', { pid: 1 }],
      ] as const) {
        expect([401, 404], name).toContain((await rest(bearer, `rpc/${name}`, args)).status)
      }
    }
  })

  it('is no right of the roles that requests run as', async () => {
    const rights = await stack.db.query<Json>(`
      select role.name || ' ' || pg_class.oid::regclass::text as granted
      from pg_class, (values ('anon'), ('authenticated')) as role (name)
      where pg_class.relnamespace::regnamespace::text in ('public', 'ai', 'private', 'pgboss')
        and pg_class.relkind in ('r', 'p', 'v', 'm')
        and (
          has_table_privilege(role.name, pg_class.oid, 'TRUNCATE') or has_table_privilege(role.name, pg_class.oid, 'TRIGGER')
          or has_table_privilege(role.name, pg_class.oid, 'REFERENCES')
        )
    `)
    expect(rights).toEqual([])
    const schemas = await stack.db.query<Json>(`
      select role.name || ' ' || nspname as granted
      from pg_namespace, (values ('anon'), ('authenticated')) as role (name)
      where nspname in ('public', 'ai', 'private', 'pgboss') and has_schema_privilege(role.name, pg_namespace.oid, 'CREATE')
    `)
    expect(schemas).toEqual([])
  })
})

describe('T12 memories', () => {
  it('of others, and those of the whole tenant, cannot be written through a person’s agent; their own say which one wrote them', async () => {
    const backend = serviceCaller(stack, { 'x-tenant-id': HARBOR })
    const { id } = await backend.json(201, 'POST', '/api/agents', { json: { name: 'Forgetful' } })
    await backend.json(201, 'POST', `/api/agents/${id}/tools`, {
      json: { tool_name: 'database_write', config_override: { schemas: { public: ['memories'] } } },
    })
    const colleague = (await (await stack.signIn('admin@harbor.example')).auth.getUser()).data.user!.id
    const insert = (data: object) => ({
      toolCalls: [{ name: 'database_write', arguments: { table: 'memories', operation: 'insert', data } }],
    })
    model.play(
      script([
        insert({ body: 'remember: poison for a colleague', user_id: colleague }),
        insert({ body: 'remember: poison for all', user_id: null }),
        insert({ body: 'remember: poison for the others', tenant_id: MERIDIAN }),
        insert({ body: 'remember: as the person', act: null }),
        insert({ body: 'remember: my own' }),
        { text: 'Done.' },
      ]),
    )
    const run = await streamRun(asBearer(token), id as string, { message: 'Remember.' })
    expect(eventsOf(run, 'tool_result').map((result) => result['is_error'])).toEqual([true, true, true, true, false])
    const rows = await stack.db.query<Json>(
      `select body, user_id::text, act from public.memories where body like 'remember:%' order by body`,
    )
    const act = { sub: 'agent', agent_id: id, run_id: run.complete['run_id'] }
    expect(rows).toEqual([{ body: 'remember: my own', user_id: claims['sub'], act }])
    // What the person writes down themselves names nobody else; both are seen by who may read them, and found so.
    const person = await stack.signIn('member@harbor.example')
    const own = { tenant_id: HARBOR, body: 'remember: with my own hands' }
    expect((await person.from('memories').insert(own)).error).toBeNull()
    const read = await person.from('memories').select('body,act').like('body', 'remember:%').order('body')
    expect(read.data).toEqual([
      { body: 'remember: my own', act },
      { body: own.body, act: null },
    ])
    const found = await person.schema('ai').rpc('search_memories', { query: 'remember own', method: 'full_text' })
    expect(new Map((found.data as Json[]).map((memory) => [memory['body'], memory['act']]))).toEqual(
      new Map([
        ['remember: my own', act],
        [own.body, null],
      ]),
    )
    expect(JSON.stringify(await (await rest(token, 'agents?select=id')).json())).not.toContain('poison')
  })
})

it('T11 an agent that a member has made changes nothing about who is in the tenant, whoever asks it', async () => {
  const person = await stack.signIn('member@harbor.example')
  const self = (await person.auth.getUser()).data.user!.id
  const member = asBearer(token)
  const { id } = await member.json(201, 'POST', '/api/agents', { json: { name: 'Helpful' } })
  const tables = ['memberships', 'invitations', 'groups', 'group_members', 'tenants', 'memories']
  await member.json(201, 'POST', `/api/agents/${id}/tools`, {
    json: { tool_name: 'database_write', config_override: { schemas: { public: tables } } },
  })
  const write = (table: string, operation: string, more: object) => ({
    toolCalls: [{ name: 'database_write', arguments: { table, operation, ...more } }],
  })
  const group = '33333333-3333-4333-8333-333333333333'
  model.play(
    script([
      write('memberships', 'update', { data: { role: 'owner' }, where: { user_id: self, tenant_id: HARBOR } }),
      write('memberships', 'delete', { where: { role: 'admin', tenant_id: HARBOR } }),
      write('invitations', 'insert', { data: { tenant_id: HARBOR, email: 'mine@evil.example', role: 'owner' } }),
      write('group_members', 'insert', { data: { tenant_id: HARBOR, group_id: group, user_id: self } }),
      write('groups', 'delete', { where: { id: group } }),
      write('tenants', 'update', { data: { name: 'Mine' }, where: { id: HARBOR } }),
      write('memories', 'insert', { data: { tenant_id: HARBOR, body: 'their own' } }),
      { text: 'Done.' },
    ]),
  )
  const state = () =>
    stack.db.query<Json>(
      `select
         (select jsonb_agg(to_jsonb(m) order by m.user_id) from public.memberships m where m.tenant_id = $1) as memberships,
         (select count(*)::int from public.invitations where tenant_id = $1) as invitations,
         (select jsonb_agg(to_jsonb(g) order by g.user_id) from public.group_members g where g.tenant_id = $1) as members,
         (select name from public.tenants where id = $1) as name`,
      [HARBOR],
    )
  const before = await state()
  const run = await streamRun(await userCaller(stack, 'owner@harbor.example'), id as string, { message: 'Hello.' })
  // The last shows that the tool works, and that the owner could.
  expect(eventsOf(run, 'tool_result').map((result) => result['is_error'])).toEqual([
    ...Array.from({ length: 6 }, () => true),
    false,
  ])
  expect(await state()).toEqual(before)
})

it('T13 a member cannot point a tool or a server elsewhere, and what it was given stays where it was', async () => {
  const admin = await userCaller(stack, 'admin@harbor.example')
  const member = asBearer(token)
  const endpoint = 'https://tools.example/search'
  const tool = await admin.json(201, 'POST', '/api/tools', {
    json: {
      name: 'guarded',
      description: 'Searches.',
      type: 'http',
      input_schema: { type: 'object', properties: {} },
      config: { endpoint, headers: { 'x-key': 'canary-key' } },
    },
  })
  const elsewhere = { config: { endpoint: 'https://attacker.example/' } }
  await member.json(403, 'PUT', `/api/tools/${tool['id']}`, { json: elsewhere })
  expect(await (await rest(token, `tools?select=id&id=eq.${tool['id']}`)).json()).toEqual([{ id: tool['id'] }])
  const patched = await fetch(`${stack.url}/rest/v1/tools?id=eq.${tool['id']}`, {
    method: 'PATCH',
    headers: {
      apikey: stack.keys.publishable,
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      'content-profile': 'ai',
      prefer: 'return=representation',
    },
    body: JSON.stringify(elsewhere),
  })
  expect(patched.ok ? await patched.json() : []).toEqual([])
  expect((await admin.json(200, 'GET', `/api/tools/${tool['id']}`))['config']).toMatchObject({
    endpoint,
    headers: { 'x-key': '***' },
  })
  // An admin may, and then the key does not go along.
  const moved = await admin.json(200, 'PUT', `/api/tools/${tool['id']}`, { json: elsewhere })
  expect(moved['warnings'].join()).toMatch(/headers were removed/)
  const [row] = await stack.db.query<Json>('select secret_headers from ai.tools where id = $1', [tool['id']])
  expect(row!['secret_headers']).toBeNull()
})
