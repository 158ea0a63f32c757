import type { Hono } from 'hono'
import { identify } from '../_shared/context.ts'
import { AppError, describeError } from '../_shared/errors.ts'
import { createRouter } from '../_shared/http.ts'
import { background } from '../_shared/runtime.ts'
import { drain } from './drain.ts'
import type { WorkerDeps, WorkerEnv } from './env.ts'

/** The function `worker`: does on a call what a long-lived worker does by itself. For the holder of a secret key only. */
export function createApp(deps: WorkerDeps): Hono<WorkerEnv> {
  const app = createRouter<WorkerDeps>('/worker', deps)
  app.use(identify)
  app.post('/', async (c) => {
    if (c.var.identity.kind !== 'service') throw new AppError('forbidden', 'Only the secret key may do this.')
    const work = drain(deps)
    if (c.req.query('wait') === 'true') return c.json(await work)
    // Whoever calls on a timer does not wait for minutes.
    void background(work, (error) => deps.log.error('drain_failed', { error: describeError(error) }))
    return c.json({ status: 'accepted' }, 202)
  })
  return app
}
