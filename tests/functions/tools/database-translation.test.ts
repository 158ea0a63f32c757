import { describe, expect, it } from 'vitest'
import { requestOf } from '../../../supabase/functions/_shared/tools/database/execute.ts'
import { parseStatement } from '../../../supabase/functions/_shared/tools/database/parser.ts'
import { planOf } from '../../../supabase/functions/_shared/tools/database/select.ts'
import {
  readAllowList,
  type TableDescription,
  usable,
} from '../../../supabase/functions/_shared/tools/database/tables.ts'

const { tables } = readAllowList({
  schemas: { public: ['notes', 'orders', 'customers', 'items', 'regions', 'parts'], sales: ['deals'] },
})

const table = (
  name: string,
  columns: string,
  foreignKeys: [name: string, columns: string, table: string, referenced: string][] = [],
  keys: string[][] = [['id']],
): TableDescription => ({
  schema: 'public',
  name,
  columns: columns.split(' ').map((column) => ({ name: column, type: 'text' })),
  keys,
  foreignKeys: foreignKeys.map(([key, from, to, referenced]) => ({
    name: key,
    columns: from.split(' '),
    schema: 'public',
    table: to,
    referencedColumns: referenced.split(' '),
  })),
})

/** `notes` is not described, so that both ways are tested. */
const descriptions = [
  table(
    'customers',
    'tenant_id id name region_id',
    [['customers_region', 'region_id', 'regions', 'id']],
    [['id'], ['tenant_id', 'id']],
  ),
  table('orders', 'tenant_id id customer_id total status', [['orders_customer', 'customer_id', 'customers', 'id']]),
  table('items', 'id order_id label', [['items_order', 'order_id', 'orders', 'id']]),
  table('regions', 'id label'),
  table('parts', 'tenant_id customer_id name', [
    ['parts_customer', 'tenant_id customer_id', 'customers', 'tenant_id id'],
  ]),
]

/** The request for a query, e.g. `/notes?select=__c0:id&id=in.("7")`. */
const translate = async (sql: string): Promise<string> => {
  const request = requestOf(planOf(await parseStatement(sql), tables, descriptions), descriptions)
  const schema = request.schema === 'public' ? '' : `${request.schema}.`
  return [
    `${schema}${request.table}?select=${request.select}`,
    ...request.parameters.map((pair) => pair.join('=')),
    ...(request.order === null ? [] : [`order=${request.order}`]),
  ].join('&')
}

/** `select id from notes where ...` and its parameters. */
const conditions: [sql: string, parameters: string][] = [
  ['id = 7', 'id=in.("7")'],
  ['7 = id', 'id=in.("7")'],
  ['id <> 7', 'id=not.in.("7")'],
  ['id != 7', 'id=not.in.("7")'],
  ['id < 7', 'id=lt(all).{"7"}'],
  ['7 < id', 'id=gt(all).{"7"}'],
  ['id <= -7', 'id=lte(all).{"-7"}'],
  ['id >= 1.5e3', 'id=gte(all).{"1.5e3"}'],
  ['not id >= 3', 'id=lt(all).{"3"}'],
  ['not (id < 3 or id > 9)', 'id=gte(all).{"3"}&and=(id.lte."9")'],
  ["title = 'it''s'", `title=in.("it's")`],
  ["title = E'a\\tb'", 'title=in.("a\tb")'],
  ['title = $$x$$', 'title=in.("x")'],
  ["title = ''", 'title=in.("")'],
  ["title like 'a%_'", 'title=like(all).{"a%_"}'],
  ["title not like 'a%'", 'title=not.like(all).{"a%"}'],
  ["title ilike '%b%'", 'title=ilike(all).{"%b%"}'],
  ["title like '%a%' and title like '%b%'", 'title=like(all).{"%a%","%b%"}'],
  ["title like 'a*%'", 'title=match(all).{"^a\\\\u002a.*$"}'],
  ["title like 'a\\%*'", 'title=match(all).{"^a\\\\u0025\\\\u002a$"}'],
  ['id in (1, 2, 3)', 'id=in.("1","2","3")'],
  ['id not in (1, 2)', 'id=not.in.("1","2")'],
  ['id = any(array[1, 2])', 'id=in.("1","2")'],
  ['id = 1 or id = 2 or id in (3, 4)', 'id=in.("1","2","3","4")'],
  ['id in (1, 2) and id in (2, 3)', 'id=in.("2")'],
  ['id <> 1 and id <> 2', 'id=not.in.("1","2")'],
  ['id between 1 and 5', 'id=gte(all).{"1"}&and=(id.lte."5")'],
  ['id not between 1 and 5', 'and=(or(id.lt."1",id.gt."5"))'],
  ['title is null', 'title=is.null'],
  ['title is not null', 'title=not.is.null'],
  ['not title is null', 'title=not.is.null'],
  ['done is true', 'done=is.true'],
  ['done is not false', 'done=not.is.false'],
  ['done is unknown', 'done=is.unknown'],
  ['done', 'done=in.("true")'],
  ['not done', 'done=not.in.("true")'],
  ['done = false', 'done=in.("false")'],
  ["title is distinct from 'x'", 'and=(or(title.not.in.("x"),title.is.null))'],
  ["title is not distinct from 'x'", 'title=in.("x")&and=(title.not.is.null)'],
  ['title is not distinct from null', 'title=is.null'],
  ["tags @> '{a,b}'", 'tags=cs.{a,b}'],
  ["tags @> array['a b', 'c\"d']", 'tags=cs.{"a b","c\\"d"}'],
  ["tags <@ '{a}'", 'tags=cd.{a}'],
  ["tags && '{a}'", 'tags=ov.{a}'],
  [`data @> '{"a": 1}'::jsonb`, 'data=cs.{"a": 1}'],
  ["data->>'city' = 'Ulm'", 'data->>city=in.("Ulm")'],
  ["data->'a'->0->>'b' = 'x'", 'data->a->0->>b=in.("x")'],
  ["data->'n' > '5'", 'and=(data->n.gt."5")'],
  ["created_at >= '2026-01-01'::date", 'created_at=gte(all).{"2026-01-01"}'],
  ["created_at >= timestamptz '2026-01-01 10:00+00'", 'created_at=gte(all).{"2026-01-01 10:00+00"}'],
  ["id = '5'::int", 'id=in.("5")'],
  ["title = 'a' or done is true", 'and=(or(title.in.("a"),done.is.true))'],
  ["not (title = 'a' and done is true)", 'and=(or(title.not.in.("a"),done.not.is.true))'],
  ["title = 'a' and (id = 1 or done)", 'title=in.("a")&and=(or(id.in.("1"),done.in.("true")))'],
  ["title like 'a%' or id > 3", 'and=(or(title.like.a%,id.gt."3"))'],
  ["title = 'a,b' or id = 3", 'and=(or(title.match.^a\\u002cb$,id.in.("3")))'],
  ["title like 'a)%' or id = 3", 'and=(or(title.match.^a\\u0029.*$,id.in.("3")))'],
  ['"order" = 1', 'and=(order.in.("1"))'],
  ['n.id = 1', 'id=in.("1")'],
]

describe('WHERE becomes parameters', () => {
  it.each(conditions)('%s', async (sql, parameters) => {
    expect(await translate(`select id from notes as n where ${sql}`)).toBe(`notes?select=__c0:id&${parameters}`)
  })
})

const queries: [sql: string, request: string][] = [
  ['select * from notes', 'notes?select=*'],
  ['select n.* from public.notes n', 'notes?select=*'],
  ['SELECT ID, Title AS t FROM Notes', 'notes?select=__c0:id,__c1:title'],
  ['select id from sales.deals', 'sales.deals?select=__c0:id'],
  ['select id from deals', 'sales.deals?select=__c0:id'],
  ['select * from regions', 'regions?select=__c0:id,__c1:label'],
  ['select id::text, total::numeric as n from notes', 'notes?select=__c0:id::text,__c1:total::numeric'],
  ["select data->'a'->>'b' as b from notes", 'notes?select=__c0:data->a->>b'],
  ["select (data->>'n')::int from notes", 'notes?select=__c0:data->>n::int4'],
  ['select id from notes order by id', 'notes?select=__c0:id&order=id.asc.nullslast'],
  ['select id from notes order by title desc, id', 'notes?select=__c0:id&order=title.desc.nullsfirst,id.asc.nullslast'],
  ['select id from notes order by id desc nulls last', 'notes?select=__c0:id&order=id.desc.nullslast'],
  [
    'select title as t from notes order by t, 1',
    'notes?select=__c0:title&order=title.asc.nullslast,title.asc.nullslast',
  ],
  ["select id from notes order by data->>'a'", 'notes?select=__c0:id&order=data->>a.asc.nullslast'],
  ['select status, count(*) from orders group by status', 'orders?select=__c0:status&order=status.asc.nullslast'],
  [
    'select status, sum(total), min(id) from orders group by 1',
    'orders?select=__c0:status,__c1:total::text,__c2:id&order=status.asc.nullslast,total.asc.nullslast,id.asc.nullslast',
  ],
  ['select distinct status from orders', 'orders?select=__c0:status&order=status.asc.nullslast'],
  [
    'select o.id, c.name from orders o join customers c on c.id = o.customer_id',
    'orders?select=__c0:id,__t1:customers!orders_customer!inner(__c1:name)',
  ],
  [
    // A key of several columns may be written in part where that part is unique; the compared columns are fetched, to be checked.
    'select p.name, c.name from parts p join customers c on p.customer_id = c.id',
    'parts?select=__c0:name,__p1_0:customer_id,__t1:customers!parts_customer!inner(__c1:name,__k1_0:id)',
  ],
  [
    'select p.name from parts p join customers c on c.tenant_id = p.tenant_id and p.customer_id = c.id',
    'parts?select=__c0:name,__p1_0:tenant_id,__p1_1:customer_id,' +
      '__t1:customers!parts_customer!inner(__k1_0:tenant_id,__k1_1:id)',
  ],
  [
    'select o.id, name from orders o left join customers c on c.id = o.customer_id',
    'orders?select=__c0:id,__t1:customers!orders_customer(__c1:name)',
  ],
  [
    "select o.id from orders o left join customers c on c.id = o.customer_id where c.name = 'x'",
    'orders?select=__c0:id,__t1:customers!orders_customer!inner(id)&__t1.name=in.("x")',
  ],
  [
    'select o.id from orders o left join customers c on c.id = o.customer_id where c.id is null',
    'orders?select=__c0:id,__t1:customers!orders_customer(id)&__t1=is.null',
  ],
  [
    // The table that holds the key comes first, so that limits count its rows.
    "select c.name, o.total from customers c join orders o on o.customer_id = c.id where o.status = 'open' order by o.total, c.name",
    'orders?select=__c1:total,__t0:customers!orders_customer!inner(__c0:name)&status=in.("open")' +
      '&order=total.asc.nullslast,__t0(name).asc.nullslast',
  ],
  [
    "select o.id from orders o join customers c on c.id = o.customer_id and c.name like 'A%'",
    'orders?select=__c0:id,__t1:customers!orders_customer!inner(id)&__t1.name=like(all).{"A%"}',
  ],
  [
    'select i.label, c.name from items i join orders o on o.id = i.order_id join customers c on c.id = o.customer_id',
    'items?select=__c0:label,__t1:orders!items_order!inner(__t2:customers!orders_customer!inner(__c1:name))',
  ],
  [
    "select i.label from items i left join orders o on o.id = i.order_id left join customers c on c.id = o.customer_id where c.name = 'x' or c.name = 'y(z'",
    'items?select=__c0:label,__t1:orders!items_order!inner(__t2:customers!orders_customer!inner(id))&__t1.__t2.name=in.("x","y(z")',
  ],
  [
    'select c.name, o.id from customers c left join orders o on o.customer_id = c.id',
    'customers?select=__c0:name,__t1:orders!orders_customer(__c1:id)',
  ],
  [
    'select * from items join orders on orders.id = items.order_id',
    'items?select=__c0:id,__c1:order_id,__c2:label,' +
      '__t1:orders!items_order!inner(__c3:tenant_id,__c4:id,__c5:customer_id,__c6:total,__c7:status)',
  ],
]

describe('SELECT becomes a request', () => {
  it.each(queries)('%s', async (sql, request) => {
    expect(await translate(sql)).toBe(request)
  })
})

it('leaves columns and keys aside whose names no query can write', async () => {
  const odd: TableDescription = {
    ...table('notes', 'id', [['fk),x(', 'id', 'regions', 'id']]),
    columns: ['id', 'a b', 'c,d:*', 'ctid'].map((name) => ({ name, type: 'text' })),
  }
  expect(usable([odd])).toEqual([{ ...odd, columns: [{ name: 'id', type: 'text' }], foreignKeys: [] }])
})
