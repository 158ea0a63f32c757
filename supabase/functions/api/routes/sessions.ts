import { Hono } from 'hono'
import type { Context } from 'hono'
import { actsOn } from '../../_shared/context.ts'
import { AppError, missing, unwrap } from '../../_shared/errors.ts'
import { pageOf } from '../../_shared/http.ts'
import { RUN_COLUMNS, citationsOf, presentRun, toolCallsOf } from '../../_shared/run-rows.ts'
import type { RunRow } from '../../_shared/run-rows.ts'
import type { ApiEnv } from '../env.ts'

const SESSION_COLUMNS = 'id,session_id,agent_id,user_id,session_data,metadata,created_at,updated_at'

type SessionRow = {
  id: string
  session_id: string
  agent_id: string | null
  user_id: string | null
  session_data: Record<string, unknown>
  metadata: Record<string, unknown>
  created_at: string
  updated_at: string
}

/** The session a path names by its public id. @throws AppError `session_not_found`, `tenant_required`. */
async function findSession(c: Context<ApiEnv>): Promise<SessionRow> {
  const sessionId = c.req.param('id') ?? ''
  if (!/^[A-Za-z0-9_.:@-]{1,200}$/.test(sessionId)) throw missing('session')
  const rows = unwrap(
    await c.var.db
      .schema('ai')
      .from('agent_sessions')
      .select(SESSION_COLUMNS)
      .eq('session_id', sessionId)
      .limit(2)
      .returns<SessionRow[]>(),
  )
  // Ids are unique per tenant; a member of several may have chosen the same one twice.
  if (rows.length > 1) {
    throw new AppError('tenant_required', 'You have sessions with this id in several tenants.', {
      hint: 'Send the x-tenant-id header.',
    })
  }
  const [session] = rows
  if (!session) throw missing('session')
  return session
}

const runsOf = (c: Context<ApiEnv>, session: SessionRow) =>
  c.var.db.schema('ai').from('agent_runs').select(RUN_COLUMNS).eq('session_id', session.id)

/** Whether the model was asked to reason, what it thought before it answered and for how long, as far as that was kept. */
function reasoningFields({ steps, reasoning_steps }: RunRow) {
  const thoughts = reasoning_steps.map((step) => Object(step) as { content?: unknown; duration_ms?: unknown })
  const texts = thoughts.flatMap(({ content }) => (typeof content === 'string' && content !== '' ? [content] : []))
  const times = thoughts.flatMap(({ duration_ms: ms }) => (typeof ms === 'number' ? [ms] : []))
  return {
    reasoning_requested: steps.some((step) => Object(step)['reasoning_requested'] === true),
    ...(texts.length === 0 ? {} : { reasoning: texts.join('\n\n') }),
    ...(times.length === 0 ? {} : { reasoning_duration_ms: times.reduce((sum, ms) => sum + ms, 0) }),
  }
}

/** Sessions: conversations with an agent. Their messages are their runs. */
export const sessions = new Hono<ApiEnv>()
  .get('/:id', actsOn('session'), async (c) => c.json(await findSession(c)))
  .get('/:id/messages', actsOn('session'), async (c) => {
    const session = await findSession(c)
    const { limit } = pageOf(c, 200, 200)
    const newest = unwrap(
      await runsOf(c, session)
        .eq('status', 'completed')
        .order('created_at', { ascending: false })
        // Two messages each.
        .limit(Math.ceil(limit / 2))
        .returns<RunRow[]>(),
    )
    const citations = await citationsOf(
      c.var.db,
      newest.map((run) => run.id),
    )
    const messages = newest.toReversed().flatMap((run) => [
      {
        role: 'user',
        content: run.input_messages.at(-1)?.content ?? '',
        run_id: run.run_id,
        timestamp: run.started_at ?? run.created_at,
      },
      {
        role: 'assistant',
        content: run.content ?? '',
        run_id: run.run_id,
        timestamp: run.completed_at ?? run.created_at,
        retrieved_context: run.retrieved_context,
        citations: citations.get(run.id) ?? [],
        ...reasoningFields(run),
      },
    ])
    return c.json({ session_id: session.session_id, messages: messages.slice(-limit) })
  })
  .get('/:id/runs', actsOn('session'), async (c) => {
    const session = await findSession(c)
    const { limit, offset } = pageOf(c, 100, 100)
    const rows = unwrap(
      await runsOf(c, session)
        .order('created_at', { ascending: false })
        .order('id')
        .range(offset, offset + limit - 1)
        .returns<RunRow[]>(),
    )
    const ids = rows.map((run) => run.id)
    const [citations, toolCalls] = await Promise.all([citationsOf(c.var.db, ids), toolCallsOf(c.var.db, ids)])
    const runs = rows.map((row) => {
      const { retrieved_context: _context, ...run } = presentRun(row, toolCalls.get(row.id) ?? [])
      return { ...run, citations: citations.get(row.id) ?? [] }
    })
    return c.json({ session_id: session.session_id, runs, limit, offset })
  })
  .get('/:id/runs/:run_id/retrieved-context', actsOn('session'), async (c) => {
    const session = await findSession(c)
    const runId = c.req.param('run_id')
    const [run] = /^run_[0-9a-f]{12}$/.test(runId)
      ? unwrap(await runsOf(c, session).eq('run_id', runId).returns<RunRow[]>())
      : []
    if (!run) throw missing('run')
    return c.json({ session_id: session.session_id, run_id: run.run_id, retrieved_context: run.retrieved_context })
  })
  .delete('/:id', actsOn('session'), async (c) => {
    const session = await findSession(c)
    const deleted = unwrap(
      await c.var.db.schema('ai').from('agent_sessions').delete().eq('id', session.id).select('id'),
    )
    if (deleted.length === 0) throw missing('session')
    return c.json({ success: true, message: 'Session deleted' })
  })
