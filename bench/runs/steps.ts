import pg from 'pg'
import { obey, type ScriptedModel } from '../../tests/support/scripted-model/index.ts'
import { TABLE_NAMES, type World } from '../agent/world.ts'
import { askerOf, inBackground, streamed, whenOver, type Json } from './tools.ts'

const STEPS = 20
const RUNS = 5

/** What steps and turns cost. Rows are counted by the server, which a PGlite does not do: null there. */
export type StepsResult = {
  stepsPerSecond: number
  /** Rows written per step into the tables of steps and calls; and writes of the log, each a transaction that holds all of them. */
  journalRows: number | null
  transactions: number | null
  events: number
  /** Bytes of all rows of a turn of one question and an answer of 100 words, as written and once it has been folded. */
  turnBytes: number
  foldedBytes: number
  textBytes: number
}

/** Rows written so far, by table. */
const counters = async (db: pg.Pool): Promise<Partial<Record<string, number>>> => {
  // A session that has become idle reports what it has done after ten seconds.
  await new Promise((resolve) => setTimeout(resolve, 11_000))
  const { rows } = await db.query<Json>(
    `select relname, n_tup_ins + n_tup_upd as written from pg_stat_user_tables
     where relname in ('run_steps', 'run_calls', 'agent_runs', 'run_events')`,
  )
  return Object.fromEntries(rows.map((row) => [String(row['relname']), Number(row['written'])]))
}

const BYTES = `
  select (
    (select coalesce(sum(pg_column_size(t.*)), 0) from ai.agent_runs as t where id = $1)
    + (select coalesce(sum(pg_column_size(t.*)), 0) from ai.run_events as t where run_id = $1)
    + (select coalesce(sum(pg_column_size(t.*)), 0) from ai.run_steps as t where run_id = $1)
    + (select coalesce(sum(pg_column_size(t.*)), 0) from private.run_calls as t where run_id = $1)
    + (select coalesce(sum(pg_column_size(t.*)), 0) from private.run_requests as t where run_id = $1)
    + (select coalesce(sum(pg_column_size(t.*)), 0) from ai.usage_entries as t where run_id = $1)
  )::int as bytes`

/** Runs of many steps, one call of a tool each. */
export async function measureSteps(
  world: World,
  model: ScriptedModel,
  db: pg.Pool,
  isNative: boolean,
): Promise<StepsResult> {
  model.play(obey())
  const calls = Array.from(
    { length: STEPS },
    (_, i) => `CALL database_query ${JSON.stringify({ query: `select id from ${TABLE_NAMES[0]} limit ${i + 1}` })}`,
  ).join('\n')
  const before = isNative ? await counters(db) : {}
  let seconds = 0
  let steps = 0
  for (let i = 0; i < RUNS; i++) {
    const run = await whenOver(db, await streamed(world, askerOf(world), calls))
    seconds += (run.completed - run.started) / 1000
    steps += run.steps
  }
  const after = isNative ? await counters(db) : {}
  const written = (name: string) => (after[name] ?? 0) - (before[name] ?? 0)

  const words = Array.from({ length: 100 }, (_, i) => ` word${i}`)
  model.play(() => ({ text: words, between: () => new Promise((resolve) => setTimeout(resolve, 20)) }))
  const question = 'What does the harbor inspection record after the storm?'
  const { id } = await whenOver(db, await inBackground(world, askerOf(world), question))
  const bytes = async () => Number((await db.query<{ bytes: number }>(BYTES, [id])).rows[0]?.bytes)
  const turnBytes = await bytes()
  const { rows } = await db.query<{ count: number }>(
    'select count(*)::int as count from ai.run_events where run_id = $1',
    [id],
  )
  await db.query(`update ai.agent_runs set completed_at = completed_at - interval '10 minutes' where id = $1`, [id])
  await db.query('select ai.sweep_run_log()')
  return {
    stepsPerSecond: steps / seconds,
    journalRows: isNative ? (written('run_steps') + written('run_calls')) / steps : null,
    transactions: isNative ? written('agent_runs') / steps : null,
    events: rows[0]?.count ?? 0,
    turnBytes,
    foldedBytes: await bytes(),
    textBytes: Buffer.byteLength(question + words.join('')),
  }
}
