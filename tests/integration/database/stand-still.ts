import { setTimeout as sleep } from 'node:timers/promises'
import type { DbCaller, SessionDatabase, Sql } from '../../../local/database/database.ts'
import { SERVICE } from '../../support/two-sessions.ts'

/**
 * A trigger function that stands still where its session has said so by the setting `tests.stop_at`, the name of a table: until
 * the lock `gate` is let go. So two sessions meet at a row of a test's choice.
 * @param name of the function, in the schema `tests`
 */
export const createStandStill = (query: (text: string) => Promise<unknown>, name: string, gate: number) =>
  query(`create function tests.${name}() returns trigger language plpgsql as $$
    begin
      if current_setting('tests.stop_at', true) = tg_table_name then
        perform set_config('tests.stop_at', '', true);
        perform pg_advisory_xact_lock_shared(${gate});
      end if;
      if tg_op = 'DELETE' then
        return old;
      end if;
      return new;
    end $$`)

/** Has everybody stand still who comes to the lock `gate`. @returns opens it. */
export async function closeGate(db: SessionDatabase, gate: number): Promise<() => Promise<unknown>> {
  const goOn = Promise.withResolvers<void>()
  const isHeld = Promise.withResolvers<void>()
  const holding = db.asCaller(SERVICE, async (tx) => {
    await tx.query('select pg_advisory_xact_lock($1)', [gate])
    isHeld.resolve()
    await goOn.promise
  })
  await isHeld.promise
  return () => {
    goOn.resolve()
    return holding
  }
}

/** Sessions of this database that wait for a lock. */
export async function countWaiting(db: SessionDatabase): Promise<number> {
  const [row] = await db.query<{ count: number }>(
    `select count(*)::int as count from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
  )
  return row?.count ?? 0
}

/** Resolves when so many wait for a lock, or `promise` is settled. @returns whether they wait. */
export async function untilWaiting(db: SessionDatabase, many: number, promise: Promise<unknown>): Promise<boolean> {
  let isSettled = false
  const settled = () => void (isSettled = true)
  promise.then(settled, settled)
  for (let i = 0; i < 500; i++) {
    if ((await countWaiting(db)) >= many) return true
    if (isSettled) return false
    await sleep(5)
  }
  throw new Error('Neither waited for a lock nor got through.')
}

/** `done`, or the code of the error, once it is settled. */
export const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'done',
    (error: Error & { code?: string }) => error.code ?? error.message,
  )

/** Somebody who does their work in a transaction of their own. */
export type Actor = { caller: DbCaller; work: (tx: Sql) => Promise<unknown> }

/**
 * One stands still where it first changes a row of the table `stop`, the other begins and waits or gets through, then the first goes on.
 * @param gate lock of the trigger function that `createStandStill` has made.
 * @returns what became of each, as `codeOf`. @throws when the first does not stand still.
 */
export async function meetStandingStill(
  db: SessionDatabase,
  gate: number,
  stop: string,
  one: Actor,
  two: Actor,
): Promise<[string, string]> {
  const release = await closeGate(db, gate)
  const earlier = codeOf(
    db.asCaller(one.caller, async (tx) => {
      await tx.query(`select set_config('tests.stop_at', $1, true)`, [stop])
      return one.work(tx)
    }),
  )
  let later = Promise.resolve('')
  try {
    if (!(await untilWaiting(db, 1, earlier))) throw new Error(`It did not stand still at ${stop}: ${await earlier}`)
    later = codeOf(db.asCaller(two.caller, two.work))
    await untilWaiting(db, 2, later)
  } finally {
    await release()
  }
  return Promise.all([earlier, later])
}
