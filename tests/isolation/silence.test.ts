// R02, R03: nothing a person can observe of a search depends on what another tenant holds. Not one byte of the answer; and
// the work, in pages, varies by no more than one page for each descent of a shared index.
import { beforeAll, describe, expect, it } from 'vitest'
import { buildGraph, clear, dropGraph, fill, MANY, MODEL, OWN, range } from './support/fill.ts'
import { differences, observe, type Observation } from './support/observation.ts'
import { searchesAbout } from './support/searches.ts'
import { useWorld } from './support/use-world.ts'
import { PERSON, TENANT } from './support/world.ts'

const TOPICS = range(1, 40)
const TOPIC = 7

const world = useWorld(async (opened) => {
  // B is there already: an index that all tenants share has the depth that it has in life, and keeps it.
  await fill(opened, { label: 'old', tenant: 'b', count: OWN, topics: TOPICS })
  await fill(opened, { label: 'own', tenant: 'a', count: OWN, topics: TOPICS })
  await opened.exec('analyze')
})
const asA = () => observe(world, PERSON.member, searchesAbout(TOPIC))

/** Half of them repeat A's questions at A's query points, in A's words and identifiers; half are about the same topics. */
const insertManyOfB = async () => {
  await fill(world, { label: 'echo', tenant: 'b', count: MANY / 2, topics: [TOPIC, TOPIC, 3, 5, 11], echo: true })
  await fill(world, { label: 'like', tenant: 'b', count: MANY / 2, topics: TOPICS })
}
const removeThemAll = async () => {
  await clear(world, 'echo')
  await clear(world, 'like')
}

describe.each([{ promoted: false }, { promoted: true }])('A, with a graph of its own: $promoted', ({ promoted }) => {
  let before: Record<string, Observation>

  beforeAll(async () => {
    if (promoted) await buildGraph(world, 'a')
    before = await asA()
  })

  it('R03 has answers to compare, and B will find them, too', async () => {
    for (const [name, { rows }] of Object.entries(before)) {
      expect(rows, name).toBeGreaterThanOrEqual(name === 'a word nobody has' ? 0 : 5)
    }
    const graphs = before['vectors']!.plans.filter(({ text }) => text.includes('private.vector_graph_'))
    expect(graphs).toHaveLength(promoted ? 1 : 0)
  })

  it(`R02 R03 ${MANY} chunks of B at A's query points change nothing`, async () => {
    await insertManyOfB()
    const [ofB] = await world.as(PERSON.bMember, (run) =>
      run(
        `select source_name from ai.search(isolation.question(${TOPIC}), isolation.question_point(${TOPIC}), '${MODEL}')`,
      ),
    )
    expect(ofB?.['source_name']).toMatch(/^echo /)
    expect(differences(before, await asA())).toEqual([])
  })

  it('R02 R03 nor do they when the statistics of the planner know about them', async () => {
    await world.exec('analyze')
    expect(differences(before, await asA())).toEqual([])
  })

  it('R02 R03 nor does a graph of B', async () => {
    await buildGraph(world, 'b')
    expect(differences(before, await asA())).toEqual([])
  })

  it('R02 R03 nor more chunks that B adds to its graph', async () => {
    await fill(world, { label: 'more', tenant: 'b', count: MANY / 10, topics: [TOPIC], echo: true })
    expect(differences(before, await asA())).toEqual([])
    await clear(world, 'more')
  })

  it('R02 R03 nor that B deletes everything', async () => {
    await removeThemAll()
    await dropGraph(world, 'b')
    expect(differences(before, await asA())).toEqual([])
    await world.exec('vacuum analyze')
    expect(differences(before, await asA())).toEqual([])
  })
})

describe('the harness', () => {
  it('notices one row more, one digit changed, and work that grows with the table', async () => {
    await world.exec('analyze')
    // What these tests are there to find: a score over everybody's rows, and a condition that reads them all.
    await world.exec(`
      create table isolation.leaky (tenant_id uuid, body text);
      insert into isolation.leaky select '${TENANT.a}', 'harbour ' || n from generate_series(1, 500) as n;
      grant select on isolation.leaky to authenticated;
      create view isolation.scores as
      select body, 1.0 / (select count(*) from isolation.leaky) as score from isolation.leaky where tenant_id = '${TENANT.a}' limit 5;
      grant select on isolation.scores to authenticated;
    `)
    const searches = {
      score: { sql: 'select * from isolation.scores', lookups: 0 },
      rows: { sql: 'select body from isolation.leaky limit 1000', lookups: 0 },
      work: {
        sql: `select body from isolation.leaky where tenant_id = '${TENANT.a}' and body = 'harbour 7'`,
        lookups: 0,
      },
    }
    const before = await observe(world, PERSON.member, searches)
    expect(differences(before, await observe(world, PERSON.member, searches))).toEqual([])
    await world.exec(
      `insert into isolation.leaky select '${TENANT.b}', 'harbour ' || n from generate_series(1, 5000) as n`,
    )
    const found = differences(before, await observe(world, PERSON.member, searches))
    expect(found).toContain('score: another answer')
    expect(found).toContain('rows: 500 rows before, 1000 after')
    expect(found.filter((line) => line.startsWith('work: '))).toHaveLength(1)
  })

  it('takes pages of one or two calls of five for a disturbance, and those of most calls for a difference', () => {
    const seen = (...pages: number[]) => ({ search: { answer: '[]', rows: 0, pages, plans: [], lookups: 2 } })
    const usual = seen(829, 829, 829, 829, 829)
    const silent = [seen(829, 829, 893, 829, 829), seen(893, 829, 893, 829, 829), seen(835, 835, 835, 835, 835)]
    for (const after of silent) {
      expect(differences(usual, after)).toEqual([])
      expect(differences(after, usual)).toEqual([])
    }
    const different = [seen(893, 829, 893, 829, 893), seen(836, 836, 836, 836, 836), seen(822, 822, 822, 822, 822)]
    for (const after of different) {
      expect(differences(usual, after)).toHaveLength(1)
      expect(differences(after, usual)).toHaveLength(1)
      // A disturbance before hides none that comes after.
      expect(differences(seen(829, 829, 993, 829, 829), after)).toHaveLength(1)
    }
    expect(differences(seen(829, 829), seen(836, 836))).toHaveLength(1)
  })
})
