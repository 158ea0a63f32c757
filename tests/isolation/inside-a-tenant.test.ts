// R01, R02, R03, R11 inside one tenant: what a colleague hides moves nothing that others see; whom it is granted to finds it;
// and who is removed finds nothing from the next statement on.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { buildGraph, clear, defaultKnowledgeBase, fill, MANY, MODEL, OWN, range } from './support/fill.ts'
import { differences, observe, type Observation } from './support/observation.ts'
import { searchesAbout } from './support/searches.ts'
import { useWorld } from './support/use-world.ts'
import { CLAIMS_DESK, PERSON, TENANT, type Row } from './support/world.ts'

const TOPICS = range(1, 40)
const TOPIC = 7
const ASKED = `isolation.question(${TOPIC}), isolation.question_point(${TOPIC}), '${MODEL}', match_count => 100`
// By vectors alone as well: of thousands of texts with the same words, which ones the text leg reads depends on where they lie.
const SEARCH = `select * from ai.search(${ASKED}) union all select * from ai.search(${ASKED}, method => 'vector_search')`

const world = useWorld(async (opened) => {
  await fill(opened, { label: 'old', tenant: 'b', count: OWN, topics: TOPICS })
  await fill(opened, { label: 'own', tenant: 'a', count: OWN, topics: TOPICS })
  // That a colleague has hidden something at all, and granted something, may show in how often a search asks who the caller is;
  // what it is about must not. So some of each is there before.
  const hidden = { tenant: 'a' as const, owner: PERSON.admin, topics: [39], count: 10 }
  await fill(opened, { ...hidden, label: 'before', visibility: 'private' })
  await fill(opened, { ...hidden, label: 'before too', visibility: 'granted', allowed: [CLAIMS_DESK] })
  await opened.exec('analyze')
})
const asMember = () => observe(world, PERSON.member, searchesAbout(TOPIC))
const labels = async (person: string, headers?: Record<string, string>): Promise<string[]> => {
  const rows = await world.as(person, (run) => run<Row & { source_name: string }>(SEARCH), headers)
  return [...new Set(rows.map(({ source_name }) => source_name.replace(/ \d+$/, '')))].sort()
}

/** Of `admin`: private to them, and granted to the group that `viewer` is in. The member may see neither. */
const hide = async (count: number) => {
  const hidden = { tenant: 'a' as const, owner: PERSON.admin, topics: [TOPIC, TOPIC, 3], echo: true, count: count / 2 }
  await fill(world, { ...hidden, label: 'secret', visibility: 'private' })
  await fill(world, { ...hidden, label: 'team', visibility: 'granted', allowed: [CLAIMS_DESK] })
}

describe.each([{ promoted: false }, { promoted: true }])('with a graph of the tenant: $promoted', ({ promoted }) => {
  let before: Record<string, Observation>

  beforeAll(async () => {
    if (promoted) await buildGraph(world, 'a')
    before = await asMember()
  })

  it('R01 R03 documents that colleagues hide change no row, no score and no explanation', async () => {
    await hide(MANY / 2)
    const after = await asMember()
    expect(differences(before, after).filter((line) => !/ pages, before /.test(line))).toEqual([])
  }, 300_000)

  it('R02 nor the work', async () => {
    // A filter by sources may read the tenant's list of sources, hidden ones too, so that their number shows in the work;
    // what they are about does not.
    const unfiltered = ({ 'some sources': _, 'by metadata': __, ...others }: Record<string, Observation>) => others
    expect(differences(unfiltered(before), unfiltered(await asMember()))).toEqual([])
    await world.exec('analyze')
    expect(differences(unfiltered(before), unfiltered(await asMember()))).toEqual([])
  })

  it('those who may see them find them', async () => {
    expect(await labels(PERSON.admin)).toContain('secret')
    expect(await labels(PERSON.viewer)).toContain('team')
    expect(await labels(PERSON.viewer)).not.toContain('secret')
    expect(await labels(PERSON.member)).toEqual(['own'])
    expect(await labels(PERSON.owner)).toEqual(['own'])
  })

  it('R11 who leaves the group, or the tenant, finds them no more', async () => {
    const afterwards = async (change: string, person: string) => {
      const { rows } = await world.watch(person, async (run) => {
        await world.exec(`set local role none; ${change}; set local role authenticated`)
        return run(SEARCH)
      })
      return [...new Set(rows.map((row) => String(row['source_name']).replace(/ \d+$/, '')))].sort()
    }
    expect(
      await afterwards(`delete from public.group_members where user_id = '${PERSON.viewer}'`, PERSON.viewer),
    ).toEqual(['own'])
    expect(await afterwards(`delete from public.memberships where user_id = '${PERSON.admin}'`, PERSON.admin)).toEqual(
      [],
    )
    expect(
      await afterwards(`delete from public.memberships where user_id = '${PERSON.member}'`, PERSON.member),
    ).toEqual([])
    expect(await labels(PERSON.outsider)).toEqual([])
  })

  it('R11 a source that is made private, or deleted, is gone for the others at the next statement', async () => {
    const found = async (change: string) => {
      const { rows } = await world.watch(PERSON.member, async (run) => {
        await world.exec(`set local role none; ${change}; set local role authenticated`)
        return run(SEARCH)
      })
      return rows.map((row) => String(row['source_id']))
    }
    const [{ source_id: id }] = (await world.as(PERSON.member, (run) => run(SEARCH))) as [{ source_id: string }]
    expect(await found('select 1')).toContain(id)
    expect(
      await found(`update ai.sources set visibility = 'private', owner_id = '${PERSON.admin}' where id = '${id}'`),
    ).not.toContain(id)
    expect(await found(`delete from ai.sources where id = '${id}'`)).not.toContain(id)
    // Both were rolled back, and with them every part of the index.
    expect(await found('select 1')).toContain(id)
    expect(differences(before, await asMember()).filter((line) => !/ pages, before /.test(line))).toEqual([])
    await clear(world, 'secret')
    await clear(world, 'team')
  })
})

describe('parts of the index that only colleagues may search', () => {
  // Each is of the admin and of one other person: there is a segment for every list of people.
  const hideSegments = async (from: number, count: number) =>
    world.run(
      `insert into private.search_segments (tenant_id, kind, knowledge_base_id, visibility, owner_id, allowed_principals, language)
       select $1, 'chunk', $2, made.visibility, $3, array[$3, md5('person ' || n)::uuid], 'english'
       from generate_series($4::int, $4 + $5 - 1) as n, (values ('granted'), ('private')) as made (visibility)`,
      [TENANT.a, await defaultKnowledgeBase(world, 'a'), PERSON.admin, from, count],
    )
  beforeAll(async () => {
    // How deep an index is may show; so there are many before.
    await hideSegments(1, 1500)
    await world.exec('analyze')
  })
  afterAll(async () => {
    await world.run('delete from private.search_segments where item_count = 0 and owner_id = $1', [PERSON.admin])
    await world.exec('analyze')
  })

  it('R02 however many there are, others do not walk past them', async () => {
    const own = { 'whose segments': { sql: 'select private.caller_segment_ids()', lookups: 0 } }
    const { 'some sources': _, 'by metadata': __, ...searches } = searchesAbout(TOPIC)
    const seen = async () => ({
      ...(await observe(world, PERSON.member, { ...searches, ...own })),
      'as viewer': (await observe(world, PERSON.viewer, own))['whose segments']!,
      'in another tenant': (await observe(world, PERSON.bMember, own))['whose segments']!,
    })
    const before = await seen()
    await hideSegments(1501, 2000)
    expect(differences(before, await seen())).toEqual([])
    await world.exec('analyze')
    expect(differences(before, await seen())).toEqual([])
    const [found] = await world.as(PERSON.admin, (run) =>
      run<{ count: number }>('select cardinality(private.caller_segment_ids()) as count'),
    )
    expect(found!.count, 'whose they are, finds them').toBeGreaterThan(7000)
  })
})

describe('a person of two tenants', () => {
  it('R01 finds both, and with x-tenant-id exactly what a member of that one finds', async () => {
    await world.exec('discard plans')
    expect(await labels(PERSON.both)).toEqual(['old', 'own'])
    const answer = (person: string, headers?: Record<string, string>) =>
      world.as(
        person,
        (run) => run(`select coalesce(json_agg(found)::text, '') as answer from (${SEARCH}) as found`),
        headers,
      )
    expect(await answer(PERSON.both, { 'x-tenant-id': TENANT.b })).toEqual(await answer(PERSON.bMember))
    expect(await answer(PERSON.both, { 'x-tenant-id': TENANT.a })).toEqual(await answer(PERSON.owner))
    expect(await labels(PERSON.member, { 'x-tenant-id': TENANT.b })).toEqual([])
    expect(await labels(PERSON.both, { 'x-tenant-id': 'no tenant' })).toEqual([])
  })
})
