import { columnNameOf, hasOnly, listOf, namesOf, typeOf, unwrapNode } from './ast.ts'
import { functionCall, type ResolveColumn, subquery } from './conditions.ts'
import { type Scope, tableNamed } from './from.ts'
import type { Node } from './parser.ts'
import type { Aggregate, ColumnRef, Output } from './plan.ts'
import { QueryRefused } from './refusal.ts'
import { describedAs, isName, type TableDescription } from './tables.ts'

/** A query that works, for answers to those that do not. */
export const EXAMPLE = "Example: select id, title from documents where owner = 'anna' order by created_at desc limit 20"

const AGGREGATES = new Set(['count', 'sum', 'avg', 'min', 'max'])

/**
 * What one entry of a SELECT list gives; `*` gives a column for each that is known.
 * @throws QueryRefused for other expressions than columns and aggregates of them.
 */
export function outputsOf(
  target: unknown,
  scope: Scope,
  resolve: ResolveColumn,
  descriptions: readonly TableDescription[],
): Output[] {
  const [, { val, name, ...rest }] = unwrapNode(target)
  if (!hasOnly(rest, [])) throw new QueryRefused('This cannot be selected.', EXAMPLE)
  if (name !== undefined && !isName(name)) {
    throw new QueryRefused(
      'An alias may have letters, digits and underscores only.',
      'Example: select total as total_amount',
    )
  }
  const [kind, fields] = unwrapNode(val)
  if (kind === 'ColumnRef') {
    const { qualifier, column } = columnNameOf(fields)
    if (column === '*') {
      const tables = qualifier === undefined ? scope.tables.map((_, index) => index) : [tableNamed(scope, qualifier)]
      return tables.flatMap((table) => everyColumn(table, scope, descriptions))
    }
  }
  if (kind === 'FuncCall') return [aggregateOf(fields, name, resolve)]
  const isCast = kind === 'TypeCast'
  const type = isCast ? typeOf(fields['typeName']) : undefined
  const column = resolve(isCast ? fields['arg'] : val)
  if (!column || (isCast && (!type || type.isArray))) throw notSelectable(kind)
  return [{ kind: 'column', name: (name as string | undefined) ?? nameOf(column), column, cast: type?.name ?? null }]
}

function everyColumn(table: number, scope: Scope, descriptions: readonly TableDescription[]): Output[] {
  const description = scope.tables[table] && describedAs(descriptions, scope.tables[table])
  // Where the columns are known only those are asked for that the caller may read: * would fail for one that is not.
  if (!description) return [{ kind: 'star', table }]
  return description.columns.map(({ name }) => ({
    kind: 'column',
    name,
    column: { table, column: name, path: [] },
    cast: null,
  }))
}

const nameOf = (column: ColumnRef): string => {
  const key = column.path.at(-1)?.key
  return key !== undefined && isName(key) ? key : column.column
}

function notSelectable(kind: string): QueryRefused {
  if (kind === 'SubLink') return subquery()
  return new QueryRefused(
    'The SELECT list can have columns, JSON paths, casts of columns to plain types, and aggregates of columns; no other expressions.',
    "Example: select id, total::text as total, data->>'city' as city, created_at::date from orders",
  )
}

/** Reads a call of one of the five aggregates. @throws QueryRefused for all other functions. */
export function aggregateOf(fields: Node, name: unknown, resolve: ResolveColumn): Output {
  const names = namesOf(fields['funcname'])
  const called = names[0] ?? ''
  if (names.length !== 1 || !AGGREGATES.has(called)) throw functionCall(fields)
  if ('over' in fields) throw new QueryRefused('Window functions cannot be used.', 'Use GROUP BY with an aggregate.')
  const args = listOf(fields['args'])
  if (!hasOnly(fields, ['funcname', 'args', 'agg_star', 'agg_distinct', 'funcformat']) || args.length > 1) {
    throw new QueryRefused(
      'FILTER, ORDER BY and further arguments of aggregates cannot be used.',
      'Put the condition into WHERE.',
    )
  }
  const aggregate = called as Aggregate
  const isStar = fields['agg_star'] === true
  const column = isStar ? null : resolve(args[0])
  if (column === undefined || (isStar && aggregate !== 'count')) {
    throw new QueryRefused(
      'Aggregates can be taken of a column only.',
      'Example: select status, sum(total) from orders group by status',
    )
  }
  const outputName = (name as string | undefined) ?? aggregate
  return { kind: 'aggregate', name: outputName, aggregate, column, distinct: fields['agg_distinct'] === true }
}

/** JSON objects have every name once: later ones get a number, as `id`, `id_2`. */
export function namedOnce(outputs: Output[]): Output[] {
  const used = new Set<string>()
  return outputs.map((output) => {
    if (output.kind === 'star') return output
    let name = output.name
    for (let number = 2; used.has(name); number++) name = `${output.name}_${number}`
    used.add(name)
    return { ...output, name }
  })
}
