import { filtersOf } from './filters.ts'
import { joinTree, manyCount, requireTables } from './joins.ts'
import { type ColumnRef, type Condition, type JoinNode, pathText, type Plan, type SortKey, tablesOf } from './plan.ts'
import { QueryRefused } from './refusal.ts'
import type { TableDescription } from './tables.ts'

/** Characters of a URL that gateways in front of PostgREST let through. */
const MAX_URL_CHARS = 8000

/** A value the request selects. Casts are given to PostgREST, names are not: `c0` and so on are ours. */
export type Wanted = { column: ColumnRef; cast: string | null } | { star: number }

/** A GET of PostgREST that answers a query. */
export type ReadRequest = {
  schema: string
  table: string
  select: string
  /** Filters in their order, not yet encoded. */
  parameters: [name: string, value: string][]
  /** Sort keys, or null. */
  order: string | null
  /** How the answer is read: `values[i]` says where `wanted[i]` is found in a flattened row. */
  values: { table: number; key: string | null }[]
  tree: JoinNode
  /** Whether one row of the answer can become several. */
  multiplies: boolean
  /** Whether the rows are sorted by everything that is selected, so that rows that compare equal are equal. */
  isTotallyOrdered: boolean
}

const EMBED = '__t'
const VALUE = '__c'

/** Name of an embedded table in the answer. */
export const embedName = (table: number): string => EMBED + table

/** Whether a field of the answer is one of ours, as against a column that `*` brought. */
export const isOurs = (name: string): boolean => /^__[tcpk]\d+(_\d+)?$/.test(name)

/** Names under which the compared columns of a checked join are found, above and in the embedded row. */
export const keyName = (side: 'parent' | 'own', node: JoinNode, pair: number): string =>
  `__${side === 'parent' ? 'p' : 'k'}${node.table}_${pair}`

/** Whether the compared columns are fetched as well: not every REST engine follows a key of several columns as a whole. */
export const isChecked = (node: JoinNode): boolean => (node.foreignKey?.columns.length ?? 0) > 1

/** Whether this table or one below it is joined so. */
export const hasCheckedJoin = (node: JoinNode): boolean => isChecked(node) || node.children.some(hasCheckedJoin)

/**
 * Writes the request for a plan.
 * @param wanted what to select, in the order of `values`.
 * @param orderBy sort keys by column; null sorts by everything that is wanted, as far as that is possible.
 * @throws QueryRefused for what PostgREST cannot be asked.
 */
export function readRequest(
  plan: Plan,
  wanted: readonly Wanted[],
  orderBy: readonly SortKey[] | null,
  descriptions: readonly TableDescription[],
): ReadRequest {
  const root = joinTree(plan, descriptions)
  const parameters: [string, string][] = []
  const byTable = new Map<number, Condition[]>()
  for (const part of plan.where === null ? [] : plan.where.kind === 'and' ? plan.where.parts : [plan.where]) {
    const absent = absentTable(part, root, plan)
    if (absent !== null) parameters.push([embedName(absent), 'is.null'])
    else byTable.set(tableOf(part), [...(byTable.get(tableOf(part)) ?? []), part])
  }
  const rejecting = [...byTable].filter(([, conditions]) => conditions.some(rejectsNull)).map(([table]) => table)
  requireTables(root, new Set(rejecting))
  const required = requiredTables(root)
  if (![...byTable.keys()].every((table) => required.has(table))) {
    throw new QueryRefused(
      'IS NULL on a column of a LEFT JOIN works for the key column only.',
      'Example of rows without a partner: select a.id from a left join b on b.id = a.b_id where b.id is null',
    )
  }
  const paths = pathsOf(root)
  for (const [table, conditions] of byTable) {
    const prefix = (paths.get(table) ?? []).map((step) => `${embedName(step)}.`).join('')
    for (const [name, value] of filtersOf(conditions)) parameters.push([prefix + name, value])
  }

  const values: ReadRequest['values'] = wanted.map((want, index) =>
    'star' in want ? { table: want.star, key: null } : { table: want.column.table, key: VALUE + index },
  )
  const sorting = sortingOf(wanted, orderBy, root, paths)
  const order = sorting.keys.length > 0 ? sorting.keys.join(',') : null
  const base = plan.tables[root.table]
  if (!base) throw new Error('A plan has a table.')
  const select = selectOf(root, plan, wanted)
  const length = parameters.reduce(
    (sum, [name, value]) => sum + name.length + encodeURIComponent(value).length + 2,
    select.length,
  )
  if (length > MAX_URL_CHARS) {
    throw new QueryRefused(
      'The query is too long as a request.',
      'Use fewer columns and shorter lists, or ask in parts.',
    )
  }
  return {
    schema: base.schema,
    table: base.name,
    select,
    parameters,
    order,
    values,
    tree: root,
    multiplies: manyCount(root) > 0,
    isTotallyOrdered: sorting.isTotal,
  }
}

/** The one table a condition is about. */
function tableOf(condition: Condition): number {
  const [table, ...more] = tablesOf(condition)
  if (table !== undefined && more.length === 0) return table
  throw new QueryRefused('OR can combine conditions on one table only.', 'Ask one query for each side of the OR.')
}

/** Tables between the root and each table, itself included. */
function pathsOf(
  root: JoinNode,
  path: readonly number[] = [],
  paths = new Map<number, readonly number[]>(),
): Map<number, readonly number[]> {
  paths.set(root.table, path)
  for (const child of root.children) pathsOf(child, [...path, child.table], paths)
  return paths
}

/** Tables every row of the answer has a row of. */
function requiredTables(node: JoinNode, found = new Set<number>()): Set<number> {
  found.add(node.table)
  for (const child of node.children) if (child.inner) requiredTables(child, found)
  return found
}

/** Whether a condition cannot be true for columns that are all NULL. */
function rejectsNull(condition: Condition): boolean {
  if (condition.kind !== 'comparison') {
    return condition.kind === 'and' ? condition.parts.some(rejectsNull) : condition.parts.every(rejectsNull)
  }
  if (condition.operator !== 'is') return true
  const matchesNull = condition.values[0] === 'null' || condition.values[0] === 'unknown'
  return matchesNull === condition.not
}

/** The left-joined table that `key IS NULL` says there is no row of, or null for other conditions. */
function absentTable(condition: Condition, root: JoinNode, plan: Plan): number | null {
  if (condition.kind !== 'comparison' || condition.operator !== 'is' || condition.not || condition.values[0] !== 'null')
    return null
  const { table, column, path } = condition.column
  const child = root.children.find((node) => node.table === table && !node.inner)
  const join = plan.joins.find((candidate) => candidate.right === table)
  return child && path.length === 0 && join?.pairs.some((pair) => pair.right === column) ? table : null
}

function selectOf(node: JoinNode, plan: Plan, wanted: readonly Wanted[]): string {
  const items = wanted.flatMap((want, index) => {
    if ('star' in want) return want.star === node.table ? ['*'] : []
    if (want.column.table !== node.table) return []
    const cast = want.cast === null ? '' : `::${want.cast}`
    return [`${VALUE}${index}:${want.column.column}${pathText(want.column.path)}${cast}`]
  })
  if (isChecked(node)) items.push(...node.pairs.map(({ own }, index) => `${keyName('own', node, index)}:${own}`))
  for (const child of node.children) {
    if (isChecked(child))
      items.push(...child.pairs.map(({ parent }, index) => `${keyName('parent', child, index)}:${parent}`))
    const table = plan.tables[child.table]?.name ?? ''
    const key = child.foreignKey?.name ?? ''
    items.push(
      `${embedName(child.table)}:${table}!${key}${child.inner ? '!inner' : ''}(${selectOf(child, plan, wanted)})`,
    )
  }
  // Something has to be selected for a row to show.
  return items.length > 0 ? items.join(',') : (node.pairs[0]?.own ?? '*')
}

function sortingOf(
  wanted: readonly Wanted[],
  orderBy: readonly SortKey[] | null,
  root: JoinNode,
  paths: ReadonlyMap<number, readonly number[]>,
): { keys: string[]; isTotal: boolean } {
  const term = (column: ColumnRef): string | null => {
    const name = column.column + pathText(column.path)
    const [embedded, ...deeper] = paths.get(column.table) ?? []
    if (embedded === undefined) return name
    const child = root.children.find((node) => node.table === embedded)
    return deeper.length === 0 && child?.toOne === true ? `${embedName(embedded)}(${name})` : null
  }
  if (orderBy === null) {
    const terms = wanted.map((want) => ('star' in want ? null : term(want.column)))
    const keys = [...new Set(terms.filter((name) => name !== null))].map((name) => `${name}.asc.nullslast`)
    return { keys, isTotal: !terms.includes(null) }
  }
  const keys = orderBy.map((key) => {
    const name = typeof key.by === 'number' ? null : term(key.by)
    if (name === null) {
      throw new QueryRefused(
        'The rows cannot be sorted by a column of this table.',
        'Sort by the first table, or by one that it points at directly.',
      )
    }
    return `${name}.${key.descending ? 'desc' : 'asc'}.${key.nullsFirst ? 'nullsfirst' : 'nullslast'}`
  })
  return { keys, isTotal: false }
}
