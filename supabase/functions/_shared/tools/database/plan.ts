import type { AllowedTable, ForeignKey } from './tables.ts'

// What a query means, between its syntax (select.ts) and the request that answers it (request.ts).

/** One step into a JSON value: `->` keeps JSON, `->>` makes text. Keys are names or positions. */
export type JsonStep = { arrow: '->' | '->>'; key: string }

/** A column of the table with this position in `Plan.tables`, or a value inside of it. */
export type ColumnRef = { table: number; column: string; path: readonly JsonStep[] }

/** A comparison of a column with literals. `not` is outermost; NULL stays NULL under it. */
export type Comparison = {
  kind: 'comparison'
  column: ColumnRef
  not: boolean
  /** As PostgREST calls them; `in` also stands for equality, `is` has one value of null, true, false and unknown. */
  operator: 'in' | 'gt' | 'gte' | 'lt' | 'lte' | 'like' | 'ilike' | 'is' | 'cs' | 'cd' | 'ov'
  values: readonly string[]
}

/** A condition; NOT has been moved into the comparisons. */
export type Condition = Comparison | { kind: 'and' | 'or'; parts: readonly Condition[] }

/** A table of the query. */
export type PlanTable = AllowedTable & { alias: string }

/** A join of the table `right` to a table before it, on equality of these columns. */
export type Join = {
  left: number
  right: number
  kind: 'inner' | 'left'
  pairs: readonly { left: string; right: string }[]
}

export type Aggregate = 'count' | 'sum' | 'avg' | 'min' | 'max'

/** A selected value. */
export type Output =
  | { kind: 'column'; name: string; column: ColumnRef; cast: string | null }
  | { kind: 'star'; table: number }
  /** `column` is null for count(*). */
  | { kind: 'aggregate'; name: string; aggregate: Aggregate; column: ColumnRef | null; distinct: boolean }

/** A sort key: a column, or for grouped queries the position of an output. NULLs are last unless `nullsFirst`. */
export type SortKey = { by: ColumnRef | number; descending: boolean; nullsFirst: boolean }

/** A whole query. */
export type Plan = {
  tables: readonly PlanTable[]
  joins: readonly Join[]
  outputs: readonly Output[]
  /** Null without WHERE. */
  where: Condition | null
  /** Null for queries whose rows are rows of the tables; [] for aggregates over everything. */
  groupBy: readonly ColumnRef[] | null
  orderBy: readonly SortKey[]
  /** Null: the default. */
  limit: number | null
  offset: number
}

/** One table of the request, embedded in another one but for the root. */
export type JoinNode = {
  table: number
  /** Null for the root. */
  foreignKey: ForeignKey | null
  /** Columns that the join compares: of the table above and of this one. None for the root. */
  pairs: readonly { parent: string; own: string }[]
  /** `!inner`: rows of the parent without a row of this table are left out. */
  inner: boolean
  /** Whether the parent has at most one row of this table. */
  toOne: boolean
  children: JoinNode[]
}

export const sameColumn = (a: ColumnRef, b: ColumnRef): boolean =>
  a.table === b.table && a.column === b.column && pathText(a.path) === pathText(b.path)

/** A JSON path as both SQL and PostgREST write it, without the quotes around keys. */
export const pathText = (path: readonly JsonStep[]): string => path.map((step) => step.arrow + step.key).join('')

/** Tables a condition looks at. */
export function tablesOf(condition: Condition): Set<number> {
  if (condition.kind === 'comparison') return new Set([condition.column.table])
  return new Set(condition.parts.flatMap((part) => [...tablesOf(part)]))
}
