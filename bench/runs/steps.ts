import pg from 'pg'
import { obey, type ScriptedModel } from '../../tests/support/scripted-model/index.ts'
import { TABLE_NAMES, type World } from '../agent/world.ts'
import { createWriteCount, type Writes } from './writes.ts'
import { api, askerOf, inBackground, streamed, timesOf, whenOver, type Times } from './tools.ts'

const STEPS = 20
const RUNS = 5
const TURNS = 40
const WARM_UP_TURNS = 5
/** Schemas whose tables a run writes to. The queue's own are left out: they are swept all the time. */
const SCHEMAS = ['ai', 'private', 'public', 'realtime']

/** Milliseconds of turns, and of a plain request to the same function. */
export type Turns = { withTool: Times; without: Times; request: Times }

/**
 * Versions of rows that a further step with one call of a tool costs: those inserted and updated. The difference between runs
 * of many such steps and runs of none, so that what a run costs once is not counted.
 */
export type Rows = {
  byTable: Map<string, number>
  /** Of all tables, without events and their ways to devices. */
  besidesEvents: number
  /** Of the journal. */
  journal: number
  /** Transactions of a further step that wrote. */
  transactions: Writes
  /** Of the run itself, which change with time and not with steps: its lease. */
  leasesPerSecond: number
}

/** What steps and turns cost. Rows are counted by the server, which a PGlite does not do: null there. */
export type StepsResult = {
  stepsPerSecond: number
  rows: Rows | null
  turns: Turns
  events: number
  /** Bytes of all rows of a turn of one question and an answer of 100 words, as written and once it has been folded. */
  turnBytes: number
  foldedBytes: number
  textBytes: number
}

/** Versions of rows written so far, by table. Partitions count as their table. */
const counters = async (db: pg.Pool): Promise<Map<string, number>> => {
  // A session that has become idle reports what it has done after ten seconds.
  await new Promise((resolve) => setTimeout(resolve, 11_000))
  const { rows } = await db.query<{ name: string; written: string }>(
    `select coalesce(inhparent::regclass::text, schemaname || '.' || relname) as name, sum(n_tup_ins + n_tup_upd) as written
     from pg_stat_user_tables left join pg_inherits on inhrelid = relid
     where schemaname = any ($1) group by 1`,
    [SCHEMAS],
  )
  return new Map(rows.map(({ name, written }) => [name, Number(written)]))
}

const BYTES = `
  select (
    (select coalesce(sum(pg_column_size(t.*)), 0) from ai.agent_runs as t where id = $1)
    + (select coalesce(sum(pg_column_size(t.*)), 0) from ai.run_events as t where run_id = $1)
    + (select coalesce(sum(pg_column_size(t.*)), 0) from ai.run_steps as t where run_id = $1)
    + (select coalesce(sum(pg_column_size(t.*)), 0) from private.run_requests as t where run_id = $1)
    + (select coalesce(sum(pg_column_size(t.*)), 0) from ai.usage_entries as t where run_id = $1)
  )::int as bytes`

/** What makes a run survive its executor: its events, its journal, and the row with its lease. */
const EVENTS = 'ai.run_events'
const DELIVERIES = 'realtime.messages'
const JOURNAL = 'ai.run_steps'
const RUN = 'ai.agent_runs'

/** What asks for a run of so many calls of a tool, one in each step. */
const asking = (calls: number): string =>
  calls === 0
    ? 'Say hello.'
    : Array.from(
        { length: calls },
        (_, i) => `CALL database_query ${JSON.stringify({ query: `select id from ${TABLE_NAMES[0]} limit ${i + 1}` })}`,
      ).join('\n')

/** What further steps cost, in versions of rows by table. */
async function countRows(world: World, db: pg.Pool): Promise<Rows> {
  let seconds = 0
  const writes = await createWriteCount(db, SCHEMAS)
  const written = async (calls: number) => {
    const before = await counters(db)
    seconds = 0
    await writes.begin()
    for (let i = 0; i < RUNS; i++) {
      const run = await whenOver(db, await streamed(world, askerOf(world), asking(calls)))
      seconds += (run.completed - run.started) / 1000
    }
    const transactions = await writes.read()
    const after = await counters(db)
    return { rows: (table: string) => (after.get(table) ?? 0) - (before.get(table) ?? 0), transactions }
  }
  const none = await written(0)
  const many = await written(STEPS)
  const tables = [...(await counters(db)).keys()].sort()
  const perStep = tables.map((table): [string, number] => [
    table,
    (many.rows(table) - none.rows(table)) / (RUNS * STEPS),
  ])
  const byTable = new Map(perStep.filter(([, rows]) => rows > 0))
  const sum = [...byTable].reduce((all, [table, rows]) => all + ([EVENTS, DELIVERIES].includes(table) ? 0 : rows), 0)
  return {
    byTable,
    besidesEvents: sum,
    journal: byTable.get(JOURNAL) ?? 0,
    transactions: writes.perStep(many.transactions, none.transactions, RUNS * STEPS),
    leasesPerSecond: (many.rows(RUN) - none.rows(RUN)) / seconds,
  }
}

/** A turn with one call of a tool, one without, and a plain request to the function, from asking to the last byte. */
async function measureTurns(world: World): Promise<Turns> {
  const timed = async (work: () => Promise<unknown>) => {
    const startedAt = performance.now()
    await work()
    return performance.now() - startedAt
  }
  const asker = askerOf(world)
  const withTool: number[] = []
  const without: number[] = []
  const request: number[] = []
  // In turns: what else the machine does meets all of them.
  for (let i = -WARM_UP_TURNS; i < TURNS; i++) {
    const times = [
      await timed(() => streamed(world, asker, asking(1))),
      await timed(() => streamed(world, asker, asking(0))),
      await timed(() => api(world, asker, 'GET', `/agents/${asker.agentId}`)),
    ] as const
    if (i < 0) continue
    withTool.push(times[0])
    without.push(times[1])
    request.push(times[2])
  }
  return { withTool: timesOf(withTool), without: timesOf(without), request: timesOf(request) }
}

/** Runs of many steps, one call of a tool each. */
export async function measureSteps(
  world: World,
  model: ScriptedModel,
  db: pg.Pool,
  isNative: boolean,
): Promise<StepsResult> {
  model.play(obey())
  const turns = await measureTurns(world)
  let seconds = 0
  let steps = 0
  for (let i = 0; i < RUNS; i++) {
    const run = await whenOver(db, await streamed(world, askerOf(world), asking(STEPS)))
    seconds += (run.completed - run.started) / 1000
    steps += run.steps
  }
  const perStep = isNative ? await countRows(world, db) : null

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
    rows: perStep,
    turns,
    events: rows[0]?.count ?? 0,
    turnBytes,
    foldedBytes: await bytes(),
    textBytes: Buffer.byteLength(question + words.join('')),
  }
}
