// R05, R06, R07, R10, P04, P05 over HTTP, as PostgREST serves the search: vectors never leave the database, private tables are
// out of reach by every way that leads over the Data API, and no answer, count or error tells what others have.
import { readFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { readProjectConfig } from '../../local/config.ts'
import { useStack } from '../support/stack.ts'
import { clear, fill, MODEL, range } from './support/fill.ts'
import { HOSTILE_QUERIES } from './support/hostile.ts'
import { PERSON, TENANT, type Run } from './support/world.ts'

const stack = useStack()
const TOPIC = 7

type Signed = { id: string; token: string }
let member: Signed
let both: Signed
let bMember: Signed
let question: string
let point: string

beforeAll(async () => {
  await stack.db.exec(readFileSync(new URL('support/corpus.sql', import.meta.url), 'utf8'))
  await stack.db.exec('grant execute on all functions in schema isolation to public')
  const owner = { run: ((text, params) => stack.db.query(text, params)) as Run }
  await fill(owner, { label: 'own', tenant: 'a', count: 200, topics: range(1, 10) })
  await fill(owner, { label: 'foreign', tenant: 'b', count: 200, topics: range(1, 10), echo: true })
  await fill(owner, {
    label: 'secret',
    tenant: 'a',
    count: 40,
    topics: [TOPIC],
    owner: PERSON.admin,
    visibility: 'private',
    echo: true,
  })
  const [asked] = await stack.db.query<{ question: string; point: string }>(
    'select isolation.question($1) as question, isolation.question_point($1)::text as point',
    [TOPIC],
  )
  question = asked!.question
  point = asked!.point
  const signIn = async (email: string): Promise<Signed> => {
    const client = await stack.signIn(email)
    const { data } = await client.auth.getSession()
    return { id: data.session!.user.id, token: data.session!.access_token }
  }
  member = await signIn('member@harbor.example')
  both = await signIn('both@bulkhead.example')
  bMember = await signIn('member@meridian.example')
})

type Reply = { status: number; text: string; json: unknown; range: string | null }

/** A person, nobody who is signed in (null), or our own backend. */
const request = async (
  who: Signed | null | 'service_role',
  path: string,
  { method = 'GET', body, headers = {} }: { method?: string; body?: string; headers?: Record<string, string> } = {},
): Promise<Reply> => {
  const response = await fetch(`${stack.url}/rest/v1/${path}`, {
    method,
    headers: {
      apikey: who === 'service_role' ? stack.keys.secret : stack.keys.publishable,
      ...(who && who !== 'service_role' ? { authorization: `Bearer ${who.token}` } : {}),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      'accept-profile': 'ai',
      'content-profile': 'ai',
      ...headers,
    },
    ...(body === undefined ? {} : { body }),
  })
  const text = await response.text()
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    json = undefined
  }
  return { status: response.status, text, json, range: response.headers.get('content-range') }
}
const search = (
  who: Signed | null,
  args: Record<string, unknown>,
  path = 'rpc/search',
  headers: Record<string, string> = {},
) => request(who, path, { method: 'POST', body: JSON.stringify(args), headers })
const full = () => ({ query: question, query_embedding: point, embedding_model: MODEL })
const names = ({ json }: Reply): string[] => (json as { source_name: string }[]).map(({ source_name: name }) => name)

/** Whether a JSON value holds a list of numbers long enough to be a vector, or a text that is one. */
const holdsVector = (value: unknown): boolean => {
  if (typeof value === 'string')
    return /\[\s*-?\d+(\.\d+)?([eE]-?\d+)?(\s*,\s*-?\d+(\.\d+)?([eE]-?\d+)?){7,}/.test(value)
  if (Array.isArray(value)) {
    return (value.length >= 8 && value.every((item) => typeof item === 'number')) || value.some(holdsVector)
  }
  return typeof value === 'object' && value !== null && Object.values(value).some(holdsVector)
}

/** Types that are a vector, an array of them, or a row with one inside. */
const HOLDING = `
  with recursive holding as (
    select unnest(
      array['extensions.vector', 'extensions.halfvec', 'extensions.sparsevec', 'extensions.vector[]', 'extensions.halfvec[]']::regtype[]
    )::oid as type
    union
    select pg_class.reltype
    from holding
    join pg_attribute on pg_attribute.atttypid = holding.type and pg_attribute.attnum > 0
    join pg_class on pg_class.oid = pg_attribute.attrelid and pg_class.reltype <> 0
  )`

describe('R05 vectors never leave the database', () => {
  it('no column that holds one is readable in an exposed schema', async () => {
    const { schemas } = readProjectConfig('supabase')
    expect(schemas).not.toContain('private')
    expect(schemas).not.toContain('extensions')
    const rows = await stack.db.query(
      `${HOLDING}
      select attribute.attrelid::regclass::text as relation, attribute.attname as column, role
      from pg_attribute as attribute
      join pg_class on pg_class.oid = attribute.attrelid and pg_class.relkind in ('r', 'p', 'v', 'm', 'f')
      cross join unnest(array['anon', 'authenticated']) as role
      where attribute.attnum > 0
        and attribute.atttypid in (select type from holding)
        and pg_class.relnamespace = any (array(select oid from pg_namespace where nspname = any ($1)))
        and has_column_privilege(role, attribute.attrelid, attribute.attnum, 'select')`,
      [schemas],
    )
    expect(rows).toEqual([])
  })

  it('no function that a person may call returns one, alone or inside of a row', async () => {
    const rows = await stack.db.query<{ function: string }>(`
      ${HOLDING}
      select pg_proc.oid::regprocedure::text as function
      from pg_proc
      where not exists (select from pg_depend where pg_depend.objid = pg_proc.oid and pg_depend.deptype = 'e')
        and pg_proc.pronamespace <> 'pg_catalog'::regnamespace
        and pg_proc.pronamespace <> 'isolation'::regnamespace
        and (has_function_privilege('anon', pg_proc.oid, 'execute') or has_function_privilege('authenticated', pg_proc.oid, 'execute'))
        and (
          pg_proc.prorettype in (select type from holding)
          or exists (
            select
            from unnest(pg_proc.proallargtypes, pg_proc.proargmodes) as argument (type, mode)
            where argument.mode in ('o', 'b', 't') and argument.type in (select type from holding)
          )
        )
    `)
    // What it returns is what it was given.
    expect(rows.map((row) => row.function)).toEqual(['private.unit_vector(vector)'])
  })

  it.each([
    'memories?select=embedding',
    'memories?select=id&embedding=not.is.null',
    'memories?select=id&order=embedding',
    'memories?select=e:embedding',
    'memories?select=embedding::text',
    'memories?select=*',
  ])('%s shows none: of a memory, too, there is but a name for its vector', async (path) => {
    await stack.db.query(
      `insert into public.memories (tenant_id, user_id, body) values ('${TENANT.a}', '${PERSON.member}', 'glockenspiel')`,
    )
    await stack.db.query(`
      select private.store_vectors('${MODEL}', array_agg(id), array_agg(isolation.question_point(1)))
      from public.memories where body = 'glockenspiel'`)
    const reply = await request(member, path, { headers: { 'accept-profile': 'public' } })
    expect(reply.text).not.toMatch(/internal|PL\/pgSQL/)
    expect(holdsVector(reply.json)).toBe(false)
  })

  it('the answer of a search holds none, whatever is selected or explained', async () => {
    expect(holdsVector(JSON.parse(`{"a": ["${point}"]}`))).toBe(true)
    const explained = await search(member, { ...full(), explain: true, match_count: 100 })
    expect(explained.status).toBe(200)
    expect(names(explained).length).toBeGreaterThan(10)
    expect(holdsVector(explained.json)).toBe(false)
    for (const select of [
      'embedding',
      'query_embedding',
      '*,search_vectors(*)',
      'chunk_id,search_vectors(embedding)',
    ]) {
      const reply = await search(member, full(), `rpc/search?select=${encodeURIComponent(select)}`)
      expect(reply.status, select).toBeGreaterThanOrEqual(400)
    }
  })

  it.each(['private', 'extensions', 'auth', 'pg_catalog', 'isolation', 'storage'])(
    'the schema %s is not served',
    async (schema) => {
      const headers = { 'accept-profile': schema, 'content-profile': schema }
      for (const who of [null, member]) {
        for (const path of [
          'search_vectors',
          'search_lexemes?select=*',
          'search_entities?select=*',
          'vector_graph_1',
          'term_statistics',
          'vector_sets',
        ]) {
          expect((await request(who, path, { headers })).status, path).toBe(406)
        }
        for (const path of [
          'rpc/store_vectors',
          'rpc/nearest_items',
          'rpc/find_items',
          'rpc/unit_vector',
          'rpc/set_config',
        ]) {
          expect((await request(who, path, { method: 'POST', body: '{}', headers })).status, path).toBe(406)
        }
      }
      expect((await search(member, full(), 'rpc/search', headers)).status).toBe(406)
    },
  )

  it('nor is a part of the search, or set_config, served under the schemas that are', async () => {
    for (const profile of ['ai', 'public']) {
      for (const name of [
        'nearest_items',
        'find_items',
        'matching_items',
        'store_vectors',
        'set_config',
        'unit_vector',
        'search_terms',
      ]) {
        const reply = await request(member, `rpc/${name}`, {
          method: 'POST',
          body: '{}',
          headers: { 'content-profile': profile },
        })
        expect(reply.status, `${profile}.${name}`).toBe(404)
      }
    }
  })
})

describe('P04 the functions about embedding models', () => {
  it.each([
    ['reembed_knowledge_base', { embedding_model: MODEL }],
    ['switch_embedding_model', { embedding_model: MODEL }],
    ['discard_embedding_model', { embedding_model: MODEL }],
    ['reembedding_progress', {}],
  ])('%s says of a knowledge base of others what it says of none', async (name, args) => {
    const [theirs] = await stack.db.query<{ id: string }>(
      `select id from ai.knowledge_bases where tenant_id = '${TENANT.b}' and is_default`,
    )
    const ask = (id: string) => search(member, { ...args, knowledge_base_id: id }, `rpc/${name}`)
    const nobodys = '00000000-0000-4000-8000-00000000dead'
    const answer = await ask(theirs!.id)
    expect({ ...answer, text: answer.text.replaceAll(theirs!.id, nobodys), json: null }).toEqual({
      ...(await ask(nobodys)),
      json: null,
    })
    expect(answer.status).not.toBe(500)
  })

  it('search_models names those of the caller only', async () => {
    const [theirs] = await stack.db.query<{ id: string }>(
      `select id from ai.knowledge_bases where tenant_id = '${TENANT.b}' and is_default`,
    )
    await stack.db.query(`update ai.knowledge_bases set embedding_model = 'model-of-b' where id = $1`, [theirs!.id])
    for (const args of [{}, { knowledge_base_ids: [theirs!.id] }]) {
      const reply = await search(member, args, 'rpc/search_models')
      expect(reply.status).toBe(200)
      expect(reply.text).not.toContain('model-of-b')
    }
  })

  it('outline_sources and sections show nothing of others, whatever is named', async () => {
    const [theirs] = await stack.db.query<{ id: string; knowledge_base_id: string; source_id: string }>(
      `select id, knowledge_base_id, source_id from ai.indexed_sources where tenant_id = '${TENANT.b}' limit 1`,
    )
    const [own] = await stack.db.query<{ id: string; knowledge_base_id: string }>(
      `select id, knowledge_base_id from ai.indexed_sources where source_id in
         (select id from ai.sources where tenant_id = '${TENANT.a}' and visibility = 'tenant') limit 1`,
    )
    const outline = (args: Record<string, unknown>) => search(member, args, 'rpc/outline_sources')
    const sections = (args: Record<string, unknown>) => search(member, args, 'rpc/sections')
    expect((await outline({ knowledge_base_ids: [own!.knowledge_base_id] })).json).not.toEqual([])
    expect((await sections({ indexed_source_ids: [own!.id] })).json).not.toEqual([])
    for (const reply of [
      await outline({ knowledge_base_ids: [theirs!.knowledge_base_id] }),
      await outline({ knowledge_base_ids: [own!.knowledge_base_id], source_ids: [theirs!.source_id] }),
      await sections({ indexed_source_ids: [theirs!.id] }),
    ]) {
      expect(reply).toMatchObject({ status: 200, json: [] })
    }
  })

  it('search_memories finds those of the caller only', async () => {
    await stack.db.query(
      `insert into public.memories (tenant_id, user_id, body)
      values ($1, $2, 'ocarina mine'), ($1, $3, 'ocarina of a colleague'), ($4, null, 'ocarina of B')`,
      [TENANT.a, PERSON.member, PERSON.admin, TENANT.b],
    )
    const reply = await search(member, { query: 'ocarina' }, 'rpc/search_memories')
    expect((reply.json as { body: string }[]).map(({ body }) => body)).toEqual(['ocarina mine'])
    expect(holdsVector(reply.json)).toBe(false)
  })
})

describe('P05 no way leads to others by embedding tables in one another', () => {
  it.each([
    'chunks?select=id,search_lexemes(*)',
    'chunks?select=id,search_vectors(embedding)',
    'chunks?select=id,search_segments(*)',
    'sources?select=id,chunks(id,search_vectors(*))',
    'knowledge_bases?select=id,search_segments(term_count)',
    'knowledge_bases?select=id,chunks(*,memories(embedding))',
    'indexed_sources?select=*,staged_chunks(*)',
  ])('%s', async (path) => {
    const reply = await request(member, path)
    expect(reply.status).toBeGreaterThanOrEqual(400)
    expect(reply.status).toBeLessThan(500)
  })

  it('over every hop that there is, a person sees their own: sources, chunks and back', async () => {
    const path = 'knowledge_bases?select=tenant_id,chunks(tenant_id,source_id,sources(tenant_id,name))'
    const reply = await request(member, path)
    expect(reply.status).toBe(200)
    expect(reply.text).toContain('own ')
    expect(reply.text).not.toContain(TENANT.b)
    expect(reply.text).not.toMatch(/foreign|secret/)
  })

  it('the rows of a search cannot be widened: or=, and=, an inner join, another order', async () => {
    const [foreign] = await stack.db.query<{ id: string }>(`select id from ai.sources where name = 'foreign 0'`)
    for (const filter of [
      `or=(source_id.eq.${foreign!.id},source_id.neq.${foreign!.id})`,
      `source_id=not.is.null&or=(source_name.like.*,score.gte.-1)`,
      `and=(score.gte.0,source_name.like.*)&order=source_name.desc`,
      `limit=100000&offset=0`,
    ]) {
      const reply = await search(member, { ...full(), match_count: 100 }, `rpc/search?${filter}`)
      expect(reply.status, filter).toBe(200)
      expect(names(reply).length).toBeGreaterThan(0)
      expect(names(reply).every((name) => name.startsWith('own '))).toBe(true)
    }
  })
})

describe('P04 what belongs to others answers like what does not exist', () => {
  const ABSENT = '00000000-0000-4000-8000-00000000dead'
  const idOf = async (sql: string) => (await stack.db.query<{ id: string }>(sql))[0]!.id

  it.each([
    ['knowledge_base_ids', `select id from ai.knowledge_bases where tenant_id = '${TENANT.b}' and is_default`],
    ['source_ids', `select id from ai.sources where name = 'foreign 0'`],
    ['source_ids', `select id from ai.sources where name = 'secret 0'`],
  ])('%s of others, counted', async (argument, sql) => {
    const id = await idOf(sql)
    const headers = { prefer: 'count=exact' }
    const theirs = await search(member, { ...full(), [argument]: [id] }, 'rpc/search', headers)
    const nobodys = await search(member, { ...full(), [argument]: [ABSENT] }, 'rpc/search', headers)
    expect(theirs).toEqual(nobodys)
    expect(theirs.json).toEqual([])
  })

  it('the chunks of a source of others, counted', async () => {
    const ask = (source: string) =>
      request(member, `chunks?select=id&source_id=eq.${source}`, { headers: { prefer: 'count=exact' } })
    const nobodys = await ask(ABSENT)
    expect(nobodys.range).toBe('*/0')
    expect(await ask(await idOf(`select id from ai.sources where name = 'foreign 0'`))).toEqual(nobodys)
    expect(await ask(await idOf(`select id from ai.sources where name = 'secret 0'`))).toEqual(nobodys)
  })

  it('the plan is not to be had', async () => {
    for (const accept of [
      'application/vnd.pgrst.plan+json',
      'application/vnd.pgrst.plan+text; options=analyze|buffers',
    ]) {
      const reply = await search(member, full(), 'rpc/search', { accept })
      expect(reply.status).toBe(406)
    }
  })

  it('errors are those of the catalogue, and quote neither rows nor the database', async () => {
    const wrong: Record<string, unknown>[] = [
      { ...full(), query_embedding: '[1,2]' },
      { ...full(), query_embedding: '[NaN]' },
      { ...full(), query_embedding: 'x' },
      { ...full(), max_per_source: 0 },
      { ...full(), filter_metadata: ['x'] },
      { ...full(), match_count: 'many' },
      { ...full(), match_count: 1e30 },
      { ...full(), source_ids: ['x'] },
      { ...full(), source_ids: `{${ABSENT}` },
      { query: 'x'.repeat(4001) },
    ]
    for (const args of wrong) {
      const reply = await search(member, args)
      expect(reply.status, JSON.stringify(args).slice(-80)).toBe(400)
      expect(reply.text).not.toMatch(
        /search_vectors|search_lexemes|vector_graph|own \d|foreign|secret|PL\/pgSQL|node_modules/,
      )
    }
  })
})

describe("P04 a count is of the caller's own rows, never the planner's guess over everybody's", () => {
  const REFUSED = ['count=planned', 'count=estimated', 'Count=Planned', 'return=minimal,count=estimated , tx=commit']
  const ask = (
    who: Signed | null | 'service_role',
    prefer: string,
    { method = 'GET', path = 'chunks?select=id' } = {},
  ) => request(who, path, { method, headers: { prefer } })
  const counted = async (sql: string) => `*/${(await stack.db.query<{ count: number }>(sql))[0]!.count}`

  it.each(REFUSED)('%s is refused to whoever asks', async (prefer) => {
    await stack.db.exec('analyze ai.chunks')
    for (const who of [member, bMember, null, 'service_role'] as const) {
      const reply = await ask(who, prefer)
      expect(reply).toMatchObject({ status: 400, range: null })
      expect(reply.json).toMatchObject({ code: 'PT400', details: '{"code": "invalid_request"}' })
      expect((reply.json as { message: string }).message).toContain('count=exact')
      expect(await ask(who, prefer, { method: 'HEAD' })).toMatchObject({ status: 400, range: null, text: '' })
    }
  })

  it('for functions and writes, too', async () => {
    const reply = await search(member, full(), 'rpc/search', { prefer: 'count=planned' })
    expect([reply.status, reply.range]).toEqual([400, null])
    for (const method of ['PATCH', 'DELETE']) {
      const path = `sources?id=eq.00000000-0000-4000-8000-00000000dead`
      const body = method === 'PATCH' ? '{"name": "x"}' : undefined
      const headers = { prefer: 'count=estimated' }
      expect(await request(member, path, { method, headers, ...(body && { body }) })).toMatchObject({ status: 400 })
    }
  })

  // The stack joins them, as HTTP says they mean the same. PostgREST does not: see docs/deploy.md.
  it('in several Prefer headers, too', async () => {
    const headers = new Headers({ apikey: stack.keys.publishable, authorization: `Bearer ${member.token}` })
    for (const prefer of ['count=planned', 'return=minimal']) headers.append('prefer', prefer)
    expect((await fetch(`${stack.url}/rest/v1/tenants?select=id`, { headers })).status).toBe(400)
  })

  it('count=exact has the number of their own', async () => {
    const own = `select count(*)::int from ai.chunks join ai.sources on sources.id = chunks.source_id where`
    const [ofMember, ofB, all] = await Promise.all([
      counted(`${own} sources.tenant_id = '${TENANT.a}' and sources.name like 'own %'`),
      counted(`${own} sources.tenant_id = '${TENANT.b}'`),
      counted(`select count(*)::int from ai.chunks`),
    ])
    expect([ofMember, ofB]).not.toContain(all)
    const none = { path: 'chunks?select=id&limit=0' }
    for (const method of ['GET', 'HEAD']) {
      expect((await ask(member, 'count=exact', { ...none, method })).range).toBe(ofMember)
      expect((await ask(bMember, 'count=exact', { ...none, method })).range).toBe(ofB)
      expect((await ask('service_role', 'count=exact', { ...none, method })).range).toBe(all)
      // Who is not signed in may read nothing: the check lets them by, and the table does not.
      expect((await ask(null, 'count=exact', { ...none, method })).status).toBe(401)
    }
    expect((await request(null, 'rpc/check_request', { method: 'POST', body: '{}' })).status).toBe(204)
  })
})

describe('R06 R07 what a body may hold', () => {
  it.each([
    { tenant_id: TENANT.b },
    { user_id: PERSON.bMember },
    { role: 'service_role' },
    { rrf_k: -1 },
    { 'bulkhead.search_terms_1': '{1}' },
    { __proto__x: 1 },
  ])('no argument that the function does not have: %o', async (extra) => {
    expect((await search(member, { ...full(), ...extra })).status).toBe(404)
  })

  it('a tenant in the header narrows and never widens', async () => {
    const of = async (who: Signed, tenant: string) =>
      names(await search(who, full(), 'rpc/search', { 'x-tenant-id': tenant }))
    expect(await of(member, TENANT.b)).toEqual([])
    expect((await of(both, TENANT.b)).every((name) => name.startsWith('foreign '))).toBe(true)
    expect((await of(both, TENANT.a)).every((name) => name.startsWith('own '))).toBe(true)
    expect((await of(both, TENANT.a)).length).toBeGreaterThan(0)
  })

  it('nobody searches without being signed in', async () => {
    const reply = await search(null, full())
    expect([401, 403, 404]).toContain(reply.status)
    expect(reply.text).not.toContain('own ')
  })

  it('NUL, half of a surrogate pair and broken UTF-8 are refused or searched, and break nothing', async () => {
    for (const query of ['a\u0000b', '\u0000', '\ud800', 'x\udfff']) {
      const reply = await search(member, { query })
      expect([200, 400], JSON.stringify(query)).toContain(reply.status)
      expect(reply.text).not.toMatch(/at .*\.ts|node_modules|PL\/pgSQL/)
    }
    const broken = await fetch(`${stack.url}/rest/v1/rpc/search`, {
      method: 'POST',
      headers: {
        apikey: stack.keys.publishable,
        authorization: `Bearer ${member.token}`,
        'content-type': 'application/json',
        'content-profile': 'ai',
      },
      body: Buffer.concat([Buffer.from('{"query": "a'), Buffer.from([0xc3, 0x28, 0xff]), Buffer.from('"}')]),
    })
    expect([200, 400]).toContain(broken.status)
    expect((await search(member, full())).status).toBe(200)
  })

  it('a megabyte of query, of quotes, or of nested filter', async () => {
    for (const query of ['harbour '.repeat(131_072), '"'.repeat(1_000_000), '東京都'.repeat(350_000)]) {
      expect([400, 413]).toContain((await search(member, { query })).status)
    }
    const nested = `{"query": "x", "filter_metadata": ${'{"a":'.repeat(500)}1${'}'.repeat(500)}}`
    const reply = await request(member, 'rpc/search', { method: 'POST', body: nested })
    expect([200, 400, 413], reply.text.slice(0, 300)).toContain(reply.status)
    if (reply.status === 200) expect(reply.json).toEqual([])
  })

  it.each([
    ['a filter of a search', 'POST', 'rpc/search', '{"query": "x", "filter_metadata": ', '{"a":', '}', '}'],
    ['a list in it', 'POST', 'rpc/search', '{"query": "x", "filter_metadata": ', '[', ']', '}'],
    ['a new row', 'POST', 'knowledge_bases', '{"name": "x", "indexing_config": ', '{"a":', '}', '}'],
    ['a changed row', 'PATCH', 'sources?name=eq.x', '{"metadata": ', '{"a":', '}', '}'],
    ['arrays alone', 'POST', 'knowledge_bases', '', '[', ']', ''],
    ['brackets without end', 'POST', 'rpc/search', '', '[', '', ''],
  ])('20,000 levels: %s', async (_, method, path, before, open, close, after) => {
    const nested = (levels: number) => `${before}${open.repeat(levels)}1${close.repeat(levels)}${after}`
    for (const type of ['application/json', 'APPLICATION/JSON; charset=utf-8', 'application/vnd.pgrst.object+json']) {
      const reply = await request(member, path, { method, body: nested(20_000), headers: { 'content-type': type } })
      expect(reply.status, type).toBe(400)
      expect(reply.json).toEqual({ code: 'PGRST102', details: null, hint: null, message: 'Empty or invalid json' })
    }
    const untyped = await request(member, path, {
      method,
      body: nested(20_000),
      headers: { 'content-type': 'text/plain' },
    })
    expect([400, 404, 415], untyped.text.slice(0, 300)).toContain(untyped.status)
  })

  it('brackets in a text are no levels', async () => {
    const reply = await search(member, { query: `${'[{"\\'.repeat(300)}harbour`, filter_metadata: {} })
    expect(reply.status, reply.text.slice(0, 300)).toBe(200)
    const many = { query: 'x', source_ids: [], filter_metadata: { tags: Array.from({ length: 3000 }, () => [{}]) } }
    expect((await search(member, many)).status).toBe(200)
  })

  it('the hostile queries, sent as they are', async () => {
    for (const [name, query] of Object.entries(HOSTILE_QUERIES)) {
      const reply = await search(member, { ...full(), query })
      expect(reply.status, `${name}: ${reply.text.slice(0, 200)}`).toBe(200)
      expect(names(reply).every((found) => found.startsWith('own '))).toBe(true)
    }
  })
})

describe('R10 requests over one pool', () => {
  it('120 searches of three people at once: everybody gets what they get alone', async () => {
    const people = [member, both, bMember]
    const alone = await Promise.all(people.map(async (who) => (await search(who, full())).text))
    expect(new Set(alone).size).toBe(3)
    const answers = await Promise.all(
      Array.from({ length: 120 }, async (_, index) => {
        const who = index % people.length
        return (await search(people[who]!, full())).text === alone[who]
      }),
    )
    expect(answers.filter(Boolean)).toHaveLength(120)
    const settings = await stack.db.query(
      `select coalesce(current_setting('bulkhead.search_terms_1', true), '') as terms`,
    )
    expect(settings).toEqual([{ terms: '' }])
  })

  it('what was found before is not found again once it is gone', async () => {
    const owner = { run: ((text, params) => stack.db.query(text, params)) as Run }
    await fill(owner, { label: 'brief', tenant: 'a', count: 5, topics: [901], echo: true })
    const ask = async () => names(await search(member, { query: 'INV-2024-09911', method: 'full_text' }))
    expect((await ask()).some((name) => name.startsWith('brief '))).toBe(true)
    await clear(owner, 'brief')
    expect((await ask()).some((name) => name.startsWith('brief '))).toBe(false)
  })
})
