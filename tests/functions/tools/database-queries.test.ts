import { beforeAll, describe, expect, it } from 'vitest'
import { createDatabaseQuery, resultText } from '../../../supabase/functions/_shared/tools/database/query.ts'
import { readAllowList, type TableDescription } from '../../../supabase/functions/_shared/tools/database/tables.ts'
import type { Tool, ToolCallContext } from '../../../supabase/functions/_shared/tools/types.ts'
import { useStack } from '../../support/stack.ts'
import { contextOf, HARBOR, MERIDIAN, rowsOf, WORLD } from './database-world.ts'

const stack = useStack()
const { tables } = readAllowList({
  schemas: { public: ['orders', 'customers', 'memories', 'memberships', 'tenants', 'depots', 'visits'] },
})

let described: Tool
let harbor: ToolCallContext
let meridian: ToolCallContext
const undescribed = createDatabaseQuery({ tables })

beforeAll(async () => {
  await stack.db.exec(WORLD)
  harbor = await contextOf(stack, 'member@harbor.example', HARBOR)
  meridian = await contextOf(stack, 'member@meridian.example', MERIDIAN)
  const { data } = await (await harbor.principal.db()).schema('ai').rpc('describe_tables', { tables })
  described = createDatabaseQuery({ tables, descriptions: data as TableDescription[] })
})

const ask = async (query: string, context = harbor, tool = described) => rowsOf(await tool.execute({ query }, context))

describe('what the person may see', () => {
  it('is all that a query for all rows gets', async () => {
    for (const tool of [described, undescribed]) {
      const mine = await ask('select id, note from orders order by id', meridian, tool)
      expect(mine).toEqual([{ id: 5, note: 'canary-b-order' }])
      const theirs = JSON.stringify(await ask('select id, note, tenant_id from orders', harbor, tool))
      expect(theirs).toContain('first')
      expect(theirs).not.toContain('canary-b')
      expect(theirs).not.toContain(MERIDIAN)
    }
    expect(await ask('select body from memories', meridian)).toEqual([
      { body: 'Meridian Health never gives medical advice in chat.' },
    ])
    expect(await ask('select name from tenants', meridian)).toEqual([{ name: 'Meridian Health' }])
  })

  it('is all that counts, sums and joins are made of', async () => {
    expect(await ask('select count(*) from orders', meridian)).toEqual([{ count: 1 }])
    expect(await ask('select count(*) as n from orders')).toEqual([{ n: 4 }])
    expect(await ask('select sum(total) from orders', meridian)).toEqual([{ sum: 7 }])
    expect(await ask('select c.name from orders o join customers c on c.id = o.customer_id', meridian)).toEqual([
      { name: 'canary-b-customer' },
    ])
    expect(await ask(`select id from orders where tenant_id = '${MERIDIAN}'`)).toEqual([])
    expect(await ask(`select count(*) from orders where tenant_id = '${MERIDIAN}'`)).toEqual([{ count: 0 }])
  })

  it('leaves out columns that are closed to them', async () => {
    const [row] = await ask('select * from orders where id = 1')
    expect(Object.keys(row ?? {})).toEqual('id tenant_id customer_id status note total tags data placed_at'.split(' '))
    const refused = await undescribed.execute({ query: 'select secret from orders' }, harbor)
    expect(refused).toMatchObject({ isError: true, text: expect.stringContaining('You may not do this.') })
    const unknown = await described.execute({ query: 'select secret from orders' }, harbor)
    expect(unknown.text).toContain('orders has no column secret. Its columns are: id, tenant_id')
  })
})

/** Ids of Harbor's orders that a condition finds. */
const found: [condition: string, ids: number[]][] = [
  ['id = 2', [2]],
  ['id <> 2', [1, 3, 4]],
  ['id > 1 and id < 4', [2, 3]],
  ['id between 2 and 3', [2, 3]],
  ['id not between 2 and 3', [1, 4]],
  ['id in (1, 4, 5)', [1, 4]],
  ['id not in (1, 4)', [2, 3]],
  ['id in (1, 2) and id in (2, 3)', [2]],
  ['id >= 2 and id >= 3', [3, 4]],
  ['id <> 1 and id <> 2 and id < 4', [3]],
  ['note is null', [3]],
  ["note is not null and note <> 'first'", [2, 4]],
  ["note <> 'first'", [2, 4]],
  ["not (note = 'first' or id = 2)", [4]],
  ["note like '%s%' and note like '%d%'", [2]],
  ["note not like 'f%' and note not like 's%'", [4]],
  ["note ilike 'FIRST'", [1]],
  ["note like '%*%'", [4]],
  ["note like '50\\% *___*'", [4]],
  ["note = '50% *off*'", [4]],
  ["note = '50% *off*' or note = 'first'", [1, 4]],
  ["note like '%*off*' or id = 1", [1, 4]],
  ["note is distinct from 'first'", [2, 3, 4]],
  ["note is not distinct from 'first'", [1]],
  ["tags @> '{b}'", [1, 2]],
  ["tags @> array['c d']", [2]],
  ["tags && '{a,x}'", [1]],
  ["tags <@ '{a,b,c}'", [1, 3]],
  [`data @> '{"city": "Ulm"}'`, [1]],
  [`data @> '{"lines": [{"sku": "x"}]}'`, [1]],
  ["data->>'city' = 'Ulm'", [1]],
  ["data->'n' > '7'", [2]],
  ["data->'lines'->0->>'sku' = 'x'", [1]],
  ["data->>'city' is null", [3, 4]],
  ["placed_at >= '2026-02-01'", [2, 3]],
  ["placed_at >= '2026-01-15' and placed_at < '2026-02-15'::date", [2]],
  ['total > 1', [1, 3]],
  ["status = 'open' and (id = 1 or note = 'second')", [1, 2]],
  ["(status = 'open' and id = 1) or (status = 'done' and id = 4)", [1, 4]],
  ["status = 'open' or note is null", [1, 2, 3]],
]

describe('conditions find what they find in SQL', () => {
  it.each(found)('%s', async (condition, ids) => {
    const rows = await ask(`select id from orders where ${condition} order by id`)
    expect(rows.map(({ id }) => id)).toEqual(ids)
    const sql = await stack.db.query<{ id: number }>(
      `select id from public.orders where tenant_id = '${HARBOR}' and (${condition}) order by id`,
    )
    expect(sql.map(({ id }) => id)).toEqual(ids)
  })
})

describe('selecting', () => {
  it('names, casts, and takes values out of JSON', async () => {
    const query =
      "select id::text as key, total, data->>'city' as city, data->'lines'->0 as line, placed_at::date d from orders where id = 1"
    expect(await ask(query)).toEqual([{ key: '1', total: 10.1, city: 'Ulm', line: { sku: 'x' }, d: '2026-01-01' }])
  })

  it('says so where digits of a number were lost on the way', () => {
    const textOf = (json: string) =>
      resultText({ rows: [{ id: 1 }, JSON.parse(json) as Record<string, unknown>], notes: [] })
    // As the Data API answers bigints, which JavaScript has no numbers for.
    expect(textOf('{"id": 9007199254740993}')).toMatch(/"note":"Whole numbers .*id::text/)
    expect(textOf('{"doc": {"ids": [1, 9007199254740993]}}')).toMatch(/"note":"Whole numbers/)
    for (const whole of ['9007199254740991', '0.1', '"9007199254740993"', 'null']) {
      expect(textOf(`{"id": ${whole}}`)).not.toContain('note')
    }
  })

  it('sorts, with nulls where SQL puts them or is told to', async () => {
    const ids = async (order: string) => (await ask(`select id from orders order by ${order}`)).map(({ id }) => id)
    expect(await ids('total')).toEqual([2, 1, 3, 4])
    expect(await ids('total desc')).toEqual([4, 3, 1, 2])
    expect(await ids('total desc nulls last, id')).toEqual([3, 1, 2, 4])
    expect(await ids("data->>'city' desc nulls last, id desc")).toEqual([1, 2, 4, 3])
  })

  it('limits, skips, and says when there is more', async () => {
    expect(await ask('select id from orders order by id limit 2 offset 1')).toEqual([{ id: 2 }, { id: 3 }])
    await stack.db.exec(`insert into public.untouched select n, 'row ' || n from generate_series(2, 1200) as n;
      create policy "all" on public.untouched for select to authenticated using (true);`)
    const tool = createDatabaseQuery({ tables: [{ schema: 'public', name: 'untouched' }] })
    const few = await tool.execute({ query: 'select id from untouched order by id' }, harbor)
    expect(JSON.parse(few.text)).toMatchObject({
      row_count: 100,
      note: expect.stringContaining('more rows than these 100'),
    })
    const many = await tool.execute({ query: 'select id from untouched order by id limit 5000' }, harbor)
    expect(JSON.parse(many.text)).toMatchObject({ row_count: 1000, note: expect.stringContaining('these 1000') })
    // Groups are made of more rows than one request has.
    const groups = rowsOf(
      await tool.execute({ query: 'select count(id), min(id), max(id), sum(id) from untouched' }, harbor),
    )
    expect(groups).toEqual([{ count: 1200, min: 1, max: 1200, sum: 720_600 }])
    await stack.db.exec(
      `insert into public.untouched select n, repeat('x', 2000) from generate_series(2000, 11000) as n`,
    )
    const tooMany = await tool.execute({ query: 'select sum(id) from untouched' }, harbor)
    expect(tooMany).toMatchObject({ isError: true, text: expect.stringContaining('There are 10201 rows, too many') })
    expect(rowsOf(await tool.execute({ query: 'select count(*) from untouched' }, harbor))).toEqual([{ count: 10_201 }])
    const long = await tool.execute({ query: 'select * from untouched where id > 2000 limit 1000' }, harbor)
    expect(long.text.length).toBeLessThanOrEqual(50_000)
    expect(JSON.parse(long.text)).toMatchObject({ note: expect.stringContaining('of 1000 rows fit into the answer') })
  })

  it('groups, adds up without losing digits, and sorts by what it computed', async () => {
    expect(
      await ask(
        'select status, count(*) n, sum(total), count(note), max(placed_at) from orders group by status order by n desc, status desc',
      ),
    ).toEqual([
      { status: 'open', n: 2, sum: 10.3, count: 2, max: '2026-02-01T10:00:00+00:00' },
      { status: 'done', n: 2, sum: '99999999999999999999.5', count: 1, max: '2026-03-01T10:00:00+00:00' },
    ])
    expect(await ask('select avg(total) from orders where id < 3')).toEqual([{ avg: 5.15 }])
    expect(await ask('select sum(total), max(note) from orders where id > 900')).toEqual([{ sum: null, max: null }])
    expect(await ask('select status, count(*) from orders where id > 900 group by status')).toEqual([])
    expect(await ask('select distinct status from orders order by status desc')).toEqual([
      { status: 'open' },
      { status: 'done' },
    ])
    expect(await ask('select count(distinct status), count(distinct customer_id) from orders')).toEqual([
      { count: 2, count_2: 2 },
    ])
    expect(await ask("select data->>'city' city, count(*) from orders group by 1 order by 1 nulls first")).toEqual([
      { city: null, count: 2 },
      { city: 'Bonn', count: 1 },
      { city: 'Ulm', count: 1 },
    ])
  })
})

describe('joining', () => {
  it('keeps rows without a partner in a LEFT JOIN only', async () => {
    const from = 'from orders o {} join customers c on c.id = o.customer_id'
    const names = async (kind: string, rest: string) =>
      (await ask(`select o.id, c.name ${from.replace('{}', kind)} ${rest}`)).map(({ id, name }) => [id, name])
    expect(await names('left', 'order by o.id')).toEqual([
      [1, 'Ahab'],
      [2, 'Ahab'],
      [3, 'Bildad'],
      [4, null],
    ])
    expect(await names('inner', 'order by o.id desc')).toEqual([
      [3, 'Bildad'],
      [2, 'Ahab'],
      [1, 'Ahab'],
    ])
    expect(await names('inner', 'order by c.name desc limit 1')).toEqual([[3, 'Bildad']])
    expect(await names('left', "where c.name = 'Bildad'")).toEqual([[3, 'Bildad']])
    expect(await names('left', 'where c.id is null')).toEqual([[4, null]])
    expect(await names('inner', "and c.name like 'A%' where o.status = 'open' order by o.id desc limit 1")).toEqual([
      [2, 'Ahab'],
    ])
  })

  it('repeats a row for each of its partners', async () => {
    const query = 'select c.name, o.id from customers c {} join orders o on o.customer_id = c.id {} limit 2'
    const rows = async (kind: string, rest: string) =>
      (await ask(query.replace('{}', kind).replace('{}', rest))).map(({ name, id }) => [name, id])
    expect(await rows('inner', 'order by o.id desc')).toEqual([
      ['Bildad', 3],
      ['Ahab', 2],
    ])
    expect((await rows('left', 'order by c.name')).sort()).toEqual([
      ['Ahab', 1],
      ['Ahab', 2],
    ])
    expect(
      await ask(
        'select c.name, count(o.id) from customers c left join orders o on o.customer_id = c.id group by c.name order by 1',
      ),
    ).toEqual([
      { name: 'Ahab', count: 2 },
      { name: 'Bildad', count: 1 },
    ])
  })

  it('follows keys of the schema itself', async () => {
    expect(
      await ask('select t.name, m.role from memberships m join tenants t on t.id = m.tenant_id', meridian),
    ).toContainEqual({
      name: 'Meridian Health',
      role: 'member',
    })
  })

  it('pairs rows by the whole of a key of several columns, or says that it cannot', async () => {
    const queries: [query: string, rows: Record<string, unknown>[]][] = [
      [
        'select v.id, d.name from visits v join depots d on d.id = v.depot_id order by v.id',
        [
          { id: 1, name: 'south' },
          { id: 2, name: 'north' },
        ],
      ],
      ["select v.id from visits v join depots d on d.id = v.depot_id where d.name = 'south'", [{ id: 1 }]],
      ["select count(*) from visits v join depots d on d.id = v.depot_id where d.name = 'south'", [{ count: 1 }]],
      [
        'select d.name, v.id from depots d left join visits v on v.depot_id = d.id order by d.id',
        [
          { name: 'north', id: 2 },
          { name: 'south', id: 1 },
        ],
      ],
    ]
    for (const [query, rows] of queries) {
      const result = await described.execute({ query }, harbor)
      if (result.isError) expect(result.text).toContain('This join cannot be answered here.')
      else expect(rowsOf(result)).toEqual(rows)
    }
  })

  it('is refused off the keys, and without knowing them', async () => {
    const refusals = [
      [described, 'select o.id from orders o join customers c on c.name = o.note', 'Join them on: (customer_id)'],
      [
        described,
        'select o.id from orders o join customers c on c.tenant_id = o.tenant_id',
        'not joined on a foreign key',
      ],
      [undescribed, 'select o.id from orders o join customers c on c.id = o.customer_id', 'query one, then the other'],
    ] as const
    for (const [tool, query, text] of refusals) {
      expect(await tool.execute({ query }, harbor)).toMatchObject({
        isError: true,
        text: expect.stringContaining(text),
      })
    }
  })
})

describe('the texts of the database', () => {
  it('reach the model neither with values nor with hints', async () => {
    const failing: [query: string, text: string][] = [
      ["select id from orders where id = 'canary-value'", 'A value has the wrong form'],
      ["select id from orders where id like 'x'", 'This operator does not work on this column.'],
      ['select nope from orders', 'The table has no column of that name.'],
      ['select sum(note) from orders', 'sum and avg need a column of numbers.'],
    ]
    for (const [query, text] of failing) {
      const result = await undescribed.execute({ query }, harbor)
      expect(result).toMatchObject({ isError: true, text: expect.stringContaining(text) })
      expect(result.text).not.toMatch(/canary|syntax|operator does not exist|orders\./)
    }
  })

  it('are not waited for once the run is over', async () => {
    const over = new AbortController()
    over.abort(new Error('run cancelled'))
    await expect(
      described.execute({ query: 'select id from orders' }, { ...harbor, signal: over.signal }),
    ).rejects.toThrow('run cancelled')
  })
})

it('the description names tables, columns and keys', () => {
  expect(described.description).toContain('- customers (id integer, tenant_id uuid, name text)')
  expect(described.description).toContain('(customer_id) references customers (id)')
  expect(described.description).not.toContain('secret')
  expect(undescribed.description).toContain('\n- orders\n- customers\n')
})
