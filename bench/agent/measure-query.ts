import postgres from 'postgres'
import { requestOf } from '../../supabase/functions/_shared/tools/database/execute.ts'
import { parseStatement } from '../../supabase/functions/_shared/tools/database/parser.ts'
import { createDatabaseQuery } from '../../supabase/functions/_shared/tools/database/query.ts'
import { planOf } from '../../supabase/functions/_shared/tools/database/select.ts'
import type { TableDescription } from '../../supabase/functions/_shared/tools/database/tables.ts'
import type { ToolCallContext } from '../../supabase/functions/_shared/tools/types.ts'
import { timed } from '../support/stats.ts'
import { dataOf } from '../support/target.ts'
import { pairOf, type QueryResult, spreadOf } from './results.ts'
import { TABLE_NAMES, type World } from './world.ts'

const RUNS = 100
const WARM_UP_RUNS = 5

const QUERIES = [
  {
    name: 'one table',
    sql: "select id, status, total from bench_orders where status = 'open' and total > 50 order by placed_at desc limit 50",
  },
  {
    name: 'a join',
    sql:
      'select o.id, o.total, c.name from bench_orders o join bench_customers c on c.id = o.customer_id ' +
      "where o.status = 'done' order by o.placed_at desc limit 50",
  },
]

/** The person's own connection: what PostgREST sets before a request is set, so the same policies hold. Rolled back at the end. */
async function asPerson<T>(sql: postgres.Sql, userId: string, read: (sql: postgres.TransactionSql) => Promise<T>) {
  return sql.begin(async (transaction) => {
    const claims = JSON.stringify({ sub: userId, role: 'authenticated' })
    await transaction`select set_config('request.jwt.claims', ${claims}, true), set_config('role', 'authenticated', true)`
    return read(transaction)
  })
}

/** Queries as the tool database_query answers them, and the same SQL by a Postgres client, in turns. */
export async function measureQueries({ deps, caller, agentId, dbUrl }: World): Promise<QueryResult[]> {
  const db = deps.clientFor(caller)
  const tables = TABLE_NAMES.map((name) => ({ schema: 'public', name }))
  const descriptions = dataOf(await db.schema('ai').rpc('describe_tables', { tables })) as TableDescription[]
  const tool = createDatabaseQuery({ tables, descriptions })
  const context: ToolCallContext = {
    callId: 'call',
    idempotencyKey: 'run_000000000000:call',
    signal: new AbortController().signal,
    log: deps.log,
    principal: {
      tenantId: caller.tenantId ?? '',
      userId: caller.userId,
      agentId,
      runId: 'run_000000000000',
      runUuid: '00000000-0000-4000-8000-0000000000f1',
      caller: () => Promise.resolve(caller),
      actingCaller: () => Promise.resolve(caller),
      db: () => Promise.resolve(deps.clientFor(caller)),
      actingDb: () => Promise.resolve(deps.clientFor(caller)),
    },
  }
  const sql = postgres(dbUrl, { max: 1, onnotice: () => {} })
  try {
    const results: QueryResult[] = []
    for (const query of QUERIES) {
      const times = { translate: [] as number[], ours: [] as number[], bare: [] as number[] }
      let count = 0
      for (let run = -WARM_UP_RUNS; run < RUNS; run++) {
        const translated = await timed(async () =>
          requestOf(planOf(await parseStatement(query.sql), tables, descriptions), descriptions),
        )
        const ours = await timed(() => tool.execute({ query: query.sql }, context))
        const bare = await asPerson(sql, caller.userId, (person) =>
          timed(async () => [...(await person.unsafe(query.sql))]),
        )
        count = bare.result.length
        if (ours.result.isError || idsOf(rowsOf(ours.result.text)) !== idsOf(bare.result)) {
          throw new Error(
            `The tool does not answer ${query.name} as the database does: ${ours.result.text.slice(0, 300)}`,
          )
        }
        if (run < 0) continue
        times.translate.push(translated.ms)
        times.ours.push(ours.ms)
        times.bare.push(bare.ms)
      }
      const { name } = query
      results.push({ name, rows: count, translate: spreadOf(times.translate), whole: pairOf(times.ours, times.bare) })
    }
    return results
  } finally {
    await sql.end({ timeout: 1 })
  }
}

type Row = Record<string, unknown>
const rowsOf = (text: string): Row[] => (JSON.parse(text) as { rows: Row[] }).rows
const idsOf = (rows: readonly Row[]): string => rows.map((row) => row['id']).join(' ')
