import { Hono } from 'hono'
import type { Context } from 'hono'
import { z } from 'zod'
import { actsOn } from '../../_shared/context.ts'
import { AppError, missing, unwrap } from '../../_shared/errors.ts'
import { pageOf, uuid, uuidParam, warningsField } from '../../_shared/http.ts'
import { droppedInList } from '../../_shared/ignored-input.ts'
import { findAgent } from '../../_shared/execution/agent.ts'
import { unwrapPage } from '../lists.ts'
import type { ApiEnv } from '../env.ts'
import { parseOptionalBody } from '../optional-body.ts'

/** Sessions that are looked through for what the database cannot filter by: texts and counts of runs. */
const MAX_SCANNED = 5000
const ROWS_PER_REQUEST = 1000
const MAX_PREVIEW_CHARS = 500

const message = z.object({ role: z.string(), content: z.string() })

/** Body of `POST /api/agents/{id}/sessions`. The database checks the rest: pairs, lengths, for whom. */
export const sessionRequest = z.object({
  user_id: uuid.nullish(),
  initial_messages: z
    .array(message, 'initial_messages must be a list of {role, content}')
    .max(200, 'initial_messages may have 200 messages')
    .nullish(),
})

const moment = (name: string) => z.iso.datetime({ offset: true, error: `${name} must be a time as ISO 8601 has it` })
const count = z.coerce.number().int().min(0)

/** Query of `GET /api/agents/{id}/sessions`, besides limit and offset. */
export const sessionFilters = z.object({
  search: z.string().trim().max(200).optional(),
  created_after: moment('created_after').optional(),
  created_before: moment('created_before').optional(),
  min_runs: count.optional(),
  max_runs: count.optional(),
})
type Filters = z.output<typeof sessionFilters>

type Row = {
  session_id: string
  created_at: string
  updated_at: string
  agent_runs: { count: number }[]
  first_run: { input_messages: { role: string; content: string }[] }[]
}

function filtersOf(c: Context): Filters {
  const parsed = sessionFilters.safeParse(c.req.query())
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  throw new AppError('invalid_request', `${issue?.path.join('.') ?? 'query'}: ${issue?.message ?? 'not understood'}`)
}

/** A session with what a list shows of it. Each run touches its session, so that its last change is its last activity. */
const present = ({ session_id, created_at, updated_at, agent_runs, first_run }: Row) => ({
  session_id,
  run_count: agent_runs[0]?.count ?? 0,
  last_activity_at: updated_at,
  created_at,
  first_message: first_run[0]?.input_messages.at(-1)?.content.slice(0, MAX_PREVIEW_CHARS) ?? null,
})

async function readSessions(
  c: Context<ApiEnv>,
  agentId: string,
  { created_after: after, created_before: before }: Filters,
  { limit, offset }: { limit: number; offset: number },
) {
  let query = c.var.db
    .schema('ai')
    .from('agent_sessions')
    .select('session_id,created_at,updated_at,agent_runs(count),first_run:agent_runs(input_messages)', {
      count: 'exact',
    })
    .eq('agent_id', agentId)
  if (after !== undefined) query = query.gte('created_at', after)
  if (before !== undefined) query = query.lte('created_at', before)
  const answer = await query
    .order('updated_at', { ascending: false })
    .order('id')
    .order('created_at', { referencedTable: 'first_run' })
    .limit(1, { referencedTable: 'first_run' })
    .range(offset, offset + limit - 1)
    .returns<Row[]>()
  const { rows, total } = unwrapPage<Row>(answer)
  return { sessions: rows.map(present), total }
}

type Session = ReturnType<typeof present>

const holdsFor = ({ search, min_runs: least = 0, max_runs: most = Infinity }: Filters) => {
  const wanted = search?.toLowerCase() ?? ''
  return ({ session_id, first_message, run_count }: Session) =>
    run_count >= least &&
    run_count <= most &&
    (wanted === '' || `${session_id}\n${first_message ?? ''}`.toLowerCase().includes(wanted))
}

/** Sessions by a filter the database does not have, among the latest ones. */
async function scanSessions(c: Context<ApiEnv>, agentId: string, filters: Filters) {
  const found: Session[] = []
  const holds = holdsFor(filters)
  for (let offset = 0; offset < MAX_SCANNED; offset += ROWS_PER_REQUEST) {
    const { sessions } = await readSessions(c, agentId, filters, { limit: ROWS_PER_REQUEST, offset })
    found.push(...sessions.filter(holds))
    if (sessions.length < ROWS_PER_REQUEST) return { found, warnings: [] }
  }
  return { found, warnings: [`Only the latest ${MAX_SCANNED} sessions were looked through.`] }
}

/** The conversations of an agent, as far as they are the caller's. */
export const agentSessions = new Hono<ApiEnv>()
  .get('/:id/sessions', actsOn('agent'), async (c) => {
    const agent = await findAgent(c.var.db, uuidParam(c, 'id', 'agent'))
    const filters = filtersOf(c)
    const page = pageOf(c, 50, 200)
    const { search, min_runs, max_runs } = filters
    if (!search && min_runs === undefined && max_runs === undefined) {
      return c.json({ ...(await readSessions(c, agent.id, filters, page)), ...page })
    }
    const { found, warnings } = await scanSessions(c, agent.id, filters)
    const sessions = found.slice(page.offset, page.offset + page.limit)
    return c.json({ sessions, total: found.length, ...page, ...warningsField(warnings) })
  })
  .post('/:id/sessions', actsOn('agent'), async (c) => {
    const agentId = uuidParam(c, 'id', 'agent')
    const { body, warnings } = await parseOptionalBody(c, sessionRequest, (_body, sent) =>
      droppedInList('initial_messages', sent['initial_messages'], Object.keys(message.shape)),
    )
    const sessionId = unwrap<string>(
      await c.var.db.schema('ai').rpc('create_session', {
        agent_id: agentId,
        user_id: body.user_id ?? null,
        initial_messages: body.initial_messages ?? null,
      }),
    )
    return c.json({ session_id: sessionId, ...warningsField(warnings) }, 201)
  })
  .delete('/:id/sessions/:session_id', actsOn('agent'), async (c) => {
    const agent = await findAgent(c.var.db, uuidParam(c, 'id', 'agent'))
    const sessionId = c.req.param('session_id')
    if (!/^[A-Za-z0-9_.:@-]{1,200}$/.test(sessionId)) throw missing('session')
    const deleted = unwrap<unknown[]>(
      await c.var.db
        .schema('ai')
        .from('agent_sessions')
        .delete()
        .eq('agent_id', agent.id)
        .eq('session_id', sessionId)
        .select('id'),
    )
    if (deleted.length === 0) throw missing('session')
    return c.body(null, 204)
  })
