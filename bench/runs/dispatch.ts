import pg from 'pg'
import { PgBoss } from 'pg-boss'
import type { ScriptedModel } from '../../tests/support/scripted-model/index.ts'
import type { World } from '../agent/world.ts'
import { askerOf, inBackground, timesOf, whenOver, type Times } from './tools.ts'

const RUNS = 40
const QUEUE = 'bench_plain'

/** From being queued to being begun: a run that the worker carries out, and a job of the same queue that does nothing. */
export async function measureDispatch(
  world: World,
  model: ScriptedModel,
  db: pg.Pool,
): Promise<{ run: Times; job: Times }> {
  model.play(() => ({ text: 'Done.' }))
  const boss = new PgBoss({
    connectionString: world.dbUrl,
    schema: 'pgboss',
    migrate: false,
    supervise: false,
    schedule: false,
    useListenNotify: true,
    max: 2,
  })
  await boss.start()
  let arrived = (): void => {}
  try {
    await boss.createQueue(QUEUE, { notify: true })
    await boss.work(QUEUE, { pollingIntervalSeconds: 2, notifyPollingIntervalSeconds: 2 }, async () => arrived())
    await new Promise((resolve) => setTimeout(resolve, 500))
    const runs: number[] = []
    const jobs: number[] = []
    // In turns: what else the machine does meets both.
    for (let i = 0; i < RUNS; i++) {
      const { created, started } = await whenOver(db, await inBackground(world, askerOf(world), 'Hello.'))
      runs.push(started - created)
      const done = new Promise<void>((resolve) => (arrived = resolve))
      const sentAt = performance.now()
      await boss.send(QUEUE, { id: String(i) })
      await done
      jobs.push(performance.now() - sentAt)
    }
    return { run: timesOf(runs), job: timesOf(jobs) }
  } finally {
    await boss.offWork(QUEUE).catch(() => undefined)
    await boss.deleteQueue(QUEUE).catch(() => undefined)
    await boss.stop({ graceful: false })
  }
}
