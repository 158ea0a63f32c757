import { columnNameOf, hasOnly, listOf, literalOf, namesOf, unwrapNode } from './ast.ts'
import { conditionOf, type ResolveColumn } from './conditions.ts'
import { type Scope, scopeOf, tableNamed } from './from.ts'
import { aggregateOf, EXAMPLE, namedOnce, outputsOf } from './outputs.ts'
import type { Node } from './parser.ts'
import {
  type ColumnRef,
  type Condition,
  type JsonStep,
  type Output,
  type Plan,
  sameColumn,
  type SortKey,
} from './plan.ts'
import { QueryRefused } from './refusal.ts'
import { type AllowedTable, describedAs, isName, type TableDescription } from './tables.ts'

/** Parts of a SELECT that mean something; all others are refused by name below or as unknown. */
const FIELDS = (
  'targetList fromClause whereClause groupClause sortClause limitCount limitOffset limitOption op distinctClause ' +
  'groupDistinct'
).split(' ')

/** Why a whole statement is refused, by what the parser found in it. */
const REFUSED_FIELDS: Record<string, [problem: string, instead: string]> = {
  withClause: ['WITH cannot be used.', 'Write one plain SELECT, or several queries one after the other.'],
  intoClause: ['SELECT INTO cannot be used: this tool only reads.', EXAMPLE],
  lockingClause: ['FOR UPDATE and other row locks cannot be used: this tool only reads.', EXAMPLE],
  windowClause: ['Window functions cannot be used.', 'Use ORDER BY with LIMIT, or GROUP BY with an aggregate.'],
  valuesLists: ['VALUES cannot be used.', EXAMPLE],
  larg: ['UNION, INTERSECT and EXCEPT cannot be used.', 'Ask the queries one after the other.'],
  havingClause: ['HAVING cannot be used.', 'Sort by the aggregate and limit: order by count(*) desc limit 10'],
}

/**
 * Reads a SELECT statement.
 * @param statement a node of `parseStatement`.
 * @param descriptions what is known about the tables; columns are checked against it.
 * @throws QueryRefused for everything that cannot be translated.
 */
export function planOf(
  statement: Node,
  allowed: readonly AllowedTable[],
  descriptions: readonly TableDescription[],
): Plan {
  const [kind, fields] = unwrapNode(statement)
  if (kind !== 'SelectStmt') throw new QueryRefused('Only SELECT can be run.', EXAMPLE)
  for (const [name, [problem, instead]] of Object.entries(REFUSED_FIELDS)) {
    if (name in fields) throw new QueryRefused(problem, instead)
  }
  if (!hasOnly(fields, FIELDS) || fields['limitOption'] === 'LIMIT_OPTION_WITH_TIES') {
    throw new QueryRefused('This form of SELECT cannot be used.', EXAMPLE)
  }
  const scope = scopeOf(fields['fromClause'], allowed)
  const resolve = resolver(scope, descriptions)
  const outputs = namedOnce(
    listOf(fields['targetList']).flatMap((target) => outputsOf(target, scope, resolve, descriptions)),
  )
  if (outputs.length === 0) throw new QueryRefused('The query selects nothing.', EXAMPLE)
  const groupBy = groupingOf(fields, outputs, resolve)
  return {
    tables: scope.tables,
    joins: scope.joins,
    outputs,
    where: whereOf(fields['whereClause'], scope, resolve),
    groupBy,
    orderBy: listOf(fields['sortClause']).map((key) => sortKeyOf(key, outputs, groupBy !== null, resolve)),
    limit: rowCount(fields['limitCount'], 'LIMIT'),
    offset: rowCount(fields['limitOffset'], 'OFFSET') ?? 0,
  }
}

/** Finds columns by name, and values inside of JSON columns by path. */
function resolver(scope: Scope, descriptions: readonly TableDescription[]): ResolveColumn {
  const knownColumns = scope.tables.map((table) => describedAs(descriptions, table)?.columns.map(({ name }) => name))

  const find = (fields: Node): ColumnRef => {
    const { qualifier, column } = columnNameOf(fields)
    if (column === '*') throw new QueryRefused('* can stand in the SELECT list only.', EXAMPLE)
    let table = 0
    if (qualifier !== undefined) {
      table = tableNamed(scope, qualifier)
    } else if (scope.tables.length > 1) {
      const holders = knownColumns.flatMap((columns, index) => (columns?.includes(column) ? [index] : []))
      if (holders.length !== 1) {
        throw new QueryRefused(
          `It is not clear which table ${column} belongs to.`,
          'Write the alias before it: d.title',
        )
      }
      table = holders[0] ?? 0
    }
    const columns = knownColumns[table]
    if (columns && !columns.includes(column)) {
      throw new QueryRefused(
        `${scope.tables[table]?.name} has no column ${column}.`,
        `Its columns are: ${columns.join(', ')}.`,
      )
    }
    return { table, column, path: [] }
  }

  const resolve: ResolveColumn = (node) => {
    const [kind, fields] = unwrapNode(node)
    if (kind === 'ColumnRef') return find(fields)
    if (kind !== 'A_Expr' || fields['kind'] !== 'AEXPR_OP') return undefined
    const [arrow, ...more] = namesOf(fields['name'])
    if ((arrow !== '->' && arrow !== '->>') || more.length > 0) return undefined
    const source = resolve(fields['lexpr'])
    if (!source) return undefined
    return { ...source, path: [...source.path, { arrow, key: jsonKey(fields['rexpr']) } satisfies JsonStep] }
  }
  return resolve
}

function jsonKey(node: unknown): string {
  const literal = literalOf(node)
  if (literal?.kind === 'number' && /^-?\d{1,9}$/.test(literal.text)) return literal.text
  if (literal?.kind === 'text' && isName(literal.text)) return literal.text
  throw new QueryRefused(
    'Keys of a JSON path may have letters, digits and underscores only.',
    "Example: select data->'address'->>'city' from customers. Select the whole JSON column for other keys.",
  )
}

function whereOf(node: unknown, scope: Scope, resolve: ResolveColumn): Condition | null {
  const parts = [...(node === undefined ? [] : [node]), ...scope.on].map((part) => conditionOf(part, resolve))
  const [first] = parts
  if (!first) return null
  return parts.length === 1
    ? first
    : { kind: 'and', parts: parts.flatMap((part) => (part.kind === 'and' ? part.parts : [part])) }
}

/** The output that a position or a bare name means, as GROUP BY and ORDER BY allow it. */
function outputMeant(node: unknown, outputs: readonly Output[]): number | undefined {
  const [kind, fields] = unwrapNode(node)
  if (kind === 'A_Const') {
    const literal = literalOf(node)
    const position = literal?.kind === 'number' ? Number(literal.text) : NaN
    if (
      !Number.isInteger(position) ||
      position < 1 ||
      position > outputs.length ||
      outputs.some((output) => output.kind === 'star')
    ) {
      throw new QueryRefused('This is no position in the SELECT list.', 'Name the column.')
    }
    return position - 1
  }
  if (kind !== 'ColumnRef') return undefined
  const { qualifier, column } = columnNameOf(fields)
  const index = outputs.findIndex((output) => output.kind !== 'star' && output.name === column)
  return qualifier === undefined && index >= 0 ? index : undefined
}

function groupingOf(fields: Node, outputs: readonly Output[], resolve: ResolveColumn): ColumnRef[] | null {
  const isDistinct = 'distinctClause' in fields
  if (isDistinct && listOf(fields['distinctClause']).some((node) => Object.keys((node ?? {}) as Node).length > 0)) {
    throw new QueryRefused('DISTINCT ON cannot be used.', 'Use SELECT DISTINCT, or GROUP BY with min or max.')
  }
  const clause = listOf(fields['groupClause'])
  const hasAggregates = outputs.some((output) => output.kind === 'aggregate')
  if (!isDistinct && !hasAggregates && clause.length === 0) return null
  if (isDistinct && (hasAggregates || clause.length > 0)) {
    throw new QueryRefused(
      'DISTINCT cannot be used together with GROUP BY and aggregates.',
      'GROUP BY alone gives every group once.',
    )
  }
  const selected = outputs.flatMap((output) => (output.kind === 'column' ? [output] : []))
  if (outputs.some((output) => output.kind === 'star') || selected.some((output) => output.cast !== null)) {
    throw new QueryRefused(
      '* and casts cannot be grouped.',
      'Name the columns: select status, count(*) from orders group by status',
    )
  }
  const groupBy = isDistinct
    ? selected.map(({ column }) => column)
    : clause.map((node) => groupKey(node, outputs, resolve))
  const missing = selected.find(({ column }) => !groupBy.some((key) => sameColumn(key, column)))
  if (missing) {
    throw new QueryRefused(
      `${missing.name} is selected beside aggregates but not in GROUP BY.`,
      `Add it: group by ${missing.name}`,
    )
  }
  return groupBy
}

function groupKey(node: unknown, outputs: readonly Output[], resolve: ResolveColumn): ColumnRef {
  const meant = outputMeant(node, outputs)
  const output = meant === undefined ? undefined : outputs[meant]
  const column = output?.kind === 'column' ? output.column : output ? undefined : resolve(node)
  if (!column)
    throw new QueryRefused(
      'GROUP BY can name columns only.',
      'Example: select status, count(*) from orders group by status',
    )
  return column
}

function sortKeyOf(node: unknown, outputs: readonly Output[], isGrouped: boolean, resolve: ResolveColumn): SortKey {
  const [kind, fields] = unwrapNode(node)
  if (kind !== 'SortBy' || !hasOnly(fields, ['node', 'sortby_dir', 'sortby_nulls'])) {
    throw new QueryRefused('ORDER BY USING cannot be used.', 'Write asc or desc.')
  }
  const descending = fields['sortby_dir'] === 'SORTBY_DESC'
  const nulls = fields['sortby_nulls']
  const nullsFirst = nulls === 'SORTBY_NULLS_FIRST' || (nulls === 'SORTBY_NULLS_DEFAULT' && descending)
  return { by: sortedBy(fields['node'], outputs, isGrouped, resolve), descending, nullsFirst }
}

function sortedBy(
  node: unknown,
  outputs: readonly Output[],
  isGrouped: boolean,
  resolve: ResolveColumn,
): ColumnRef | number {
  const meant = outputMeant(node, outputs)
  if (isGrouped) {
    const position = meant ?? outputs.findIndex((output) => means(output, node, resolve))
    if (position >= 0) return position
    throw new QueryRefused('A grouped query can be sorted by what it selects only.', 'Add it to the SELECT list.')
  }
  const output = meant === undefined ? undefined : outputs[meant]
  if (output?.kind === 'column' && output.cast === null) return output.column
  const column = output ? undefined : resolve(node)
  if (!column)
    throw new QueryRefused(
      'ORDER BY can name columns and JSON paths only.',
      'Example: order by created_at desc nulls last',
    )
  return column
}

/** Whether an expression in ORDER BY is the same as a selected one. */
function means(output: Output, node: unknown, resolve: ResolveColumn): boolean {
  const [kind, fields] = unwrapNode(node)
  if (output.kind === 'aggregate' && kind === 'FuncCall') {
    const other = aggregateOf(fields, output.name, resolve)
    return JSON.stringify(other) === JSON.stringify(output)
  }
  const column = kind === 'FuncCall' ? undefined : resolve(node)
  return output.kind === 'column' && column !== undefined && sameColumn(column, output.column)
}

function rowCount(node: unknown, clause: string): number | null {
  if (node === undefined) return null
  const literal = literalOf(node)
  if (literal?.kind === 'null') return null
  if (literal?.kind === 'number' && /^\d{1,9}$/.test(literal.text)) return Number(literal.text)
  throw new QueryRefused(`${clause} must be a whole number.`, 'Example: limit 20 offset 40')
}
