import { Hono } from 'hono'
import { z } from 'zod'
import { actsOn, resolveCaller } from '../../_shared/context.ts'
import { AppError, missing, unwrap } from '../../_shared/errors.ts'
import { jsonObject, parseLenientBody, uuidParam, warningsField } from '../../_shared/http.ts'
import { isUuid } from '../../_shared/ids.ts'
import { AGENT_COLUMNS, findAgent } from '../../_shared/execution/agent.ts'
import type { AgentRow } from '../../_shared/execution/agent.ts'
import { settingWarnings } from '../../_shared/execution/agent-settings.ts'
import type { ApiDeps, ApiEnv } from '../env.ts'
import { listRequest, pageFields, unwrapPage } from '../lists.ts'

const name = z
  .string('Name is required')
  .trim()
  .min(1, 'Name is required')
  .max(200, 'Name may have at most 200 characters')
const model = z.string().trim().max(200).nullish()
const systemPrompt = z.string().max(100_000).nullish()

/** Body of `POST /api/agents`. */
export const agentRequest = z.object({ name, model, system_prompt: systemPrompt, settings: jsonObject.nullish() })
/** Body of `PATCH /api/agents/{id}`; settings are replaced whole. */
export const agentPatch = z.object({
  name: name.optional(),
  model,
  system_prompt: systemPrompt,
  settings: jsonObject.optional(),
  /** False: no run of it may begin, and those that go on are stopped. */
  published: z.boolean().optional(),
})

type ListRow = AgentRow & {
  agent_sessions: { count: number }[]
  agent_runs: { count: number }[]
  last_run: { created_at: string }[]
}

/** Agents that are read to sort them; the Data API gives as many at once. */
const MAX_SORTED = 1000

/** Those that never ran come last, whatever the order. */
function sortedByLastRun(rows: ListRow[], ascending: boolean): ListRow[] {
  const timeOf = ({ last_run: [last] }: ListRow) => (last === undefined ? null : Date.parse(last.created_at))
  return rows.toSorted((a, b) => {
    const [left, right] = [timeOf(a), timeOf(b)]
    if (left === null || right === null) return Number(left === null) - Number(right === null)
    return ascending ? left - right : right - left
  })
}

/** Agents: configured assistants. */
export const agents = new Hono<ApiEnv>()
  .get('/', actsOn(), async (c) => {
    const list = listRequest(c, ['created_at', 'name', 'updated_at', 'last_run_at'], 100)
    const { deps } = c.var
    const byLastRun = list.sort === 'last_run_at'
    let query = c.var.db
      .schema('ai')
      .from('agents')
      .select(`${AGENT_COLUMNS},agent_sessions(count),agent_runs(count),last_run:agent_runs(created_at)`, {
        count: 'exact',
      })
      .order('created_at', { referencedTable: 'last_run', ascending: false })
      .limit(1, { referencedTable: 'last_run' })
    if (list.pattern !== null) query = query.ilike('name', list.pattern)
    // The database cannot order rows by their runs: for that order all are read, and sorted here.
    const [from, to] = byLastRun ? [0, MAX_SORTED - 1] : [list.offset, list.offset + list.limit - 1]
    const answer = await query
      .order(byLastRun ? 'created_at' : list.sort, { ascending: list.ascending })
      .order('id')
      .range(from, to)
      .returns<ListRow[]>()
    const { rows: read, total } = unwrapPage<ListRow>(answer)
    const rows = byLastRun ? sortedByLastRun(read, list.ascending).slice(list.offset, list.offset + list.limit) : read
    const warnings = byLastRun && total > MAX_SORTED ? [`Only ${MAX_SORTED} agents are sorted by their last run.`] : []
    return c.json({
      agents: rows.map(({ agent_sessions, agent_runs, last_run, ...agent }) => ({
        ...presentAgent(agent, deps),
        session_count: agent_sessions[0]?.count ?? 0,
        total_runs: agent_runs[0]?.count ?? 0,
        last_run_at: last_run[0]?.created_at ?? null,
      })),
      ...pageFields(list, total),
      ...warningsField(warnings),
    })
  })
  .post('/', actsOn(), async (c) => {
    const { body, warnings } = await parseLenientBody(c, agentRequest, ({ settings }) => settingWarnings(settings))
    const row = unwrap<AgentRow>(
      await c.var.db
        .schema('ai')
        .from('agents')
        .insert({
          name: body.name,
          model: body.model || null,
          system_prompt: body.system_prompt ?? null,
          settings: body.settings ?? {},
        })
        .select(AGENT_COLUMNS)
        .single<AgentRow>(),
    )
    const { id, name: stored, model: used, system_prompt, settings } = presentAgent(row, c.var.deps)
    return c.json({ id, name: stored, model: used, system_prompt, settings, ...warningsField(warnings) }, 201)
  })
  .get('/:id', actsOn('agent'), async (c) => {
    const agent = await findAgent(c.var.db, uuidParam(c, 'id', 'agent'))
    return c.json(presentAgent(agent, c.var.deps))
  })
  .patch('/:id', actsOn('agent'), async (c) => {
    const id = uuidParam(c, 'id', 'agent')
    const { body, warnings } = await parseLenientBody(c, agentPatch, ({ settings }) => settingWarnings(settings))
    const changes = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined))
    if (Object.keys(changes).length === 0) {
      throw new AppError('invalid_request', warnings.length > 0 ? 'No valid fields to update' : 'No data provided')
    }
    const { data, error } = await c.var.db
      .schema('ai')
      .from('agents')
      .update(changes)
      .eq('id', id)
      .select(AGENT_COLUMNS)
      .returns<AgentRow[]>()
    const [row] = unwrap<AgentRow[]>({ data, error })
    if (!row) {
      await findAgent(c.var.db, id)
      throw new AppError(
        'forbidden',
        'Only its creator and admins can change an agent, and only admins one that has tools which send data out.',
      )
    }
    return c.json({ ...presentAgent(row, c.var.deps), ...warningsField(warnings) })
  })
  .delete('/:id', async (c) => {
    const gone = () => c.json({ message: 'Agent deleted' })
    const id = c.req.param('id')
    if (!isUuid(id)) return gone()
    try {
      await resolveCaller(c, 'agent', id)
    } catch (error) {
      // Clients of the agent API expect the same answer for an id that does not exist.
      if (error instanceof AppError && error.code === missing('agent').code) return gone()
      throw error
    }
    const { db } = c.var
    const deleted = unwrap(await db.schema('ai').from('agents').delete().eq('id', id).select('id'))
    if (deleted.length > 0) return gone()
    const { data, error } = await db.schema('ai').from('agents').select('is_default').eq('id', id).maybeSingle()
    const row = error ? unwrap({ data, error }) : (data as { is_default: boolean } | null)
    if (row === null) return gone()
    throw row.is_default
      ? new AppError('conflict', 'The default agent of a tenant cannot be deleted.')
      : new AppError('forbidden', 'Only its creator and admins can delete an agent.')
  })

/** An agent as clients see it: without a model of its own it shows the one that would answer. */
function presentAgent(row: AgentRow, { chat, runs }: Pick<ApiDeps, 'chat' | 'runs'>) {
  const { tenant_id: _tenantId, is_default: _isDefault, ...agent } = row
  return { ...agent, model: row.model || chat.modelFor(runs.defaults.model) }
}
