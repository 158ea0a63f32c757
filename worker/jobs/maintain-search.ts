import { describeError } from '../../supabase/functions/_shared/errors.ts'
import { withDirectConnection, type DirectCall } from '../direct-connection.ts'
import type { Delivery, JobContext } from './context.ts'

const CHUNKS_PER_MOVE = 300
const SEGMENTS_PER_REMOVAL = 1_000
/** Rows that may be left to the step that writers wait for, and how often they are brought in before it. */
const CAUGHT_UP = 100
const MAX_CATCH_UPS = 5

type Context = Pick<JobContext, 'log'> & {
  settings: Pick<JobContext['settings'], 'databaseUrl' | 'graphBuildFrom' | 'graphRetireBelow'>
}

/**
 * Keeps the search index as it should be: chunks lexed in the language of their knowledge base, no segments without items, a
 * graph for each large set of vectors and none for small ones. Every step is a transaction of its own and asks anew what is to
 * be done, so that a worker may die after any of them; searches go on throughout, exact where there is no graph yet.
 * A step that fails is logged and does not keep the others from being done.
 * @throws the first error, for the queue to deliver the job again.
 */
export async function maintainSearch(
  { settings, log }: Context,
  { jobId, signal }: Pick<Delivery, 'jobId' | 'signal'>,
): Promise<void> {
  let first: unknown
  const fields = { job_id: jobId }
  const attempt = async (step: string, run: () => Promise<void>) => {
    try {
      await run()
    } catch (error) {
      signal.throwIfAborted()
      first ??= error
      log.error('maintenance_failed', { ...fields, step, error: describeError(error) })
    }
  }
  await withDirectConnection(settings.databaseUrl, signal, log, async (call) => {
    await attempt('move_chunks', async () => {
      const count = await untilNone(call, 'select private.move_misplaced_chunks($1) as count', CHUNKS_PER_MOVE)
      if (count > 0) log.info('chunks_moved', { ...fields, count })
    })
    await attempt('remove_segments', async () => {
      const count = await untilNone(call, 'select private.remove_empty_segments($1) as count', SEGMENTS_PER_REMOVAL)
      if (count > 0) log.info('segments_removed', { ...fields, count })
    })
    const due = await call<{ vector_set_id: number; action: 'build' | 'retire' }>(
      'select vector_set_id, action from private.due_vector_graphs($1, $2)',
      [settings.graphBuildFrom, settings.graphRetireBelow],
    )
    for (const { vector_set_id: id, action } of due) {
      await attempt(`${action}_graph`, async () => {
        const startedAt = performance.now()
        const isDone = action === 'build' ? await buildGraph(call, id) : await step(call, 'retire_vector_graph', id)
        if (!isDone) return
        const duration = Math.round(performance.now() - startedAt)
        log.info(action === 'build' ? 'graph_built' : 'graph_retired', {
          ...fields,
          vector_set_id: id,
          duration_ms: duration,
        })
      })
    }
    await attempt('drop_graphs', async () => {
      const [dropped] = await call<{ count: number }>('select private.drop_vector_graphs() as count')
      if (dropped && dropped.count > 0) log.info('graphs_dropped', { ...fields, count: dropped.count })
    })
  })
  if (first !== undefined) throw first
}

/** Builds the graph of a set, from where an earlier maintainer left it. False when somebody else is at it. */
async function buildGraph(call: DirectCall, id: number): Promise<boolean> {
  if (!(await step(call, 'begin_vector_graph', id))) return false
  const catchUp = () => step<number | null>(call, 'catch_up_vector_graph', id)
  let changed = await catchUp()
  if (changed === null) {
    if (!(await step(call, 'fill_vector_graph', id))) return false
    changed = await catchUp()
  }
  for (let round = 1; round < MAX_CATCH_UPS && changed !== null && changed > CAUGHT_UP; round++)
    changed = await catchUp()
  return step(call, 'finish_vector_graph', id)
}

async function step<T = boolean>(
  call: DirectCall,
  name:
    | 'begin_vector_graph'
    | 'fill_vector_graph'
    | 'catch_up_vector_graph'
    | 'finish_vector_graph'
    | 'retire_vector_graph',
  vectorSetId: number,
): Promise<T> {
  const [row] = await call<{ result: T }>(`select private.${name}($1) as result`, [vectorSetId])
  return row?.result as T
}

/** Repeats a step that works on a batch until it finds nothing more; returns how many there were. */
async function untilNone(call: DirectCall, statement: string, batchSize: number): Promise<number> {
  let total = 0
  for (;;) {
    const [row] = await call<{ count: number }>(statement, [batchSize])
    if (!row || row.count === 0) return total
    total += row.count
  }
}
