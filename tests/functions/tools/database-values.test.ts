import { beforeAll, describe, expect, it } from 'vitest'
import { createDatabaseQuery } from '../../../supabase/functions/_shared/tools/database/query.ts'
import { createDatabaseWrite } from '../../../supabase/functions/_shared/tools/database/write.ts'
import type { ToolCallContext } from '../../../supabase/functions/_shared/tools/types.ts'
import { useStack } from '../../support/stack.ts'
import { babble, createRandom } from '../support/random.ts'
import { contextOf, HARBOR, rowsOf, WORLD } from './database-world.ts'

// Values are data: whatever is in them, a comparison finds the rows that have just this value.

const stack = useStack()
const tables = [{ schema: 'public', name: 'orders' }]
const query = createDatabaseQuery({ tables })
const write = createDatabaseWrite({ tables })

/** What means something to URLs, PostgREST, JSON, arrays, LIKE, regular expressions or SQL. */
const VOCABULARY = [
  ...[
    '"',
    "'",
    '\\',
    '(',
    ')',
    '{',
    '}',
    '[',
    ']',
    ',',
    '.',
    ':',
    ';',
    '%',
    '_',
    '*',
    '&',
    '=',
    '?',
    '#',
    '+',
    '/',
    '|',
    '^',
    '$',
  ],
  ...[
    '<',
    '>',
    '!',
    '~',
    '@',
    '-',
    '--',
    '/*',
    '*/',
    ' ',
    '  ',
    '\t',
    '\n',
    '\r\n',
    '%00',
    '%22',
    '%2C',
    '%5C',
    '\u00a0',
    '\u200b',
    '\u2028',
  ],
  ...[
    'or=(id.gt.0)',
    'and(',
    'not.',
    'in.(',
    'eq.',
    'is.null',
    'null',
    'NULL',
    'true',
    'any',
    'all',
    '(all)',
    '{}',
    '""',
    '\\"',
    '\\\\',
  ],
  ...[
    'a',
    'B',
    '0',
    '1e5',
    'NaN',
    'ß',
    'é',
    'e\u0301',
    '漢',
    '😀',
    '\u{10ffff}',
    '\u0001',
    '\u007f',
    '\ufeff',
    'İ',
    '$1',
    '$$',
    "''",
    '::int',
  ],
]

const random = createRandom(20261121)
const values = [
  ...VOCABULARY,
  ...Array.from({ length: 200 }, () => babble(VOCABULARY, 1 + Math.floor(random() * 8), random)),
]
const distinct = [...new Set(values)]

const literal = (value: string) => `'${value.replaceAll("'", "''")}'`
let context: ToolCallContext

beforeAll(async () => {
  await stack.db.exec(WORLD)
  context = await contextOf(stack, 'member@harbor.example', HARBOR)
  await stack.db.query(
    `insert into public.orders (id, tenant_id, note, tags)
     select 1000 + place, $1, value, array[value] from jsonb_array_elements_text($2::jsonb) with ordinality as list (value, place)`,
    [HARBOR, JSON.stringify(distinct)],
  )
})

const idOf = (value: string) => 1001 + distinct.indexOf(value)
const find = async (condition: string) =>
  rowsOf(
    await query.execute({ query: `select id from orders where ${condition} order by id limit 1000` }, context),
  ).map(({ id }) => id)

describe('a value of any characters', () => {
  it('is found by =, alone and under OR, and by nothing else', async () => {
    for (const value of distinct) {
      expect(await find(`note = ${literal(value)}`), JSON.stringify(value)).toEqual([idOf(value)])
      expect(await find(`note = ${literal(value)} or id < 0`), JSON.stringify(value)).toEqual([idOf(value)])
    }
  })

  it('is found among others by IN and left out by <>', async () => {
    for (let at = 0; at + 5 <= distinct.length; at += 5) {
      const some = distinct.slice(at, at + 5)
      const ids = some.map(idOf)
      expect(await find(`note in (${some.map(literal).join(', ')})`)).toEqual(ids)
      expect(await find(`note in (${some.map(literal).join(', ')}) or id is null`)).toEqual(ids)
      const others = some.map((value) => `note <> ${literal(value)}`).join(' and ')
      expect(await find(`${others} and id > 1000`)).toHaveLength(distinct.length - 5)
    }
  })

  it('is found by LIKE with its wildcards escaped, as SQL does it', async () => {
    for (const value of distinct) {
      const pattern = literal(value.replace(/[\\%_]/g, '\\$&'))
      expect(await find(`note like ${pattern}`), JSON.stringify(value)).toEqual([idOf(value)])
      expect(await find(`note like ${pattern} or id < 0`), JSON.stringify(value)).toEqual([idOf(value)])
    }
  })

  it('is found inside of arrays', async () => {
    for (const value of distinct.filter((_, index) => index % 3 === 0)) {
      expect(await find(`tags @> array[${literal(value)}] and id > 1000`), JSON.stringify(value)).toEqual([idOf(value)])
    }
  })

  it('is the one that is changed, and the only one', async () => {
    for (const value of distinct.filter((_, index) => index % 3 === 0)) {
      const result = await write.execute(
        { table: 'orders', operation: 'update', data: { status: value }, where: { note: value } },
        context,
      )
      expect(JSON.parse(result.text), JSON.stringify(value)).toMatchObject({ success: true, rows_affected: 1 })
    }
    const [row] = await stack.db.query<{ wrong: number; right: number }>(
      `select count(*) filter (where status is distinct from note)::int as wrong, count(*) filter (where status = note)::int as right
       from public.orders where id > 1000 and status is not null`,
    )
    expect(row).toEqual({ wrong: 0, right: distinct.filter((_, index) => index % 3 === 0).length })
  })
})
