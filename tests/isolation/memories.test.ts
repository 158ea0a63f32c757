// R01, R02, R03 for memories: the same search over the same index, and the guide's own statement, which runs as the caller.
import { beforeAll, describe, expect, it } from 'vitest'
import { brokenPromises, leadingColumns, openScans } from './support/access-paths.ts'
import { MANY, MODEL, range } from './support/fill.ts'
import { differences, observe, type Observation } from './support/observation.ts'
import type { Search } from './support/searches.ts'
import { useWorld } from './support/use-world.ts'
import { PERSON, TENANT, type World } from './support/world.ts'

const TOPIC = 7
const TOPICS = range(1, 20)
const QUESTION = `(select isolation.question(${TOPIC}))`
const POINT = `(select isolation.question_point(${TOPIC}))`

const SEARCHES: Record<string, Search> = {
  hybrid: { sql: `select * from ai.search_memories(${QUESTION}, ${POINT}, '${MODEL}')`, lookups: 0 },
  text: { sql: `select * from ai.search_memories(${QUESTION}, method => 'full_text', match_count => 60)`, lookups: 0 },
  vectors: {
    sql: `select * from ai.search_memories('x', ${POINT}, '${MODEL}', method => 'vector_search', match_count => 60)`,
    lookups: 0,
  },
}
/** As it stands in the guide; how it is planned is for the app that runs it to see to. */
const GUIDE = `
  select id, body, (1 - (embedding <=> ${POINT}::extensions.halfvec)) * 0.7 + extensions.similarity(body, ${QUESTION}) * 0.3 as score
  from public.memories
  where tenant_id = '${TENANT.a}'
  order by score desc, id
  limit 5`

const remember = (
  world: World,
  label: string,
  tenant: 'a' | 'b',
  person: string | null,
  count: number,
  echo: boolean,
) =>
  world.run('select isolation.remember($1, $2, $3, $4, $5, $6)', [label, TENANT[tenant], person, count, TOPICS, echo])

const world = useWorld(async (opened) => {
  await remember(opened, 'theirs', 'b', null, 400, false)
  await remember(opened, 'mine', 'a', PERSON.member, 300, false)
  await remember(opened, 'ours', 'a', null, 100, false)
  // Their rows have been updated once: dead versions out of the way, so that what is counted below stays.
  await opened.exec('vacuum analyze')
})

let before: Record<string, Observation>
let guideBefore: string
const guide = async (): Promise<string> => {
  const [row] = await world.as(PERSON.member, (run) =>
    run<{ answer: string }>(`select json_agg(found)::text as answer from (${GUIDE}) as found`),
  )
  return row!.answer
}

beforeAll(async () => {
  before = await observe(world, PERSON.member, SEARCHES)
  guideBefore = await guide()
})

describe('memories', () => {
  it('R03 there are answers to compare', () => {
    for (const [name, { rows }] of Object.entries(before)) expect(rows, name).toBeGreaterThanOrEqual(10)
    expect(guideBefore).toMatch(/mine: |ours: /)
    expect(guideBefore).not.toContain('theirs: ')
  })

  it('R01 R02 R03 many of B, and of a colleague, change neither the answer nor the work', async () => {
    await remember(world, 'echo', 'b', null, MANY / 10, true)
    await remember(world, 'colleague', 'a', PERSON.admin, MANY / 10, true)
    expect(differences(before, await observe(world, PERSON.member, SEARCHES))).toEqual([])
    await world.exec('analyze')
    expect(differences(before, await observe(world, PERSON.member, SEARCHES))).toEqual([])
    expect(await guide()).toBe(guideBefore)
  })

  it('P12 no shared table is read as a whole, and the index conditions are there', async () => {
    const seen = await observe(world, PERSON.member, SEARCHES)
    const leading = await leadingColumns(world)
    for (const [name, { plans }] of Object.entries(seen)) expect(openScans(plans, leading), name).toEqual([])
    expect(brokenPromises(seen['hybrid']!.plans, { graph: false })).toEqual([])
  })

  it('R05 the name of a vector, forged for a memory of others, compares like one that does not exist', async () => {
    const distance = async (id: string) => {
      const [row] = await world.as(PERSON.member, (run) =>
        run<{ distance: number }>(
          `select row(${id}, '${MODEL}')::public.memory_embedding operator(public.<=>) ${POINT}::extensions.halfvec as distance`,
        ),
      )
      return row!.distance
    }
    const nobodys = await distance(`'00000000-0000-4000-8000-00000000dead'::uuid`)
    expect(await distance(`md5('echo memory 6')::uuid`)).toBe(nobodys)
    expect(await distance(`md5('colleague memory 6')::uuid`)).toBe(nobodys)
    expect(await distance(`md5('mine memory 6')::uuid`)).toBeLessThan(nobodys)
  })
})
