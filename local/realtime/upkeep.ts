import type { Database } from '../database/database.ts'
import type { RealtimeLog } from './options.ts'

/**
 * Keeps the daily partitions of realtime.messages: yesterday to three days ahead exist, older than 72 hours are dropped.
 * Without one for today every realtime.send is lost, so it runs at start and every `intervalMs`.
 */
export const startUpkeep = (
  db: Database,
  intervalMs: number,
  log: RealtimeLog,
): { done: Promise<void>; close: () => Promise<void> } => {
  const run = (): Promise<void> =>
    db.query('select realtime.ensure_partitions()').then(
      () => undefined,
      (error: unknown) => log.warn('partitions_not_kept', { error: String(error) }),
    )
  let current = run()
  const done = current
  const timer = setInterval(() => {
    current = run()
  }, intervalMs)
  timer.unref()
  return {
    done,
    close: () => {
      clearInterval(timer)
      return current
    },
  }
}
