import pg from 'pg'

/** Transactions that wrote rows. */
export type Writes = {
  /** By what each of them wrote, tables in order; those that carried only pieces of text are not among them. */
  byTables: Map<string, number>
  /**
   * Sum of those that are of steps: without the counters of requests, of which a run of no steps has as many, counted in lots, and without
   * sweeps, which are done by time.
   */
  all: number
  /** Those that carried only pieces of text of the answer, and their ways to devices. */
  text: number
  /**
   * Transaction numbers that the server has given out, to whomever and for whatever, less one for each delivery, which is made in a
   * subtransaction: what else writes, or locks only, would show here.
   */
  numbers: number
}

const TEXT = 'pieces of text'
const DELIVERIES = 'realtime.messages'
const REQUESTS = 'private.rate_counters'
const SWEEPS = 'private.sweeps'
const isOfSteps = (kind: string) => kind !== REQUESTS && !kind.split(' + ').includes(SWEEPS)
/** Fewer of a kind than this in a step are of something that happens by time. */
const SELDOM = 0.02

/**
 * Counts the transactions that write a row of any table of some schemas, by triggers that note the number of the transaction: a
 * statement that changes nothing is not counted, and a transaction once, however much it writes.
 */
export async function createWriteCount(db: pg.Pool, schemas: readonly string[]) {
  await db.query(`
    create schema if not exists bench;
    create unlogged table if not exists bench.writes (id xid8 not null, name text not null);
    create or replace function bench.note_write() returns trigger language plpgsql security definer set search_path = '' as $$
    begin
      insert into bench.writes
      values (
        pg_current_xact_id(),
        case when tg_table_name = 'run_events' and tg_op = 'INSERT' and to_jsonb(new) ->> 'type' in ('content_delta', 'reasoning_delta')
          then '${TEXT}' else coalesce(tg_argv[0], '') end
      );
      return null;
    end $$;
    grant usage on schema bench to public;
    grant execute on function bench.note_write() to public`)
  const { rows: tables } = await db.query<{ name: string }>(
    `select relnamespace::regnamespace || '.' || quote_ident(relname) as name from pg_class
     where relnamespace::regnamespace::text = any ($1) and relkind in ('r', 'p') and not relispartition`,
    [schemas],
  )
  for (const { name } of tables) {
    await db.query(
      `create or replace trigger bench_note_write after insert or update or delete on ${name}
       for each row execute function bench.note_write(${pg.escapeLiteral(name)})`,
    )
  }

  type Counted = { byTables: Map<string, number>; numbers: number }
  let begunAt = 0
  const nextNumber = async () => {
    const { rows } = await db.query<{ next: string }>('select pg_snapshot_xmax(pg_current_snapshot())::text as next')
    return Number(rows[0]?.next)
  }
  return {
    async begin(): Promise<void> {
      await db.query('truncate bench.writes')
      begunAt = await nextNumber()
    },
    async read(): Promise<Counted> {
      const given = (await nextNumber()) - begunAt
      const deliveries = await db.query<{ count: number }>(
        'select count(*)::int as count from bench.writes where name = $1',
        [DELIVERIES],
      )
      const { rows } = await db.query<{ tables: string; count: number }>(
        `select tables, count(*)::int as count
         from (
           select string_agg(distinct name, ' + ' order by name) filter (where name <> '${DELIVERIES}') as tables from bench.writes group by id
         ) as transactions
         where tables is not null
         group by tables`,
      )
      return {
        byTables: new Map(rows.map(({ tables, count }) => [tables, count])),
        numbers: given - (deliveries.rows[0]?.count ?? 0),
      }
    },
    /** What so many steps more have cost, for each of them. */
    perStep(many: Counted, none: Counted, steps: number): Writes {
      const kinds = [...new Set([...many.byTables.keys(), ...none.byTables.keys()])].sort()
      const more = (...some: string[]) =>
        some.reduce((sum, kind) => sum + (many.byTables.get(kind) ?? 0) - (none.byTables.get(kind) ?? 0), 0) / steps
      const others = kinds.filter((kind) => kind !== TEXT)
      const byTables = new Map(
        others.map((kind): [string, number] => [kind, more(kind)]).filter(([, n]) => Math.abs(n) >= SELDOM),
      )
      return {
        byTables,
        all: [...byTables].reduce((sum, [kind, n]) => (isOfSteps(kind) ? sum + n : sum), 0),
        text: more(TEXT),
        numbers: (many.numbers - none.numbers) / steps,
      }
    },
  }
}
