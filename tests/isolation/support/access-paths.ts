import { nodesOf, pagesOf, type Plan, type PlanNode } from './plans.ts'
import type { World } from './world.ts'

/** The first key column of every index, by the name of the index. */
export type LeadingColumns = ReadonlyMap<string, string>

export async function leadingColumns(world: World): Promise<LeadingColumns> {
  const rows = await world.run<{ index: string; column: string }>(
    `select pg_class.relname as index, pg_get_indexdef(pg_index.indexrelid, 1, true) as column
    from pg_index
    join pg_class on pg_class.oid = pg_index.indexrelid`,
  )
  return new Map(rows.map(({ index, column }) => [index, column]))
}

/** Relations whose size is not a matter of what tenants hold, and graphs, each of which is one tenant's own. */
const NOT_SHARED = /^(pg_|shipped_policies|vector_graph_\d)/

/**
 * Who the caller is, and which segments there are: a few rows for each tenant. As long as such an index and its table fill a
 * page or two each, all indexes serve alike and the planner takes any; a scan of more pages counts as one of a shared table.
 */
const FEW_ROWS = /^(memberships|group_members|tenant_principals|search_segments)_/
const TINY = 4

/** Pages of the node itself: without those below it, and without the initplans that it was the first to ask for. */
function ownPages(node: PlanNode, plan: Plan): number {
  const below = (node.Plans ?? []).reduce((pages, child) => pages + pagesOf(child), 0)
  const asked = [...nodesOf(plan.root)]
    .filter((other) => other['Parent Relationship'] === 'InitPlan' && !node.Plans?.includes(other))
    .reduce((pages, initplan) => pages + pagesOf(initplan), 0)
  return pagesOf(node) - below - (/InitPlan/.test(`${node['Index Cond']} ${node.Filter}`) ? asked : 0)
}

/**
 * Scans that read more of a shared table than the caller's part: every sequential scan, and every index scan whose condition
 * leaves the first column of the index open.
 */
export function openScans(plans: Plan[], leading: LeadingColumns): string[] {
  const found = new Set<string>()
  for (const plan of plans) {
    for (const node of nodesOf(plan.root)) {
      if (node['Node Type'] === 'Seq Scan' && !NOT_SHARED.test(node['Relation Name'] ?? '')) {
        found.add(`Seq Scan on ${node['Relation Name']} (${node.Filter ?? 'no filter'})`)
      }
      const index = node['Index Name']
      if (!index || NOT_SHARED.test(index) || (FEW_ROWS.test(index) && ownPages(node, plan) <= TINY)) continue
      const column = leading.get(index)
      const bound = new RegExp(`\\b${column}\\b`).test(node['Index Cond'] ?? '')
      if (!bound) found.add(`${node['Node Type']} of ${index} with ${node['Index Cond'] ?? 'no condition'}`)
    }
  }
  return [...found]
}

/** The nodes that read a table, whole or through one of its indexes. */
export function readsOf(plans: Plan[], relation: RegExp): PlanNode[] {
  return plans.flatMap(({ root }) => [...nodesOf(root)]).filter((node) => relation.test(node['Relation Name'] ?? ''))
}

/** The node itself, or the index scan that feeds its bitmap. */
export function accessOf(node: PlanNode): PlanNode {
  return [...nodesOf(node)].find((below) => below['Index Name']) ?? node
}

/** What is promised of the plans of a search, checked on those that auto_explain has seen; an empty list is good. */
export function brokenPromises(plans: Plan[], expected: { graph: boolean }): string[] {
  const broken: string[] = []
  const check = (relation: RegExp, what: string, holds: (access: PlanNode) => boolean) => {
    const reads = readsOf(plans, relation)
    if (reads.length === 0) broken.push(`${what}: nothing read ${relation.source}`)
    for (const read of reads) {
      const access = accessOf(read)
      if (!holds(access)) {
        broken.push(
          `${what}: ${access['Node Type']} ${access['Index Name'] ?? ''} ${access['Index Cond'] ?? ''}`.trim(),
        )
      }
    }
  }
  check(/^search_lexemes$/, 'words are found by the keys of both parts', (access) => {
    const byItem = access['Index Name'] === 'search_lexemes_pkey'
    const conditions = (access['Index Cond'] ?? '').match(/keys && /g) ?? []
    return byItem || (access['Index Name'] === 'search_lexemes_keys_idx' && conditions.length === 2)
  })
  check(/^term_statistics$/, 'frequencies are looked up by segment and word', (access) => {
    const condition = access['Index Cond'] ?? ''
    return access['Index Name'] === 'term_statistics_pkey' && /segment_id/.test(condition) && /key/.test(condition)
  })
  if (expected.graph) {
    check(/^vector_graph_\d+$/, 'vectors are found by the graph', (access) => /_hnsw$/.test(access['Index Name'] ?? ''))
  } else {
    check(/^search_vectors$/, 'vectors are read by segment and set', (access) => {
      const condition = access['Index Cond'] ?? ''
      return /\bsegment_id = /.test(condition) && /\bvector_set_id = /.test(condition)
    })
  }
  return broken
}
