import type { Join, JoinNode, Plan, PlanTable } from './plan.ts'
import { QueryRefused } from './refusal.ts'
import { describedAs, type ForeignKey, type TableDescription } from './tables.ts'

/** A join with the foreign key it follows. */
type Edge = Join & {
  foreignKey: ForeignKey
  /** The table that holds the key: it has at most one row of the other. */ child: number
}

/**
 * Makes a tree of the tables of a query, to be embedded in each other. Where inner joins allow it, the root is the table from
 * which every key points away, so that rows of the answer are rows of the root and sorting and limits apply to them.
 * @throws QueryRefused for joins that follow no foreign key.
 */
export function joinTree(plan: Plan, descriptions: readonly TableDescription[]): JoinNode {
  const edges = plan.joins.map((join) => edgeOf(join, plan.tables, descriptions))
  const trees = plan.tables.map((_, root) => treeFrom(root, edges)).filter((tree) => tree !== null)
  const tree = trees.find((candidate) => manyCount(candidate) === 0) ?? trees.find((candidate) => candidate.table === 0)
  if (!tree || manyCount(tree) > 1) {
    throw new QueryRefused(
      'This join multiplies rows in a way that cannot be asked for.',
      'Start FROM the table that holds the foreign keys, or join fewer tables.',
    )
  }
  return tree
}

/** Joins of a tree whose parent can have many rows of the child. */
export const manyCount = (node: JoinNode): number =>
  node.children.reduce((count, child) => count + (child.toOne ? 0 : 1) + manyCount(child), 0)

/** The tree with this root, or null where a LEFT JOIN would be turned around. */
function treeFrom(root: number, edges: readonly Edge[]): JoinNode | null {
  const build = (table: number, via: Edge | null): JoinNode | null => {
    const children: JoinNode[] = []
    for (const edge of edges) {
      if (edge === via || (edge.left !== table && edge.right !== table)) continue
      if (edge.kind === 'left' && edge.right === table) return null
      const child = build(edge.left === table ? edge.right : edge.left, edge)
      if (child === null) return null
      children.push({ ...child, inner: edge.kind === 'inner', toOne: edge.child === table })
    }
    const pairs = (via?.pairs ?? []).map(({ left, right }) =>
      via?.right === table ? { parent: left, own: right } : { parent: right, own: left },
    )
    return { table, foreignKey: via?.foreignKey ?? null, pairs, inner: true, toOne: true, children }
  }
  const tree = build(root, null)
  if (tree) promote(tree)
  return tree
}

/** An inner join below a left one makes that one inner: the rows it keeps have no partner further down. */
function promote(node: JoinNode): boolean {
  let needed = false
  for (const child of node.children) {
    if (promote(child)) child.inner = true
    needed ||= child.inner
  }
  return needed
}

/** Makes every join on the way to these tables inner, because a condition on them leaves out rows without a partner. */
export function requireTables(node: JoinNode, tables: ReadonlySet<number>): boolean {
  let needed = tables.has(node.table)
  for (const child of node.children) {
    if (requireTables(child, tables)) child.inner = needed = true
  }
  return needed
}

function edgeOf(join: Join, tables: readonly PlanTable[], descriptions: readonly TableDescription[]): Edge {
  const [left, right] = [tables[join.left], tables[join.right]]
  if (!left || !right) throw new Error('A join names a table that is not in the query.')
  const forward = join.pairs.map((pair) => [pair.left, pair.right] as const)
  const backward = join.pairs.map((pair) => [pair.right, pair.left] as const)
  const ofLeft = keyFor(left, right, forward, descriptions)
  if (ofLeft) return { ...join, foreignKey: ofLeft, child: join.left }
  const ofRight = keyFor(right, left, backward, descriptions)
  if (ofRight) return { ...join, foreignKey: ofRight, child: join.right }
  const known = [left, right].flatMap((table) => describedAs(descriptions, table)?.foreignKeys ?? [])
  const between = known.filter((key) => [left.name, right.name].includes(key.table))
  throw new QueryRefused(
    `${left.name} and ${right.name} are not joined on a foreign key.`,
    between.length > 0
      ? `Join them on: ${between.map((key) => `(${key.columns.join(', ')}) = ${key.table} (${key.referencedColumns.join(', ')})`).join(' or ')}.`
      : 'No foreign key between them is known: query one, then the other with the values found.',
  )
}

/**
 * The foreign key of `child` that means the same as these pairs. A key of several columns may be written with fewer, as long
 * as those identify a row: with (tenant_id, id) referenced and id unique, `parent.id = child.parent_id` is the same join.
 */
function keyFor(
  child: PlanTable,
  parent: PlanTable,
  pairs: readonly (readonly [child: string, parent: string])[],
  descriptions: readonly TableDescription[],
): ForeignKey | undefined {
  const uniqueKeys = describedAs(descriptions, parent)?.keys ?? []
  return describedAs(descriptions, child)?.foreignKeys.find((key) => {
    if (key.schema !== parent.schema || key.table !== parent.name) return false
    const isPart = pairs.every(([from, to]) =>
      key.columns.some((column, i) => column === from && key.referencedColumns[i] === to),
    )
    const isWhole = key.columns.every((column) => pairs.some(([from]) => from === column))
    const identifies = uniqueKeys.some((columns) => columns.every((column) => pairs.some(([, to]) => to === column)))
    return isPart && (isWhole || identifies)
  })
}
