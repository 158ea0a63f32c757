// R01, R02: what a member of A can tell about B from counting rows, reading scores and watching the work, over 200 topics.
// The times themselves are measured by measure-times.ts: they depend on the machine, and these tests must not.
import { beforeAll, describe, expect, it } from 'vitest'
import {
  asAttacker,
  attack,
  aucs,
  measuresOf,
  prepareAttack,
  PROBE_SEARCHES,
  PROBES,
  type Note,
} from './support/attack.ts'
import { auc } from './support/auc.ts'
import { buildGraph } from './support/fill.ts'
import { pagesOf, type PlanNode } from './support/plans.ts'
import { useWorld } from './support/use-world.ts'
import { TENANT, type Row } from './support/world.ts'

/** What the issue allows; a coin has 0.5. */
const BAR = 0.55

const world = useWorld(prepareAttack)

const pages = (rows: Row[]): number => {
  const plan = rows[0]?.['QUERY PLAN']
  const [{ Plan: root }] = (typeof plan === 'string' ? JSON.parse(plan) : plan) as [{ Plan: PlanNode }]
  return pagesOf(root)
}

const probeSearch = (topic: number): Promise<Record<string, number>> =>
  asAttacker(world, async (run) => {
    const measures: Record<string, number> = {}
    for (const [name, search] of Object.entries(PROBE_SEARCHES)) {
      Object.assign(measures, measuresOf(name, await run(`select * from ${search(topic)}`)))
      const explained = await run(`explain (analyze, buffers, timing off, format json) select * from ${search(topic)}`)
      measures[`${name}: pages`] = pages(explained)
    }
    return measures
  })

describe('AUC', () => {
  it('is 0.5 for what cannot be told apart and 1 for what can', () => {
    expect(auc([1, 2, 3, 4], [1, 2, 3, 4])).toBe(0.5)
    expect(auc([5, 5, 5], [5, 5])).toBe(0.5)
    expect(auc([1, 2], [3, 4])).toBe(1)
    expect(auc([3, 4], [1, 2])).toBe(1)
    expect(auc([1, 3], [2, 4])).toBe(0.75)
  })
})

describe.each([{ promoted: false }, { promoted: true }])('A, with a graph of its own: $promoted', ({ promoted }) => {
  let notes: Note[]

  beforeAll(async () => {
    if (promoted) await buildGraph(world, 'a')
    notes = await attack(world, probeSearch, () => buildGraph(world, 'b'))
  }, 300_000)

  it(`R01 R02 R03 over ${PROBES.length} topics, rows, scores and pages are as good as a coin`, () => {
    expect(notes).toHaveLength(2 * PROBES.length)
    const success = aucs(notes)
    expect(Object.keys(success)).toHaveLength(12)
    expect(Object.entries(success).filter(([, value]) => value > BAR)).toEqual([])
  })
})

describe('the attack', () => {
  it('works on one graph that tenants share: R01 by the rows', async () => {
    // The design to beat: one table, one HNSW, a tenant policy, and no iterative scan.
    await world.exec(`
      create table isolation.shared (item_id uuid, tenant_id uuid, embedding extensions.halfvec(64));
      alter table isolation.shared enable row level security;
      grant select on isolation.shared to authenticated;
      create policy "members read what is theirs" on isolation.shared for select to authenticated
      using (tenant_id = any (array(select private.caller_tenant_ids())));
    `)
    const probe = (topic: number) =>
      asAttacker(world, async (run) => {
        const rows = await run(`
          select 1 from isolation.shared
          order by embedding operator(extensions.<#>) isolation.question_point(${topic})::extensions.halfvec(64) limit 10`)
        return { rows: rows.length }
      })
    const notes = await attack(world, probe, async () => {
      // The index after the rows: one by one they take five times as long.
      await world.exec(`
        drop index if exists isolation.shared_hnsw;
        truncate isolation.shared;
        insert into isolation.shared
        select item_id, tenant_id, embedding from private.search_vectors where tenant_id in ('${TENANT.a}', '${TENANT.b}');
        create index shared_hnsw on isolation.shared using hnsw (embedding extensions.halfvec_ip_ops);
        set enable_seqscan = off; set enable_sort = off
      `)
    })
    await world.exec('reset enable_seqscan; reset enable_sort')
    expect(aucs(notes)['rows']).toBeGreaterThan(0.8)
  }, 300_000)
})
