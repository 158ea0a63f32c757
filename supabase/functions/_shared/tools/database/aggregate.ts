import { add, compareDecimals, type Decimal, decimalOf, divide, toJson, ZERO } from './decimal.ts'
import { type Output, type Plan, sameColumn, type SortKey } from './plan.ts'
import { QueryRefused } from './refusal.ts'
import type { Wanted } from './request.ts'

// PostgREST computes aggregates only where `pgrst.db_aggregates_enabled` is set, which it is not by default: enabled, every
// caller of the API could have all rows of a table added up. So they are computed here, of rows fetched up to a limit.

type AggregateOutput = Extract<Output, { kind: 'aggregate' }>

/** What has to be fetched for a grouped plan: its group keys first, then the column of each aggregate. */
export function wantedFor(plan: Plan): Wanted[] {
  const keys: Wanted[] = (plan.groupBy ?? []).map((column) => ({ column, cast: null }))
  const inputs = aggregatesOf(plan).flatMap(({ column, aggregate }): Wanted[] =>
    // As text a number keeps all of its digits.
    column === null ? [] : [{ column, cast: aggregate === 'sum' || aggregate === 'avg' ? 'text' : null }],
  )
  return [...keys, ...inputs]
}

const aggregatesOf = (plan: Plan): AggregateOutput[] => plan.outputs.filter((output) => output.kind === 'aggregate')

/** One group: its keys and, for each aggregate, the values that are not NULL. */
type Group = { keys: unknown[]; rowCount: number; inputs: unknown[][] }

/**
 * Groups rows and computes the outputs of a grouped plan.
 * @param rows values in the order of `wantedFor`.
 * @returns the values of the outputs, sorted as the plan says, without its offset and limit.
 */
export function aggregated(plan: Plan, rows: readonly unknown[][]): unknown[][] {
  const keyCount = plan.groupBy?.length ?? 0
  const groups = new Map<string, Group>()
  const aggregates = aggregatesOf(plan)
  const inputCount = aggregates.filter(({ column }) => column !== null).length
  const emptyGroup = (keys: unknown[]): Group => ({
    keys,
    rowCount: 0,
    inputs: Array.from({ length: inputCount }, () => []),
  })
  if (keyCount === 0 && aggregates.length > 0) groups.set('[]', emptyGroup([]))
  for (const row of rows) {
    const keys = row.slice(0, keyCount)
    const name = JSON.stringify(keys)
    const group = groups.get(name) ?? emptyGroup(keys)
    groups.set(name, group)
    group.rowCount += 1
    row.slice(keyCount).forEach((value, index) => {
      if (value !== null) group.inputs[index]?.push(value)
    })
  }
  const results = [...groups.values()].map((group) => outputsOf(plan, group))
  return results.sort((a, b) => compareRows(a, b, plan.orderBy))
}

function outputsOf(plan: Plan, group: Group): unknown[] {
  let input = 0
  return plan.outputs.map((output) => {
    if (output.kind === 'column')
      return group.keys[plan.groupBy?.findIndex((key) => sameColumn(key, output.column)) ?? -1] ?? null
    if (output.kind === 'star') throw new Error('A grouped plan has no star.')
    if (output.column === null) return group.rowCount
    const values = group.inputs[input++] ?? []
    return compute(
      output,
      output.distinct ? [...new Map(values.map((value) => [JSON.stringify(value), value])).values()] : values,
    )
  })
}

function compute({ aggregate }: AggregateOutput, values: readonly unknown[]): unknown {
  if (aggregate === 'count') return values.length
  if (values.length === 0) return null
  if (aggregate === 'min' || aggregate === 'max') {
    const sign = aggregate === 'min' ? 1 : -1
    return values.reduce((best, value) => (sign * compareValues(value, best) < 0 ? value : best))
  }
  const sum = values.map(numberOf).reduce(add, ZERO)
  return toJson(aggregate === 'sum' ? sum : divide(sum, values.length))
}

function numberOf(value: unknown): Decimal {
  const number = decimalOf(String(value))
  if (!number)
    throw new QueryRefused('sum and avg need a column of numbers.', 'Other columns can be counted: count(name)')
  return number
}

/** Order of two values that are not NULL: numbers by value, false before true, texts by code point. */
function compareValues(a: unknown, b: unknown): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b
  if (typeof a === 'boolean' && typeof b === 'boolean') return Number(a) - Number(b)
  if (typeof a === 'object' || typeof b === 'object') {
    throw new QueryRefused('JSON and arrays have no smallest value.', "Take a value inside of it: min(data->>'name')")
  }
  const [x, y] = [String(a), String(b)]
  const [m, n] = [typeof a === 'number' || typeof b === 'number' ? decimalOf(x) : undefined, decimalOf(y)]
  if (m && n) return compareDecimals(m, n)
  // UTF-16 puts characters beyond the first plane before some within it.
  const [p, q] = [[...x], [...y]]
  for (let i = 0; i < Math.min(p.length, q.length); i++) {
    const difference = (p[i]?.codePointAt(0) ?? 0) - (q[i]?.codePointAt(0) ?? 0)
    if (difference !== 0) return difference
  }
  return p.length - q.length
}

function compareRows(a: unknown[], b: unknown[], keys: readonly SortKey[]): number {
  for (const { by, descending, nullsFirst } of keys) {
    const [x, y] = [a[by as number], b[by as number]]
    if (x === null || y === null) {
      if (x !== y) return (x === null) === nullsFirst ? -1 : 1
      continue
    }
    const difference = compareValues(x, y)
    if (difference !== 0) return descending ? -difference : difference
  }
  return 0
}
