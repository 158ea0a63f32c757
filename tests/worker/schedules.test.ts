import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { DueSchedule, Firing } from '../../supabase/functions/_shared/queue-ledger.ts'
import { fireSchedule, nextOccurrence } from '../../supabase/functions/_shared/schedules.ts'
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

describe('a job about a schedule', () => {
  const due = (id: string, next_run_at: string | null): DueSchedule => ({
    id,
    tenant_id: 'tenant',
    cron: '0 * * * *',
    timezone: 'UTC',
    next_run_at,
  })
  /** One that is delivered at a time; `schedule` is what is due, `answer` what firing it answers. */
  async function deliver(schedule: DueSchedule | null, now: string, answer: Firing | null | Error = null) {
    const calls: unknown[] = []
    const lines: unknown[] = []
    const fired = await fireSchedule(
      {
        ledger: {
          dueSchedule: () => Promise.resolve(schedule),
          planSchedule: ({ id }, at) => Promise.resolve(calls.push(['plan', id, at?.toISOString()]) > 0),
          fireDueSchedule: (id, expected, following) => {
            calls.push(['fire', id, expected, following?.toISOString()])
            return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer)
          },
        },
        log: {
          info: (event, fields) => void lines.push({ event, ...fields }),
          error: (event, fields) => void lines.push({ event, ...fields }),
        },
      },
      schedule?.id ?? 'gone',
      new Date(now),
    ).catch((error: unknown) => error)
    return { calls, lines, fired }
  }

  it('fires what was missed once, however often that was', async () => {
    const { calls, fired } = await deliver(due('a', '2026-01-01T00:00:00+00:00'), '2026-01-04T10:20:00Z', {
      ...{ outcome: 'fired', id: 'x', run_id: 'run_x' },
    })
    expect(calls).toEqual([['fire', 'a', '2026-01-01T00:00:00+00:00', '2026-01-04T11:00:00.000Z']])
    expect(fired).toBe(true)
  })

  it('does not plan again what is due when its clock lags behind the database’s', async () => {
    const { calls } = await deliver(due('a', '2026-01-01T10:00:00+00:00'), '2026-01-01T09:59:58Z')
    expect(calls).toEqual([['fire', 'a', '2026-01-01T10:00:00+00:00', '2026-01-01T11:00:00.000Z']])
  })

  it('plans a new one', async () => {
    const { calls, lines, fired } = await deliver(due('new', null), '2026-01-01T10:00:01Z')
    expect(calls).toEqual([['plan', 'new', '2026-01-01T11:00:00.000Z']])
    expect([lines, fired]).toEqual([[], false])
  })

  it('does nothing about one that is gone, off, or not due', async () => {
    expect(await deliver(null, '2026-01-01T10:00:01Z')).toEqual({ calls: [], lines: [], fired: false })
  })

  const at = '2026-01-01T10:00:00+00:00'
  it.each<[string, Firing | null, unknown[]]>([
    ['taken', null, []],
    ['gone', { outcome: 'disabled', reason: 'creator_left' }, [{ event: 'schedule_disabled', reason: 'creator_left' }]],
    ['good', { outcome: 'fired', id: 'x', run_id: 'run_x' }, [{ event: 'schedule_fired', run_id: 'run_x' }]],
  ])('says what became of it: %s', async (id, answer, expected) => {
    const { lines, fired } = await deliver(due(id, at), '2026-01-01T10:00:01Z', answer)
    expect(lines).toEqual(expected.map((line) => ({ schedule_id: id, tenant_id: 'tenant', ...(line as object) })))
    expect(fired).toBe(id === 'good')
  })

  it('comes again when the database could not say', async () => {
    const { lines, fired } = await deliver(due('broken', at), '2026-01-01T10:00:01Z', new Error('no answer'))
    expect(lines).toEqual([expect.objectContaining({ event: 'schedule_failed', schedule_id: 'broken' })])
    expect(fired).toBeInstanceOf(Error)
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

  it('fire one whose job has been lost, and work on what goes on when a job is about nothing', async () => {
    const client = await stack.signIn('member@harbor.example')
    const ai = client.schema('ai')
    const { data: agent } = await ai.from('agents').select('id,tenant_id').eq('is_default', true).single()
    const made = { agent_id: agent!.id, tenant_id: agent!.tenant_id, cron: '0 0 1 1 *', message: 'What is new?' }
    const { data, error } = await ai
      .from('schedules')
      .insert([
        { ...made, name: 'Lost' },
        { ...made, name: 'Kept' },
      ])
      .select('id')
    expect(error).toBeNull()
    for (const id of [randomUUID(), 'x'])
      await stack.service.schema('ai').rpc('enqueue', { queue: 'fire_schedule', payload: { id } })
    const rows = async () =>
      (await ai.from('schedules').select('next_run_at,last_run_id').in('id', data!.map(({ id }) => id))).data! // prettier-ignore
    await eventually(async () =>
      expect((await rows()).map(({ next_run_at }) => next_run_at !== null)).toEqual([true, true]),
    )
    const lines = () => workers.flatMap((worker) => worker.lines)
    await eventually(() => expect(lines().filter(({ event }) => event === 'malformed_job')).toHaveLength(1))
    // Purged as they become due.
    await stack.db.exec(
      `begin; update ai.schedules set next_run_at = now() - interval '1 hour' where name in ('Lost', 'Kept');
       delete from pgboss.job where name = 'fire_schedule'; commit`,
    )
    await eventually(async () => {
      expect((await rows()).map(({ last_run_id }) => last_run_id !== null)).toEqual([true, true])
    }, 15_000)
    const requeued = lines().filter(({ event, kind }) => event === 'work_requeued' && kind === 'schedule')
    expect(requeued.map(({ id }) => id).sort()).toEqual(data!.map(({ id }) => id as string).sort())
    expect(lines().filter(({ event }) => event === 'schedule_fired')).toHaveLength(2)
  })
})
