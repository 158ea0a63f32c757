import { CronExpressionParser } from 'cron-parser'
import { describeError } from './errors.ts'
import type { Ledger } from './ledger.ts'

/** What both the functions' and the worker's log do. */
type Log = Record<'info' | 'error', (event: string, fields: Record<string, string>) => void>

/** Schedules looked at in one go. What is left over comes first the next time. */
const SCHEDULES_PER_TICK = 100

/**
 * The first time after `after` that a cron expression of five fields names in a time zone. An hour that a change of clocks
 * leaves out is made up for after it; one that comes twice counts once.
 * @returns null when there is none, e.g. for 31 February or an unknown zone.
 */
export function nextOccurrence(cron: string, timezone: string, after: Date): Date | null {
  // Six fields would begin with seconds.
  if (cron.trim().split(/\s+/).length !== 5) return null
  try {
    return CronExpressionParser.parse(cron, { currentDate: after, tz: timezone }).next().toDate()
  } catch {
    return null
  }
}

/**
 * Begins the runs of schedules that are due, and plans new ones. However many times were missed, each begins one run: its next
 * time is after `now`. Several processes may do this at once.
 * @returns how many runs began.
 */
export async function fireDueSchedules(
  { ledger, log }: { ledger: Pick<Ledger, 'dueSchedules' | 'planSchedule' | 'fireDueSchedule'>; log: Log },
  now = new Date(),
): Promise<number> {
  let fired = 0
  for (const schedule of await ledger.dueSchedules(SCHEDULES_PER_TICK)) {
    const fields = { schedule_id: schedule.id, tenant_id: schedule.tenant_id }
    try {
      // A clock that lags behind the database's must not plan what is due once more.
      const after = new Date(Math.max(now.getTime(), Date.parse(schedule.next_run_at ?? '') || 0))
      const following = nextOccurrence(schedule.cron, schedule.timezone, after)
      if (schedule.next_run_at === null) {
        await ledger.planSchedule(schedule, following)
        continue
      }
      const firing = await ledger.fireDueSchedule(schedule.id, schedule.next_run_at, following)
      if (firing === null) continue
      if (firing.outcome === 'fired') fired += 1
      log.info(`schedule_${firing.outcome}`, {
        ...fields,
        ...('run_id' in firing ? { run_id: firing.run_id } : {}),
        ...('reason' in firing ? { reason: firing.reason } : {}),
      })
    } catch (error) {
      // It stays due. The others have nothing to do with it.
      log.error('schedule_failed', { ...fields, error: describeError(error) })
    }
  }
  return fired
}
