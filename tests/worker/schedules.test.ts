import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { DueSchedule, Firing } from '../../supabase/functions/_shared/queue-ledger.ts'
import { fireDueSchedules, nextOccurrence } from '../../supabase/functions/_shared/schedules.ts'
import { eventually } from '../support/eventually.ts'
import { useStack } from '../support/stack.ts'
import { spawnWorker, type WorkerUnderTest } from './ingestion-support.ts'

describe('the next time', () => {
  it.each([
    ['*/5 * * * *', 'UTC', '2026-01-01T00:00:00Z', '2026-01-01T00:05:00.000Z'],
    ['0 9 * * 1-5', 'America/New_York', '2026-01-02T15:00:00Z', '2026-01-05T14:00:00.000Z'],
    ['30 2 1 JAN *', 'Asia/Kolkata', '2026-01-01T00:00:00Z', '2026-12-31T21:00:00.000Z'],
    // An hour that the clocks skip, and one that comes twice.
    ['30 2 * * *', 'Europe/Berlin', '2026-03-28T12:00:00Z', '2026-03-29T01:30:00.000Z'],
    ['30 2 * * *', 'Europe/Berlin', '2026-10-25T00:30:00Z', '2026-10-26T01:30:00.000Z'],
    ['0 0 29 2 *', 'UTC', '2026-01-01T00:00:00Z', '2028-02-29T00:00:00.000Z'],
  ])('%s in %s after %s is %s', (cron, timezone, after, expected) => {
    expect(nextOccurrence(cron, timezone, new Date(after))?.toISOString()).toBe(expected)
  })

  it.each([
    ['0 0 31 2 *', 'UTC'],
    ['* * * * *', 'Mars/Phobos'],
    // Seconds, which the library would take.
    ['* * * * * *', 'UTC'],
    ['@secondly', 'UTC'],
    ['', 'UTC'],
  ])('%s in %s has none', (cron, timezone) => {
    expect(nextOccurrence(cron, timezone, new Date('2026-01-01T00:00:00Z'))).toBeNull()
  })

  it('is never less than a minute away from the last', () => {
    let time = new Date('2026-10-25T00:00:00Z')
    for (let i = 0; i < 200; i++) {
      const next = nextOccurrence('* * * * *', 'Europe/Berlin', time)!
      expect(next.getTime() - time.getTime()).toBeGreaterThanOrEqual(60_000)
      time = next
    }
  })
})

describe('a tick', () => {
  const due = (id: string, next_run_at: string | null): DueSchedule => ({
    id,
    tenant_id: 'tenant',
    cron: '0 * * * *',
    timezone: 'UTC',
    next_run_at,
  })
  /** A tick over these schedules at a time; `answers` says what firing one answers. */
  async function tick(schedules: DueSchedule[], now: string, answers: Record<string, Firing | null | Error> = {}) {
    const calls: unknown[] = []
    const lines: unknown[] = []
    const fired = await fireDueSchedules(
      {
        ledger: {
          dueSchedules: () => Promise.resolve(schedules),
          planSchedule: (schedule, at) => Promise.resolve(calls.push(['plan', schedule.id, at?.toISOString()]) > 0),
          fireDueSchedule: (id, expected, following) => {
            calls.push(['fire', id, expected, following?.toISOString()])
            const answer = answers[id] ?? null
            return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer)
          },
        },
        log: {
          info: (event, fields) => void lines.push({ event, ...fields }),
          error: (event, fields) => void lines.push({ event, ...fields }),
        },
      },
      new Date(now),
    )
    return { calls, lines, fired }
  }

  it('fires what was missed once, however often that was', async () => {
    const { calls, fired } = await tick([due('a', '2026-01-01T00:00:00+00:00')], '2026-01-04T10:20:00Z', {
      a: { outcome: 'fired', id: 'x', run_id: 'run_x' },
    })
    expect(calls).toEqual([['fire', 'a', '2026-01-01T00:00:00+00:00', '2026-01-04T11:00:00.000Z']])
    expect(fired).toBe(1)
  })

  it('does not plan again what is due when its clock lags behind the database’s', async () => {
    const { calls } = await tick([due('a', '2026-01-01T10:00:00+00:00')], '2026-01-01T09:59:58Z')
    expect(calls).toEqual([['fire', 'a', '2026-01-01T10:00:00+00:00', '2026-01-01T11:00:00.000Z']])
  })

  it('plans new ones, and goes on when one fails', async () => {
    const at = '2026-01-01T10:00:00+00:00'
    const { calls, lines, fired } = await tick(
      [due('new', null), due('broken', at), due('taken', at), due('gone', at), due('good', at)],
      '2026-01-01T10:00:01Z',
      {
        broken: new Error('no answer'),
        gone: { outcome: 'disabled', reason: 'creator_left' },
        good: { outcome: 'fired', id: 'x', run_id: 'run_x' },
      },
    )
    expect(calls[0]).toEqual(['plan', 'new', '2026-01-01T11:00:00.000Z'])
    expect(calls).toHaveLength(5)
    expect(lines).toEqual([
      expect.objectContaining({ event: 'schedule_failed', schedule_id: 'broken' }),
      { event: 'schedule_disabled', schedule_id: 'gone', tenant_id: 'tenant', reason: 'creator_left' },
      { event: 'schedule_fired', schedule_id: 'good', tenant_id: 'tenant', run_id: 'run_x' },
    ])
    expect(fired).toBe(1)
  })
})

describe('workers', () => {
  const stack = useStack()
  const workers: WorkerUnderTest[] = []
  beforeEach(async () => {
    // One after the other: the embedded database has one session.
    for (let i = 0; i < 2; i++) workers.push(await spawnWorker(stack, { WORKER_SCHEDULE_SECONDS: '0.5' }))
  })
  afterEach(async () => void (await Promise.all(workers.splice(0).map((worker) => worker.kill()))))

  it('two of them begin the run of a schedule once, and carry it out', async () => {
    const client = await stack.signIn('member@harbor.example')
    const ai = client.schema('ai')
    const { data: agent } = await ai.from('agents').select('id,tenant_id').eq('is_default', true).single()
    const { data, error } = await ai
      .from('schedules')
      .insert({
        ...{ agent_id: agent!.id, tenant_id: agent!.tenant_id },
        name: 'Yearly',
        cron: '0 0 1 1 *',
        message: 'What is new?',
      })
      .select('id')
      .single()
    expect(error).toBeNull()
    const row = async () => (await ai.from('schedules').select('*').eq('id', data!.id).single()).data!
    await eventually(async () => expect((await row()).next_run_at).toMatch(/-01-01T00:00:00\+00:00$/))

    await stack.db.query(`update ai.schedules set next_run_at = now() - interval '2 years' where id = $1`, [data!.id])
    await eventually(async () => expect((await row()).last_run_id).not.toBeNull())
    await eventually(async () => {
      const runs = await ai.from('agent_runs').select('status,input_messages').eq('agent_id', agent!.id)
      expect(runs.data).toEqual([{ status: 'completed', input_messages: [{ role: 'user', content: 'What is new?' }] }])
    }, 15_000)
    const fired = workers.flatMap(({ lines }) => lines.filter(({ event }) => event === 'schedule_fired'))
    expect(fired).toHaveLength(1)
  })
})
