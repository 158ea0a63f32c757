// R10, R11, R12, R13: what is deleted, hidden, rolled back or late is not found; what one model has embedded is never compared
// with another's; no state of one search is there for the next; and the ledger takes nothing but what was leased.
import { randomUUID } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { buildGraph, clear, fill, MODEL, range } from './support/fill.ts'
import { useWorld } from './support/use-world.ts'
import { PERSON, TENANT, type Row, type Run } from './support/world.ts'

const TOPIC = 7
const POINT = `isolation.question_point(${TOPIC}), '${MODEL}'`
const SEARCH = `select * from ai.search(isolation.question(${TOPIC}), ${POINT}, match_count => 50)`

const world = useWorld(async (opened) => {
  await fill(opened, { label: 'own', tenant: 'a', count: 300, topics: range(1, 10) })
  await fill(opened, { label: 'foreign', tenant: 'b', count: 300, topics: range(1, 10), echo: true })
  await buildGraph(opened, 'a')
})

/** Does `change` as the superuser and looks at what is left, in one transaction that is rolled back. */
async function after<T>(change: string, look: (run: Run) => Promise<T>): Promise<T> {
  await world.exec('begin')
  try {
    await world.exec(change)
    return await look(world.run)
  } finally {
    await world.exec('rollback')
  }
}

/** What a person finds after a change that is rolled back. */
async function foundAfter(change: string, search = SEARCH, person = PERSON.member): Promise<string[]> {
  const { rows } = await world.watch(person, async (run) => {
    await world.exec(`set local role none; ${change}; set local role authenticated`)
    return run(search)
  })
  return rows.map((row) => String(row['source_name']))
}

/** Where the index differs from what it is made from; nothing, when it is exact. */
const INEXACT = `
  select 'item without a chunk' as what, item_id::text as which from private.search_lexemes
  join private.search_segments on search_segments.id = search_lexemes.segment_id and search_segments.kind = 'chunk'
  where not exists (select from ai.chunks where chunks.id = item_id)
  union all
  select 'chunk without an item', id::text from ai.chunks where not exists (select from private.search_lexemes where item_id = chunks.id)
  union all
  select 'vector without an item', item_id::text from private.search_vectors as vectors
  where not exists (
    select from private.search_lexemes as items where items.item_id = vectors.item_id and items.segment_id = vectors.segment_id
  )
  union all
  select 'segment', search_segments.id::text
  from private.search_segments
  cross join lateral (
    select count(*) as items, coalesce(sum(items.term_count), 0) as terms
    from private.search_lexemes as items
    where items.segment_id = search_segments.id
  ) as counted
  where search_segments.item_count <> counted.items or search_segments.term_count <> counted.terms
  union all
  select 'set', id::text from private.vector_sets
  where item_count <> (select count(*) from private.search_vectors where vector_set_id = vector_sets.id)
  union all
  select 'frequency', coalesce(kept.key, counted.key)::text
  from private.term_statistics as kept
  full join (
    select items.segment_id, hashtextextended(words.lexeme, items.segment_id) as key, count(*) as item_count
    from private.search_lexemes as items
    cross join lateral unnest(items.lexemes) as words
    group by 1, 2
  ) as counted on counted.segment_id = kept.segment_id and counted.key = kept.key
  where kept.item_count is distinct from counted.item_count
  limit 20
`

describe('R10 no state of a search is there for the next', () => {
  const setting = (part: number) => `current_setting('bulkhead.search_terms_${part}', true)`

  it('the question is set for its transaction only', async () => {
    const [during] = await world.as(PERSON.member, async (run) => {
      await run(SEARCH)
      return run(`select coalesce(${setting(1)}, '') as one, coalesce(${setting(2)}, '') as two`)
    })
    expect(during?.['one']).toMatch(/^\{-?\d+/)
    expect(during?.['two']).toMatch(/^\{-?\d+/)
    const [later] = await world.run(`select coalesce(${setting(1)}, '') as one, coalesce(${setting(2)}, '') as two`)
    expect(later).toEqual({ one: '', two: '' })
    const [row] = await world.as(PERSON.member, (run) =>
      run('select count(*)::int as items from private.search_lexemes'),
    )
    expect(row).toEqual({ items: 0 })
  })

  it('whoever sets it himself, to every key there is, finds his own and no other', async () => {
    const [all] = await world.run<{ keys: string }>(
      `select array_agg(distinct key)::text as keys from private.search_lexemes cross join lateral unnest(keys) as key`,
    )
    const rows = await world.as(PERSON.member, async (run) => {
      await run(
        `select set_config('bulkhead.search_terms_1', $1, true), set_config('bulkhead.search_terms_2', $1, true)`,
        [all?.keys],
      )
      return run('select tenant_id, count(*)::int as items from private.search_lexemes group by tenant_id')
    })
    expect(rows.map(({ tenant_id: tenant }) => tenant)).toEqual([TENANT.a])
    expect(rows[0]?.['items']).toBeGreaterThanOrEqual(300)
    const outsiders = await world.as(PERSON.outsider, async (run) => {
      await run(
        `select set_config('bulkhead.search_terms_1', $1, true), set_config('bulkhead.search_terms_2', $1, true)`,
        [all?.keys],
      )
      return run('select count(*)::int as items from private.search_lexemes')
    })
    expect(outsiders).toEqual([{ items: 0 }])
  })

  it.each(['{9223372036854775807}', '{}', '{not a number}', 'drop table ai.chunks', ''])(
    'a value forged before the search (%s) moves nothing',
    async (forged) => {
      const answer = `select coalesce(json_agg(found)::text, '') as answer from (${SEARCH}) as found`
      const honest = await world.as(PERSON.member, (run) => run(answer))
      const other = await world.as(PERSON.member, async (run) => {
        await run(`select set_config('bulkhead.search_terms_' || part, $1, true) from generate_series(1, 2) as part`, [
          forged,
        ])
        return run(answer)
      })
      expect(other).toEqual(honest)
    },
  )

  it('two searches in one statement answer like each by itself', async () => {
    const other = `select * from ai.search(isolation.word(15), method => 'full_text', match_count => 5)`
    const ids = (rows: Row[]) => rows.map((row) => row['chunk_id'])
    const [one, two, both] = await world.as(PERSON.member, async (run) => [
      ids(await run(SEARCH)),
      ids(await run(other)),
      ids(await run(`select chunk_id from (${SEARCH}) as one union all select chunk_id from (${other}) as two`)),
    ])
    expect(two!.length).toBeGreaterThan(0)
    expect(both).toEqual([...one!, ...two!])
  })
})

describe('R11 what is gone is not found', () => {
  const first = async () => {
    const [row] = await world.as(PERSON.member, (run) =>
      run<{ source_id: string; chunk_id: string; source_name: string }>(SEARCH),
    )
    return row!
  }

  it('the index is exact, and after each change it is exact again', async () => {
    const { source_id: source, chunk_id: chunk } = await first()
    const changes = [
      'select 1',
      `delete from ai.chunks where id = '${chunk}'`,
      `delete from ai.sources where id = '${source}'`,
      `delete from ai.sources where tenant_id = '${TENANT.a}'`,
      `delete from public.tenants where id = '${TENANT.b}'`,
      `update ai.sources set visibility = 'private' where id = '${source}'`,
      `update ai.sources set visibility = 'granted', allowed_principals = array['${PERSON.viewer}']::uuid[] where id = '${source}'`,
      `update ai.sources set visibility = 'private' where id = '${source}'; update ai.sources set visibility = 'tenant' where id = '${source}'`,
      `update ai.chunks set text = 'another text altogether' where id = '${chunk}'`,
      `delete from ai.knowledge_bases where not is_default; delete from ai.indexed_sources where source_id = '${source}'`,
      `do $$ begin delete from ai.sources where id = '${source}'; raise exception 'no'; exception when others then null; end $$`,
    ]
    for (const change of changes) expect(await after(change, (run) => run(INEXACT)), change).toEqual([])
  })

  it('so is the graph: it holds what the tenant shares, of what is there', async () => {
    const { source_id: source } = await first()
    const differing = `
      select count(*)::int as count
      from private.search_vectors as vectors
      join private.search_segments as segments on segments.id = vectors.segment_id and segments.visibility = 'tenant'
      full join private.vector_graph_1 as graph on graph.item_id = vectors.item_id and graph.segment_id = vectors.segment_id
        and graph.embedding operator(extensions.=) vectors.embedding
      where (vectors.item_id is null or graph.item_id is null)
        and coalesce(vectors.vector_set_id, 1) = 1`
    for (const change of [
      'select 1',
      `delete from ai.sources where id = '${source}'`,
      `update ai.sources set visibility = 'private' where id = '${source}'`,
      `update ai.sources set visibility = 'private' where id = '${source}'; update ai.sources set visibility = 'tenant' where id = '${source}'`,
      `select private.store_vectors('${MODEL}', array_agg(id), array_agg(isolation.question_point(3))) from ai.chunks where source_id = '${source}'`,
    ]) {
      expect(await after(change, (run) => run(differing)), change).toEqual([{ count: 0 }])
    }
  })

  it('a deleted, hidden or rewritten chunk is not found by the next statement, and after a rollback it is', async () => {
    const { source_id: source, source_name: name, chunk_id: chunk } = await first()
    expect(await foundAfter('select 1')).toContain(name)
    expect(await foundAfter(`delete from ai.sources where id = '${source}'`)).not.toContain(name)
    expect(
      await foundAfter(`update ai.sources set visibility = 'private', owner_id = null where id = '${source}'`),
    ).not.toContain(name)
    expect(await foundAfter(`delete from public.memberships where user_id = '${PERSON.member}'`)).toEqual([])
    expect(
      await foundAfter(
        `update ai.chunks set text = 'xylophone' where id = '${chunk}'`,
        `select * from ai.search('xylophone', method => 'full_text')`,
      ),
    ).toEqual([name])
    expect(await foundAfter('select 1')).toContain(name)
  })
})

describe('R11 R13 indexing that is under way', () => {
  const chunks = (text: string) =>
    JSON.stringify([
      {
        chunk_index: 0,
        content_hash: 'h',
        text,
        start_char: 0,
        end_char: text.length,
        tokens: 3,
        score: 1,
        meta: {},
        embedding: Array(64).fill(0.5),
      },
    ])
  /** A source that waits to be indexed, and the lease on it. */
  const lease = async (label: string) => {
    await fill(world, { label, tenant: 'a', count: 1, topics: [TOPIC] })
    const id = `md5('${label} indexed 0')::uuid`
    await world.run(`update ai.indexed_sources set index_status = 'pending', indexed_at = null where id = ${id}`)
    await world.run(`delete from ai.chunks where indexed_source_id = ${id}`)
    const [row] = await world.run<{ token: string; id: string }>(
      `select ai.claim_indexing(${id}, 'worker') ->> 'lease_token' as token, ${id} as id`,
    )
    return row!
  }
  const stage = async (id: string, token: string, text: string) => {
    const [row] = await world.run<{ done: boolean }>(
      `select ai.stage_chunks($1, $2, $3::text::jsonb, '${MODEL}') as done`,
      [id, token, chunks(text)],
    )
    return row?.done
  }
  const finish = async (id: string, token: string) => {
    const [row] = await world.run<{ done: boolean }>(`select ai.finish_indexing($1, $2, 1, '${MODEL}', '{}') as done`, [
      id,
      token,
    ])
    return row?.done
  }
  const find = (word: string, person = PERSON.member) =>
    world.as(person, (run) => run(`select * from ai.search($1, method => 'full_text')`, [word]))

  it('R11 does not bring back a source that was deleted meanwhile', async () => {
    const { id, token } = await lease('late')
    expect(await stage(id, token, 'glockenspiel one')).toBe(true)
    await clear(world, 'late')
    expect(await finish(id, token)).toBe(false)
    expect(await stage(id, token, 'glockenspiel two')).toBe(false)
    expect(await find('glockenspiel')).toEqual([])
    expect(await world.run(INEXACT)).toEqual([])
  })

  it('R11 gives the chunks to those who may see the source when it ends, not when it began', async () => {
    const { id, token } = await lease('hidden')
    expect(await stage(id, token, 'marimba')).toBe(true)
    await world.run(`update ai.sources set visibility = 'private', owner_id = $1 where name = 'hidden 0'`, [
      PERSON.admin,
    ])
    expect(await finish(id, token)).toBe(true)
    expect(await find('marimba')).toEqual([])
    expect(await find('marimba', PERSON.admin)).toHaveLength(1)
    await clear(world, 'hidden')
  })

  it('R13 writes under its own lease only: not with a lost, a foreign or an invented one', async () => {
    const mine = await lease('mine')
    const other = await lease('other')
    for (const token of [other.token, randomUUID()]) {
      expect(await stage(mine.id, token, 'celesta')).toBe(false)
      expect(await finish(mine.id, token)).toBe(false)
    }
    expect(await stage(mine.id, mine.token, 'celesta')).toBe(true)
    await world.run(`update ai.indexed_sources set lease_expires_at = now() - interval '1 second' where id = $1`, [
      mine.id,
    ])
    const [taken] = await world.run<{ token: string }>(
      `select ai.claim_indexing($1, 'another') ->> 'lease_token' as token`,
      [mine.id],
    )
    expect(taken?.token).not.toBe(mine.token)
    expect(await stage(mine.id, mine.token, 'celesta')).toBe(false)
    expect(await finish(mine.id, mine.token)).toBe(false)
    expect(await find('celesta')).toEqual([])
    expect(await finish(mine.id, taken!.token)).toBe(true)
    expect(await find('celesta')).toHaveLength(1)
    await clear(world, 'mine')
    await clear(world, 'other')
  })

  it('R13 a vector for a chunk that is gone is left out, and one for a foreign tenant cannot be put elsewhere', async () => {
    const [row] = await world.run(
      `select private.store_vectors('${MODEL}', array[$1::uuid], array[isolation.question_point(1)]) as stored`,
      [randomUUID()],
    )
    expect(row).toEqual({ stored: 0 })
    const [foreign] = await world.run<{ id: string }>(`select id from ai.chunks where tenant_id = $1 limit 1`, [
      TENANT.b,
    ])
    await world.run(`select private.store_vectors('${MODEL}', array[$1::uuid], array[isolation.question_point(1)])`, [
      foreign?.id,
    ])
    expect(
      await world.run(`select distinct tenant_id from private.search_vectors where item_id = $1`, [foreign?.id]),
    ).toEqual([{ tenant_id: TENANT.b }])
  })

  it('R13 no function of the ledger takes the name of a schema, a table, a column or a function', async () => {
    const rows = await world.run(`
      select pg_proc.oid::regprocedure::text as function, argument.name, argument.type::regtype::text as type
      from pg_proc
      cross join lateral unnest(pg_proc.proargnames, pg_proc.proargtypes::oid[]) as argument (name, type)
      where pg_proc.pronamespace in ('ai'::regnamespace, 'public'::regnamespace)
        and has_function_privilege('service_role', pg_proc.oid, 'execute')
        and not exists (select from pg_depend where pg_depend.objid = pg_proc.oid and pg_depend.deptype = 'e')
        and (
          argument.type in ('regclass'::regtype, 'regproc'::regtype, 'regprocedure'::regtype, 'regnamespace'::regtype, 'regtype'::regtype)
          or argument.name ~ '(schema|table|column|function|relation|sql|statement|content_function)'
        )
    `)
    expect(rows).toEqual([])
  })

  it('R13 nobody who is signed in may call the ledger or write the index', async () => {
    const rows = await world.run(`
      select pg_proc.oid::regprocedure::text as function
      from pg_proc
      where pg_proc.pronamespace in ('ai'::regnamespace, 'private'::regnamespace)
        and (pg_proc.proargnames && array['lease_token'] or pg_proc.proname ~ '^(store_vectors|index_chunks|move_chunks|.*_vector_graphs?)$')
        and pg_proc.proname <> 'holds_indexing_lease'
        and (has_function_privilege('authenticated', pg_proc.oid, 'execute') or has_function_privilege('anon', pg_proc.oid, 'execute'))
    `)
    expect(rows).toEqual([])
    const tables = await world.run(`
      select pg_class.oid::regclass::text as relation, privilege
      from pg_class
      cross join unnest(array['insert', 'update', 'delete', 'truncate']) as privilege
      cross join unnest(array['anon', 'authenticated']) as role
      where pg_class.relnamespace = 'private'::regnamespace and pg_class.relkind = 'r'
        and has_table_privilege(role, pg_class.oid, privilege)
    `)
    expect(tables).toEqual([])
  })
})

describe('R12 vectors of two models', () => {
  const scores = async (model: string, vector: string) => {
    const rows = await world.as(PERSON.member, (run) =>
      run(`select * from ai.search('x', ${vector}, '${model}', method => 'vector_search', match_count => 100)`),
    )
    return rows.map((row) => [String(row['source_name']).replace(/ \d+$/, ''), Number(row['vector_score'])] as const)
  }

  beforeAll(async () => {
    // The same points under another model, and one of another length.
    await fill(world, { label: 'second', tenant: 'a', count: 20, topics: [TOPIC], echo: true, model: 'second-64' })
    await fill(world, { label: 'third', tenant: 'a', count: 1, topics: [TOPIC], model: 'third-64' })
    await world.run(`delete from private.vector_sets where embedding_model = 'third-64'`)
    await world.run(
      `select private.store_vectors('third-2', array[id], array['[1,0]'::extensions.vector]) from ai.chunks where id = md5('third chunk 0')::uuid`,
    )
  })

  it('are never compared, although they lie at the very same points', async () => {
    const first = await scores(MODEL, `isolation.question_point(${TOPIC})`)
    expect(new Set(first.map(([label]) => label))).toEqual(new Set(['own']))
    const second = await scores('second-64', `isolation.question_point(${TOPIC})`)
    expect(second).toHaveLength(20)
    expect(new Set(second.map(([label]) => label))).toEqual(new Set(['second']))
    expect(await scores('third-2', `'[1,0]'`)).toEqual([['third', 1]])
  })

  it('of one chunk side by side: each search sees the one of its model', async () => {
    await world.run(
      `select private.store_vectors('second-64', array_agg(id), array_agg(isolation.question_point(3))) from ai.chunks where id = md5('own chunk 0')::uuid`,
    )
    const of = async (model: string) =>
      (await scores(model, 'isolation.question_point(3)'))
        .filter(([label]) => label === 'own')
        .map(([, score]) => score)
    const [only] = await of('second-64')
    expect(only).toBeGreaterThan(0.999)
    expect(Math.max(...(await of(MODEL)))).toBeLessThan(0.999)
    await world.run(
      `delete from private.search_vectors where item_id = md5('own chunk 0')::uuid and vector_set_id = (select id from private.vector_sets where embedding_model = 'second-64' and tenant_id = $1)`,
      [TENANT.a],
    )
  })

  it('of another length is refused by the set, and nothing of the batch is stored', async () => {
    const [before] = await world.run('select count(*)::int as count from private.search_vectors')
    const storing = world.run(
      `select private.store_vectors('second-64', array_agg(id order by id), array_agg(case when id = md5('second chunk 0')::uuid then '[1,0]' else isolation.question_point(1) end order by id)) from ai.chunks where text like '%' and id in (md5('second chunk 0')::uuid, md5('own chunk 1')::uuid)`,
    )
    await expect(storing).rejects.toMatchObject({ code: '22023' })
    expect(await world.run('select count(*)::int as count from private.search_vectors')).toEqual([before])
  })

  it('of a knowledge base that says it uses another model are not mixed in by saying so', async () => {
    const rows = await world.as(PERSON.member, (run) =>
      run(
        `select * from ai.search('xylophone', isolation.question_point(${TOPIC}), 'second-64 ', method => 'vector_search')`,
      ),
    )
    expect(rows).toEqual([])
  })
})
