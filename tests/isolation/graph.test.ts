// R02, R03, R12: one hop in the graph of entities. What a person finds, and the work for it, do not depend on what another
// tenant holds, nor on documents of colleagues that the person cannot see; every table is read by the caller's own part.
import { beforeAll, describe, expect, it } from 'vitest'
import { leadingColumns, openScans, readsOf } from './support/access-paths.ts'
import { clear, fill, MANY, range } from './support/fill.ts'
import type { Filling } from './support/fill.ts'
import { differences, observe, type Observation } from './support/observation.ts'
import type { Search } from './support/searches.ts'
import { useWorld } from './support/use-world.ts'
import { PERSON } from './support/world.ts'

const TOPICS = range(1, 40)
/** Chunks of the observer, and those of tenant B that are there from the beginning. */
const OWN = 400
/** Chunks that somebody else adds. */
const OTHERS = MANY / 5

/** Chunks of which each names three things: a rare one, one that dozens name, and one that all do. */
async function fillWithEntities(world: Parameters<typeof fill>[0], filling: Omit<Filling, 'topics'>): Promise<void> {
  await fill(world, { topics: TOPICS, ...filling })
  await world.run(
    `update ai.chunks
     set meta = chunks.meta || jsonb_build_object('entities', jsonb_build_array(
       'Rare ' || abs(hashtextextended(chunks.id::text, 1)) % 200, 'Known ' || abs(hashtextextended(chunks.id::text, 2)) % 60, 'Everywhere'
     ))
     from ai.sources
     where sources.id = chunks.source_id and sources.name like $1`,
    [`${filling.label} %`],
  )
}

const world = useWorld(async (opened) => {
  // B is there already: an index that all tenants share has the depth that it has in life, and keeps it.
  await fillWithEntities(opened, { label: 'old', tenant: 'b', count: OWN })
  await fillWithEntities(opened, { label: 'own', tenant: 'a', count: OWN })
  await opened.exec('vacuum analyze')
})

/** Hits and the sources of neighbours are looked up by ids; with a filter, those of all candidates. */
const searchesFrom = (hits: string): Record<string, Search> => {
  const ask = (more: string, lookups: number): Search => ({
    sql: `select * from ai.graph_neighbours('${hits}'${more})`,
    lookups,
  })
  return {
    neighbours: ask('', 30),
    'as many as there may be': ask(', match_count => 50', 100),
    'of some sources': ask(`, match_count => 50, filter_metadata => '{"year": 2021}'`, 200),
  }
}
let searches: Record<string, Search>
const asA = () => observe(world, PERSON.member, searches)
let before: Record<string, Observation>

beforeAll(async () => {
  const [row] = await world.run<{ hits: string }>(
    `select array_agg(found.id)::text as hits
     from (
       select chunks.id
       from ai.sources
       join ai.chunks on chunks.source_id = sources.id
       where sources.name in ('own 3', 'own 8')
       order by sources.name, chunks.chunk_index
       limit 12
     ) as found`,
  )
  searches = searchesFrom(row!.hits)
  before = await asA()
})

it('R12 finds as many as were asked for, and none by what everybody names', () => {
  expect(before['neighbours']!.rows).toBe(5)
  expect(before['as many as there may be']!.rows).toBe(50)
  expect(before['of some sources']!.rows).toBeGreaterThan(10)
  expect(before['as many as there may be']!.answer).toContain('Rare ')
  expect(before['as many as there may be']!.answer).not.toMatch(/"entities":\["Everywhere"\]/)
})

it('P12 reads no shared table as a whole, and entities by segment and name or by chunk', async () => {
  const plans = Object.values(before).flatMap((seen) => seen.plans)
  expect(openScans(plans, await leadingColumns(world))).toEqual([])
  const reads = readsOf(plans, /^search_entities$/)
  expect(reads.length).toBeGreaterThan(0)
  for (const read of reads) {
    const condition = read['Index Cond'] ?? ''
    const byName = /segment_id/.test(condition) && /name_key/.test(condition)
    expect(byName || /chunk_id/.test(condition), condition).toBe(true)
    // One more than link, for each entity: `Everywhere` costs no more than a name that 50 have.
    expect(read['Actual Rows']).toBeLessThanOrEqual(51)
  }
})

describe('nothing changes', () => {
  const others: Record<string, Omit<Filling, 'topics'>> = {
    [`by ${OTHERS} chunks of another tenant that name the same`]: { label: 'echo', tenant: 'b', count: OTHERS },
    [`by ${OTHERS} chunks that a colleague keeps to themselves`]: {
      label: 'hidden',
      tenant: 'a',
      count: OTHERS,
      owner: PERSON.admin,
      visibility: 'private',
    },
  }
  it.each(Object.entries(others))('R02 R03 %s', async (_, filling) => {
    await fillWithEntities(world, filling)
    expect(differences(before, await asA())).toEqual([])
    await world.exec('analyze')
    expect(differences(before, await asA())).toEqual([])
    await clear(world, filling.label)
  })

  it('R02 unless they are for the person as well', async () => {
    await fillWithEntities(world, { label: 'shown', tenant: 'a', count: 100 })
    expect(differences(before, await asA())).not.toEqual([])
    await clear(world, 'shown')
  })
})
