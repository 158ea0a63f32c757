import { setTimeout as sleep } from 'node:timers/promises'
import type { Database, DbCaller, Sql } from '../../local/database/database.ts'

/** A signed-in person. */
export const person = (sub: string): DbCaller => ({ role: 'authenticated', claims: { sub, role: 'authenticated' } })
/** The ledger, as the secret key reaches it. */
export const SERVICE: DbCaller = { role: 'service_role', claims: { role: 'service_role' } }

/** What a transaction ended with. */
export type Outcome = { value: unknown } | { code: string; detail: string }

/**
 * Lets two transactions meet: the first does its work and stays open until the second, which was begun meanwhile, waits for
 * a lock of it (or is through). Then the first commits.
 * @returns what each of them ended with
 */
export async function meet(
  db: Database,
  [firstCaller, first]: [DbCaller, (tx: Sql) => Promise<unknown>],
  [secondCaller, second]: [DbCaller, (tx: Sql) => Promise<unknown>],
): Promise<[Outcome, Outcome]> {
  const settle = (promise: Promise<unknown>): Promise<Outcome> =>
    promise.then(
      (value) => ({ value }),
      (error: Error & { code?: string; detail?: string }) => ({
        code: error.code ?? error.message,
        detail: error.detail ?? '',
      }),
    )
  let isWorking = () => {}
  const working = new Promise<void>((resolve) => (isWorking = resolve))
  let mayCommit = () => {}
  const commit = new Promise<void>((resolve) => (mayCommit = resolve))
  const one = settle(
    db.asCaller(firstCaller, async (tx) => {
      try {
        return await first(tx)
      } finally {
        isWorking()
        await commit
      }
    }),
  )
  await working
  let isThrough = false
  const two = settle(db.asCaller(secondCaller, second)).finally(() => (isThrough = true))
  for (let i = 0; i < 100 && !isThrough; i++) {
    const [row] = await db.query<{ count: number }>(
      `select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    )
    if (Number(row?.count) > 0) break
    await sleep(20)
  }
  mayCommit()
  return Promise.all([one, two])
}

/** Work of a transaction: one call, such as `ai.claim_run($1)`. */
export const call =
  (text: string, ...params: unknown[]) =>
  async (tx: Sql) => {
    const [row] = await tx.query<{ result: unknown }>(`select ${text} as result`, params)
    return row?.result
  }
