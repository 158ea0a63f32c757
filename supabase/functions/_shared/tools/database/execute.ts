import type { Db } from '../../context.ts'
import type { Log } from '../../errors.ts'
import { aggregated, wantedFor } from './aggregate.ts'
import { refusalOf } from './failures.ts'
import type { Plan } from './plan.ts'
import { QueryRefused } from './refusal.ts'
import { hasCheckedJoin, type ReadRequest, readRequest, type Wanted } from './request.ts'
import { flatten, type JsonRow, valuesOf } from './rows.ts'
import type { TableDescription } from './tables.ts'

/** Rows without LIMIT. */
export const DEFAULT_LIMIT = 100

/** Most rows of a result, and of one request. */
export const MAX_ROWS = 1000

/** Most rows that aggregates and DISTINCT are computed of. */
export const MAX_AGGREGATED_ROWS = 10_000

/** Who asks: `db` carries a token of the person. */
export type Reader = { db: Db; signal: AbortSignal; log: Log }

/** Rows as objects, and what the model should know about them. */
export type QueryResult = { rows: JsonRow[]; notes: string[] }

/** Answers a plan with requests of the person. @throws QueryRefused when that cannot be done; what aborts. */
export function execute(plan: Plan, descriptions: readonly TableDescription[], reader: Reader): Promise<QueryResult> {
  return plan.groupBy === null ? executePlain(plan, descriptions, reader) : executeGrouped(plan, descriptions, reader)
}

/**
 * The request that reads the rows of a plan, but for its limit and offset; for a grouped one those its groups are made of.
 * @throws QueryRefused for what PostgREST cannot be asked.
 */
export function requestOf(plan: Plan, descriptions: readonly TableDescription[]): ReadRequest {
  if (plan.groupBy !== null) {
    const wanted = wantedFor(plan)
    return readRequest(plan, wanted.length > 0 ? wanted : [someColumn(plan, descriptions)], null, descriptions)
  }
  const wanted = plan.outputs.map((output): Wanted => {
    if (output.kind === 'aggregate') throw new Error('A plan with aggregates is a grouped one.')
    return output.kind === 'star' ? { star: output.table } : { column: output.column, cast: output.cast }
  })
  return readRequest(plan, wanted, plan.orderBy, descriptions)
}

async function executePlain(
  plan: Plan,
  descriptions: readonly TableDescription[],
  reader: Reader,
): Promise<QueryResult> {
  const request = requestOf(plan, descriptions)
  const { limit, isCut } = limitOf(plan)
  // One more than needed tells whether there are more.
  const ask = Math.min(MAX_ROWS, limit + (isCut ? 1 : 0))
  let rows: unknown[][]
  if (request.multiplies) {
    // Limit and offset of the request count rows of the first table, of which each becomes at least one.
    if (plan.offset + limit > MAX_ROWS) {
      throw new QueryRefused('OFFSET and LIMIT go too far for this join.', `Their sum may be ${MAX_ROWS} at most here.`)
    }
    const answer = await read(request, { limit: Math.min(MAX_ROWS, plan.offset + ask), offset: 0 }, reader)
    rows = answer.rows.slice(plan.offset)
  } else {
    rows = (await read(request, { limit: ask, offset: plan.offset }, reader)).rows
  }
  const hasMore = isCut && (rows.length > limit || (limit === MAX_ROWS && rows.length === MAX_ROWS))
  return {
    rows: rows.slice(0, limit).map((values) => named(plan, values)),
    notes: hasMore ? [moreRows(limit)] : [],
  }
}

async function executeGrouped(
  plan: Plan,
  descriptions: readonly TableDescription[],
  reader: Reader,
): Promise<QueryResult> {
  const values = (await countOnly(plan, descriptions, reader)) ?? (await aggregatedRows(plan, descriptions, reader))
  const { limit, isCut } = limitOf(plan)
  const rows = values.slice(plan.offset, plan.offset + limit)
  return {
    rows: rows.map((row) => named(plan, row)),
    notes: isCut && values.length > plan.offset + limit ? [moreRows(limit)] : [],
  }
}

/** `select count(*)`, which the database counts itself however many rows there are; null for all other plans. */
async function countOnly(
  plan: Plan,
  descriptions: readonly TableDescription[],
  reader: Reader,
): Promise<unknown[][] | null> {
  const [output, ...more] = plan.outputs
  const isCount =
    output?.kind === 'aggregate' && output.column === null && more.length === 0 && plan.groupBy?.length === 0
  if (!isCount) return null
  const request = readRequest(plan, [someColumn(plan, descriptions)], [], descriptions)
  // Where joined rows have to be checked they have to be fetched.
  if (request.multiplies || request.tree.children.some(hasCheckedJoin)) return null
  return [[await count(request, reader)]]
}

/** A column the caller may read, to ask for rows of which nothing else is needed. */
function someColumn(plan: Plan, descriptions: readonly TableDescription[]): Wanted {
  const table = plan.tables[0]
  const name = descriptions.find((one) => one.schema === table?.schema && one.name === table.name)?.columns[0]?.name
  return name === undefined ? { star: 0 } : { column: { table: 0, column: name, path: [] }, cast: null }
}

async function aggregatedRows(
  plan: Plan,
  descriptions: readonly TableDescription[],
  reader: Reader,
): Promise<unknown[][]> {
  const request = requestOf(plan, descriptions)
  // Most often one request has them all, and then their order does not matter.
  const first = await read({ ...request, order: null }, { limit: MAX_ROWS, offset: 0, count: true }, reader)
  if (first.total > MAX_AGGREGATED_ROWS || (first.total > first.fetched && !request.isTotallyOrdered)) {
    throw new QueryRefused(
      `There are ${first.total} rows, too many to group or add up.`,
      'Narrow them down with WHERE. count(*) alone works for any number of rows: select count(*) from orders',
    )
  }
  const isWhole = first.total <= first.fetched
  const rows = isWhole ? first.rows : []
  for (let fetched = isWhole ? first.total : 0; fetched < first.total; ) {
    const next = await read(request, { limit: MAX_ROWS, offset: fetched, count: true }, reader)
    if (next.total !== first.total || next.fetched === 0) {
      throw new QueryRefused('The rows changed while they were read.', 'Send the query again.')
    }
    rows.push(...next.rows)
    fetched += next.fetched
  }
  return aggregated(plan, wantedFor(plan).length > 0 ? rows : rows.map(() => []))
}

const limitOf = (plan: Plan): { limit: number; isCut: boolean } => ({
  limit: Math.min(plan.limit ?? DEFAULT_LIMIT, MAX_ROWS),
  isCut: plan.limit === null || plan.limit > MAX_ROWS,
})

const moreRows = (limit: number): string =>
  `There are more rows than these ${limit}. Use WHERE, or LIMIT (at most ${MAX_ROWS}) and OFFSET.`

/** The values of a row under the names of the outputs. */
function named(plan: Plan, values: readonly unknown[]): JsonRow {
  // Without a prototype any name can be a key of it.
  const row = Object.create(null) as JsonRow
  plan.outputs.forEach((output, index) => {
    if (output.kind !== 'star') {
      row[output.name] = values[index]
      return
    }
    for (const [name, value] of Object.entries(values[index] as JsonRow)) {
      row[Object.hasOwn(row, name) ? `${plan.tables[output.table]?.alias ?? ''}_${name}` : name] = value
    }
  })
  return row
}

type Page = { limit: number; offset: number; count?: boolean }

/** One page of rows. `fetched` counts rows of the root table, `total` all there are (0 unless counted). */
async function read(
  request: ReadRequest,
  page: Page,
  reader: Reader,
): Promise<{ rows: unknown[][]; fetched: number; total: number }> {
  const query = tableOf(request, reader)
  query.url.searchParams.set('limit', String(page.limit))
  if (page.offset > 0) query.url.searchParams.set('offset', String(page.offset))
  const answer = await query.select(request.select, page.count ? { count: 'exact' } : {}).abortSignal(reader.signal)
  if (answer.error) throw refusalOf(answer.error, reader.signal, reader.log)
  const data = answer.data as unknown as JsonRow[]
  const rows = data.flatMap((row) => flatten(row, request.tree)).map((row) => valuesOf(row, request.values))
  return { rows, fetched: data.length, total: answer.count ?? 0 }
}

async function count(request: ReadRequest, reader: Reader): Promise<number> {
  // Not by HEAD: its answer has no body, so that a refusal would come without its code.
  const query = tableOf(request, reader)
  query.url.searchParams.set('limit', '1')
  const answer = await query.select(request.select, { count: 'exact' }).abortSignal(reader.signal)
  if (answer.error) throw refusalOf(answer.error, reader.signal, reader.log)
  return answer.count ?? 0
}

/** The table's endpoint with the parameters of a request; supabase-js adds the token. */
function tableOf(request: ReadRequest, reader: Reader) {
  const query = reader.db.schema(request.schema).from(request.table)
  for (const [name, value] of request.parameters) query.url.searchParams.append(name, value)
  if (request.order !== null) query.url.searchParams.set('order', request.order)
  return query
}
