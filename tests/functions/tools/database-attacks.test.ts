import { describe, expect, it } from 'vitest'
import { createDatabaseQuery } from '../../../supabase/functions/_shared/tools/database/query.ts'
import { createDatabaseWrite } from '../../../supabase/functions/_shared/tools/database/write.ts'
import { readAllowList } from '../../../supabase/functions/_shared/tools/database/tables.ts'
import type { ToolCallContext } from '../../../supabase/functions/_shared/tools/types.ts'

const { tables } = readAllowList({ schemas: { public: ['orders', 'customers'], sales: ['deals'] } })
const query = createDatabaseQuery({ tables })
const write = createDatabaseWrite({ tables })

/** A call whose data must stay out of reach: nothing may be asked of the database. */
const unreachable: ToolCallContext = {
  callId: 'call_1',
  idempotencyKey: 'r:call_1',
  signal: new AbortController().signal,
  log: { info: () => {}, error: () => {} },
  principal: {
    tenantId: 't',
    userId: 'u',
    agentId: 'a',
    runId: 'r',
    runUuid: '00000000-0000-4000-8000-0000000000f1',
    caller: () => Promise.reject(new Error('reached the database')),
    actingCaller: () => Promise.reject(new Error('reached the database')),
    db: () => Promise.reject(new Error('reached the database')),
    actingDb: () => Promise.reject(new Error('reached the database')),
  },
}

const deep = (opening: string, closing: string, count: number) => opening.repeat(count) + '1' + closing.repeat(count)

/** Queries of attack rows P10, T04 and T14, and what the model is told. */
const refused: [sql: string, text: string][] = [
  // Functions: any one can read, write or change who is asking.
  ["select set_config('role', 'postgres', false)", 'reads from no table'],
  ["select set_config('request.jwt.claims', '{}', true) from orders", 'Functions cannot be used'],
  ["select query_to_xml('select * from auth.users', true, false, '') from orders", 'Functions cannot be used'],
  ["select pg_read_file('/etc/passwd') from orders", 'Functions cannot be used'],
  ['select id from orders where pg_sleep(10) is null', 'Functions cannot be used'],
  ["select id from orders where id = (pg_catalog.lo_import('/etc/passwd'))", 'Functions cannot be used'],
  ['select id from orders order by pg_sleep(1)', 'ORDER BY can name columns'],
  ["select id from orders limit length('abc')", 'LIMIT must be a whole number'],
  ['select count(pg_sleep(1)) from orders', 'Aggregates can be taken of a column only'],
  ["select * from dblink('host=evil', 'select 1') as t(x int)", 'FROM can name tables only'],
  ['select * from generate_series(1, 1000000000) as g', 'FROM can name tables only'],
  ['select sum(id) over () from orders', 'Window functions'],
  ['select count(*) filter (where id = 1) from orders', 'FILTER'],
  ["select string_agg(note, ',') from orders", 'Functions cannot be used'],
  ['select pg_catalog.count(id) from orders', 'Functions cannot be used'],
  ['select id from orders where day >= current_date', 'Functions of time'],
  ['select current_user from orders', 'SELECT list can have columns'],
  ['select id from orders where note = current_user', 'Functions cannot be used'],
  ["select id from orders where created_at > now() - interval '1 day'", 'Functions of time'],
  [
    'select id from orders where created_at > now()',
    'Functions of time cannot be used. Write the moment as a literal; it is now 2',
  ],
  ["select id from orders where lower(note) = 'a'", 'ILIKE ignores case'],
  // Other tables.
  ['select * from auth.users', 'This table is not available. Available tables: orders, customers, sales.deals.'],
  ['select * from pg_catalog.pg_authid', 'not available'],
  ['select * from pg_class', 'not available'],
  ['select * from information_schema.tables', 'not available'],
  ['select * from "auth.users"', 'not available'],
  ['select * from "auth"."users"', 'not available'],
  ['select * from postgres.auth.users', 'A table is named by itself or with its schema'],
  ['select * from "Orders"', 'not available'],
  ['select * from "orders,users"', 'not available'],
  ['select * from only orders', 'A table is named by itself'],
  ['select * from оrders', 'not available'],
  ['select o.id from orders o join auth.users u on u.id = o.id', 'not available'],
  ['select id from U&"\\006frders2"', 'not available'],
  ['table auth.users', 'not available'],
  ['select * from orders tablesample system (1)', 'FROM can name tables only'],
  ['select * from orders as o (a, b)', 'alias cannot rename'],
  // Names that would mean something in a URL.
  ['select "id,secret:*" from orders', 'letters, digits and underscores'],
  ['select "id)&or=(id.gt.0" from orders', 'letters, digits and underscores'],
  ['select id as "a&limit=1" from orders', 'letters, digits and underscores'],
  ['select "auth.users.id" from orders', 'letters, digits and underscores'],
  ['select id from orders order by "id.desc,secret"', 'letters, digits and underscores'],
  ["select data->'a,b' from orders", 'Keys of a JSON path'],
  ["select data->>'a)&x=(' from orders", 'Keys of a JSON path'],
  ["select id from orders where data->>'a.eq.1' = '1'", 'Keys of a JSON path'],
  [`select "${'x'.repeat(70)}" from orders where "a""b" = 1`, 'letters, digits and underscores'],
  ['select ctid from orders', 'system column'],
  ['select xmin, tableoid from orders', 'system column'],
  ["select id from orders where XMAX = '0'", 'system column'],
  ['select o from orders o, customers c', 'separated by commas'],
  // Other statements.
  ['insert into orders (id) values (1)', 'Only SELECT'],
  ["update orders set note = 'x'", 'Only SELECT'],
  ['delete from orders', 'Only SELECT'],
  ['truncate orders', 'Only SELECT'],
  ["copy orders to program 'sh'", 'Only SELECT'],
  ['do $$ begin perform 1; end $$', 'Only SELECT'],
  ['set role postgres', 'Only SELECT'],
  ["set local request.jwt.claims = '{}'", 'Only SELECT'],
  ['explain analyze select * from orders', 'Only SELECT'],
  ['call refresh()', 'Only SELECT'],
  ['values (1)', 'VALUES'],
  ['begin', 'Only SELECT'],
  ['select id from orders; select * from auth.users', 'Only one statement'],
  ['select id from orders; set role postgres; --', 'Only one statement'],
  ['-- nothing', 'The query is empty'],
  [';', 'The query is empty'],
  ['/* select 1', 'This is no valid PostgreSQL'],
  ['selct id from orders', 'This is no valid PostgreSQL'],
  ["select id from orders where id = 'open", 'This is no valid PostgreSQL'],
  // Parts of SELECT.
  ['with x as (delete from orders returning *) select * from x', 'WITH cannot be used'],
  ['with recursive x as (select 1 union all select 1 from x) select * from x', 'WITH cannot be used'],
  ['select id into stolen from orders', 'SELECT INTO'],
  ['select id from orders for update', 'FOR UPDATE'],
  ['select id from orders union select id from customers', 'UNION'],
  ['select id from orders group by id having count(*) > 1', 'HAVING'],
  ['select distinct on (id) id from orders', 'DISTINCT ON'],
  ['select id from orders fetch first 3 rows with ties', 'This is no valid PostgreSQL'],
  ['select id from orders order by id fetch first 3 rows with ties', 'This form of SELECT'],
  ['select (select id from auth.users) from orders', 'Subqueries'],
  ['select id from orders where id in (select id from auth.users)', 'Subqueries'],
  ['select id from orders where exists (select 1)', 'Subqueries'],
  ['select * from (select * from auth.users) as x', 'Subqueries'],
  ['select * from lateral (select 1) as x', 'Subqueries'],
  ['select id + 1 from orders', 'SELECT list can have columns'],
  ['select case when id = 1 then 2 end from orders', 'SELECT list can have columns'],
  ["select 'x' from orders", 'SELECT list can have columns'],
  ['select id from orders group by grouping sets ((id), ())', 'GROUP BY can name columns only'],
  // Operators and values.
  ['select id from orders where id operator(evil.=) 1', 'Operators cannot be named with a schema'],
  ["select id from orders where note ~ 'a'", 'The operator ~ cannot be used'],
  ['select id from orders where id === 1', 'The operator === cannot be used'],
  ['select id from orders where id = $1', 'Parameters'],
  ['select id from orders where id = null', 'IS NULL'],
  ['select id from orders where id in (1, null)', 'without NULL'],
  ['select id from orders where id = customer_id', 'Two columns cannot be compared'],
  ['select id from orders where note::int = 5', 'Columns cannot be cast in WHERE'],
  ["select id from orders where note = 'a'::regclass", 'This cast changes the value'],
  ["select id from orders where id = '5.7'::int", 'This cast changes the value'],
  ['select id::regclass from orders', 'casts of columns to plain types'],
  ['select id::public.evil from orders', 'casts of columns to plain types'],
  ['select id::numeric(1, 0) from orders', 'casts of columns to plain types'],
  ["select id from orders where tags @> 'x,or(id.gt.0)'", 'needs an array or a JSON object'],
  ['select id from orders where id is document', 'This cannot be a condition'],
  ['select id from orders where (id, note) = (1, 2)', 'A comparison needs a column'],
  ['select id from orders where id = 1 and 1 = 1', 'A comparison needs a column'],
  ['select id from orders where note collate "C" = \'x\'', 'A comparison needs a column'],
  ["select id from orders where note like 'a!%' escape '!'", 'Functions cannot be used'],
  ["select id from orders where tags[1] = 'x'", 'A comparison needs a column'],
  ["select id from orders where data @> '{}' or id = 1", 'cannot be part of this condition'],
  // Joins that would multiply.
  ['select * from orders, customers', 'separated by commas'],
  ['select * from orders cross join customers', 'A join needs ON'],
  ['select * from orders o join customers c on true', 'A join needs ON'],
  ['select * from orders natural join customers', 'NATURAL'],
  ['select * from orders o full join customers c on c.id = o.id', 'RIGHT and FULL'],
  ['select * from orders o join orders p on p.id = o.id', 'cannot be joined with itself'],
  ['select * from orders o join deals d on d.id = o.id', 'different schemas'],
  // Size and depth.
  [`select id from orders where note = '${'x'.repeat(10_000)}'`, 'longer than 10000'],
  [`select ${deep('(', ')', 3000)} from orders`, 'nested too deep'],
  [`select ${deep('array[', ']', 1000)} from orders`, 'nested too deep'],
  [`select ${'- '.repeat(4900)}id from orders`, 'SELECT list can have columns'],
  [`select id from orders${' join customers on true'.repeat(400)}`, 'A join needs ON'],
  [
    `select id from orders where ${Array.from({ length: 300 }, (_, i) => `id = ${i}`).join(' or ')}`,
    'more than 100 conditions',
  ],
  [
    `select id from orders where note in (${Array.from({ length: 95 }, (_, i) => `'${'ä'.repeat(20)}${i}'`).join(',')})`,
    'too long as a request',
  ],
  ['select id from orders\0; drop table orders', 'characters that no text'],
  ["select id from orders where note = '\ud800'", 'characters that no text'],
]

describe('attack T04: SQL that is more than a filtered list of columns never reaches the database', () => {
  it.each(refused)('%s', async (sql, text) => {
    const result = await query.execute({ query: sql }, unreachable)
    expect(result).toMatchObject({ isError: true, text: expect.stringContaining(text) })
    expect(result.text.length).toBeLessThan(1000)
  })

  it('goes on reading queries after some that take the stack of the parser', async () => {
    const deepQueries = [
      `select 1${'+1'.repeat(4900)} from orders`,
      `select id from orders where ${'not '.repeat(2401)}id is document`,
      `select a${'[1]'.repeat(3000)} from orders`,
      `select id from orders where id = 1${'::int'.repeat(1900)}::regclass`,
      `select id from orders where ${'done or '.repeat(1200)}done`,
    ]
    // Where the stack ends depends on the runtime, so what is said may be either of two things.
    for (let round = 0; round < 4; round++) {
      for (const sql of deepQueries) {
        const { text, isError } = await query.execute({ query: sql }, unreachable)
        expect(isError).toBe(true)
        expect(text).toMatch(
          /nested too deep|cannot be a condition|SELECT list can have|changes the value|more than 100 conditions/,
        )
      }
    }
    await expect(query.execute({ query: 'select id from orders' }, unreachable)).rejects.toThrow('reached the database')
  })

  it('lets comments and quoted names be what they are in SQL', async () => {
    for (const sql of [
      'select /* ; drop */ "id" from "public"."orders" -- ;',
      'select id from orders;',
      'SELECT id FROM ORDERS',
    ]) {
      await expect(query.execute({ query: sql }, unreachable)).rejects.toThrow('reached the database')
    }
  })
})

describe('attack T14: arguments of database_write that are no names and values', () => {
  const cases: [args: Record<string, unknown>, text: string][] = [
    [{ table: 'auth.users', operation: 'delete', where: { id: 1 } }, 'not available'],
    [{ table: 'a.b.c', operation: 'delete', where: { id: 1 } }, 'no name of a table'],
    [{ table: 'orders?or=(id.gt.0)', operation: 'delete', where: { id: 1 } }, 'no name of a table'],
    [{ table: '../rpc/evil', operation: 'insert', data: { id: 1 } }, 'no name of a table'],
    [{ table: 'orders', operation: 'delete' }, '"where" is missing'],
    [{ table: 'orders', operation: 'delete', where: {} }, '"where" is missing'],
    [{ table: 'orders', operation: 'update', data: { note: 'x' }, where: [] }, '"where" is missing'],
    [{ table: 'orders', operation: 'update', data: { note: 'x' }, where: 'true' }, '"where" is missing'],
    [{ table: 'orders', operation: 'update', data: { note: 'x' }, where: { 'or=(id.gt.0)&x': 1 } }, 'letters, digits'],
    [{ table: 'orders', operation: 'update', data: { note: 'x' }, where: { or: '(id.gt.0)' } }, 'cannot be used here'],
    [{ table: 'orders', operation: 'update', data: { note: 'x' }, where: { select: '*' } }, 'cannot be used here'],
    [{ table: 'orders', operation: 'delete', where: { id: { gt: 0 } } }, 'equality only'],
    [{ table: 'orders', operation: 'delete', where: { id: [1, 2] } }, 'equality only'],
    [{ table: 'orders', operation: 'delete', where: { ctid: '(0,1)' } }, 'system column'],
    [{ table: 'orders', operation: 'update', where: { id: 1 } }, 'must be one object'],
    [{ table: 'orders', operation: 'update', data: [{ a: 1 }, { a: 2 }], where: { id: 1 } }, 'must be one object'],
    [{ table: 'orders', operation: 'update', data: {}, where: { id: 1 } }, 'has no columns'],
    [{ table: 'orders', operation: 'insert', data: [] }, 'a row or a list of rows'],
    [{ table: 'orders', operation: 'insert', data: [1] }, 'a row or a list of rows'],
    [{ table: 'orders', operation: 'insert', data: { 'a,b': 1 } }, 'letters, digits'],
    [{ table: 'orders', operation: 'insert', data: { a: 1 }, where: { a: 1 } }, 'has no condition'],
    [{ table: 'orders', operation: 'insert', data: Array.from({ length: 101 }, () => ({ a: 1 })) }, 'At most 100 rows'],
  ]
  it.each(cases)('%j', async (args, text) => {
    const result = await write.execute(args, unreachable)
    expect(result.isError).toBe(true)
    expect(JSON.parse(result.text)).toEqual({
      success: false,
      rows_affected: 0,
      message: expect.stringContaining(text),
    })
  })
})

describe('the allow-list', () => {
  it('takes no table of the platform, and says so', () => {
    const schemas =
      'ai auth storage private pgboss pg_catalog pg_toast information_schema realtime vault extensions AUTH'
    for (const schema of schemas.split(' ')) {
      const { tables: allowed, problems } = readAllowList({ schemas: { [schema]: ['users'] } })
      expect(allowed).toEqual([])
      expect(problems).toEqual([`Tables of the schema ${schema} cannot be used by agents.`])
    }
  })

  it('takes names only, and is never silently empty', () => {
    expect(readAllowList({ schemas: { public: ['orders', 'a.b', 'x;y', 7, 'orders'] } })).toEqual({
      tables: [{ schema: 'public', name: 'orders' }],
      problems: expect.arrayContaining([expect.stringContaining('other characters')]),
    })
    for (const config of [
      null,
      undefined,
      {},
      { schemas: [] },
      { schemas: 'public' },
      { schemas: {} },
      { schemas: { public: [] } },
      { schemas: { 'a b': ['x'] } },
    ]) {
      const { tables: allowed, problems } = readAllowList(config)
      expect(allowed).toEqual([])
      expect(problems).toHaveLength(1)
    }
  })

  it('decides what a name without a schema means', () => {
    const both = createDatabaseQuery({
      tables: [
        { schema: 'a', name: 't' },
        { schema: 'b', name: 't' },
      ],
    })
    expect(both.description).toContain('- a.t\n- b.t')
    return expect(both.execute({ query: 'select id from t' }, unreachable)).resolves.toMatchObject({ isError: true })
  })
})

it('the tools say what they do to a run', () => {
  expect(query).toMatchObject({ name: 'database_query', effects: ['reads_untrusted'], isConcurrencySafe: true })
  expect(write).toMatchObject({ name: 'database_write', effects: ['writes'], isConcurrencySafe: false })
})
