import pg from 'pg'
import type { Log } from './log.ts'
import { describeError } from '../supabase/functions/_shared/errors.ts'

/** Calls one function of the database in a transaction of its own and returns its rows. */
export type DirectCall = <R extends Record<string, unknown>>(statement: string, values?: unknown[]) => Promise<R[]>

/**
 * Runs `work` with a connection of its own, apart from the queue's: what it calls may take many minutes, and the queue has to go
 * on. When `signal` aborts the connection is cut, and the server, where it can, ends what it was doing.
 * Nothing is set for longer than a transaction, so a pooler in transaction mode will do.
 */
export async function withDirectConnection<T>(
  databaseUrl: string,
  signal: AbortSignal,
  log: Log,
  work: (call: DirectCall) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted()
  const client = new pg.Client({ connectionString: databaseUrl, application_name: 'bulkhead-maintenance' })
  client.on('error', (error) => log.error('connection_error', { error: describeError(error) }))
  await client.connect()
  const cut = () => void client.end().catch(() => undefined)
  signal.addEventListener('abort', cut)
  try {
    // Servers on systems that cannot notice a lost client refuse the setting.
    const { rows: noticing } = await client.query<{ is_set: boolean }>(
      `select count(*) > 0 as is_set from pg_settings where name = 'client_connection_check_interval' and context = 'user'
       and current_setting('server_version_num')::int >= 140000 and version() ~ 'linux'`,
    )
    const settings = [
      `set local statement_timeout = 0`,
      // Nobody shall wait behind us: what cannot be locked soon is done the next time.
      `set local lock_timeout = '3s'`,
      ...(noticing[0]?.is_set ? [`set local client_connection_check_interval = '1s'`] : []),
    ].join('; ')
    return await work(async <R extends Record<string, unknown>>(statement: string, values: unknown[] = []) => {
      signal.throwIfAborted()
      await client.query(`begin; ${settings}`)
      try {
        const { rows } = await client.query<R>(statement, values)
        await client.query('commit')
        return rows
      } catch (error) {
        await client.query('rollback').catch(() => undefined)
        throw error
      }
    })
  } finally {
    signal.removeEventListener('abort', cut)
    if (!signal.aborted) await client.end()
  }
}
