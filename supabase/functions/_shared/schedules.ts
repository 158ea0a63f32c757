import { CronExpressionParser } from 'cron-parser'
import { describeError, type PlainLog } from './errors.ts'
import type { Ledger } from './ledger.ts'

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
 * Begins the run of a schedule that is due, or plans one that has no time yet. However many times were missed, one run begins:
 * the next time is after `now`. Several processes may do this at once. One that is gone, switched off or not due is left alone.
 * @returns whether a run began. @throws when the database could not say: the schedule stays due.
 */
export async function fireSchedule(
  { ledger, log }: { ledger: Pick<Ledger, 'dueSchedule' | 'planSchedule' | 'fireDueSchedule'>; log: PlainLog },
  id: string,
  now = new Date(),
): Promise<boolean> {
  const fields: Record<string, string> = { schedule_id: id }
  try {
    const schedule = await ledger.dueSchedule(id)
    if (schedule === null) return false
    fields['tenant_id'] = schedule.tenant_id
    // A clock that lags behind the database's must not plan what is due once more.
    const after = new Date(Math.max(now.getTime(), Date.parse(schedule.next_run_at ?? '') || 0))
    const following = nextOccurrence(schedule.cron, schedule.timezone, after)
    if (schedule.next_run_at === null) {
      // What has changed meanwhile has been queued again.
      await ledger.planSchedule(schedule, following)
      return false
    }
    const firing = await ledger.fireDueSchedule(schedule.id, schedule.next_run_at, following)
    if (firing === null) return false
    log.info(`schedule_${firing.outcome}`, {
      ...fields,
      ...('run_id' in firing ? { run_id: firing.run_id } : {}),
      ...('reason' in firing ? { reason: firing.reason } : {}),
    })
    return firing.outcome === 'fired'
  } catch (error) {
    log.error('schedule_failed', { ...fields, error: describeError(error) })
    throw error
  }
}
