import { Hono } from 'hono'
import { actsOn } from '../../_shared/context.ts'
import type { Db } from '../../_shared/context.ts'
import { AppError, missing, unwrap } from '../../_shared/errors.ts'
import { parseLenientBody, uuidParam, warningsField } from '../../_shared/http.ts'
import { findAgent } from '../../_shared/execution/agent.ts'
import type { ToolPermissions } from '../../_shared/hooks/permissions.ts'
import type { ApiEnv } from '../env.ts'
import { written } from '../rows.ts'
import { assignmentOf, assignmentPatch, assignmentRequest, checkOverride, overrideNotes } from '../tool-assignment.ts'

const COLUMNS = 'id,tool_type,tool_name,tool_id,config_override,permissions'

type AssignmentRow = {
  id: string
  tool_type: string
  tool_name: string
  tool_id: string | null
  config_override: Record<string, unknown>
  permissions: ToolPermissions
}

const NOT_ALLOWED =
  'Only its creator and admins can change the tools of an agent, and only admins those that send data out of the tenant or have permissions.'

async function findAssignment(db: Db, agentId: string, id: string): Promise<AssignmentRow> {
  const [row] = unwrap<AssignmentRow[]>(
    await db
      .schema('ai')
      .from('agent_tools')
      .select(COLUMNS)
      .eq('id', id)
      .eq('agent_id', agentId)
      .returns<AssignmentRow[]>(),
  )
  if (!row) throw missing('assignment')
  return row
}

/** The tools of an agent. Each acts with the rights of whoever runs it. */
export const agentTools = new Hono<ApiEnv>()
  .post('/:id/tools', actsOn('agent'), async (c) => {
    const { db } = c.var
    const agent = await findAgent(db, uuidParam(c, 'id', 'agent'))
    const { body, warnings } = await parseLenientBody(c, assignmentRequest, (sent) =>
      checkOverride({ ...assignmentOf(sent), tool_name: sent.tool_name }, sent.config_override ?? {}),
    )
    const assignment = assignmentOf(body)
    const override = body.config_override ?? {}
    if (assignment.tool_type === 'builtin') warnings.push(...overrideNotes(body.tool_name, override))
    const row = written<AssignmentRow>(
      await db
        .schema('ai')
        .from('agent_tools')
        .insert({
          tenant_id: agent.tenant_id,
          agent_id: agent.id,
          ...assignment,
          tool_name: body.tool_name,
          config_override: override,
          ...(body.permissions ? { permissions: body.permissions } : {}),
        })
        .select(COLUMNS)
        .single<AssignmentRow>(),
      // The composite foreign key: no such tool in the agent's tenant.
      { forbidden: NOT_ALLOWED, conflict: 'The agent has a tool of this name already', not_found: missing('tool') },
    )
    return c.json({ ...row, agent_id: agent.id, ...warningsField(warnings) }, 201)
  })
  .get('/:id/tools', actsOn('agent'), async (c) => {
    const agent = await findAgent(c.var.db, uuidParam(c, 'id', 'agent'))
    const tools = unwrap<AssignmentRow[]>(
      await c.var.db
        .schema('ai')
        .from('agent_tools')
        .select(COLUMNS)
        .eq('agent_id', agent.id)
        .order('created_at')
        .order('id')
        .returns<AssignmentRow[]>(),
    )
    return c.json({ tools })
  })
  .patch('/:id/tools/:assignment_id', actsOn('agent'), async (c) => {
    const { db } = c.var
    const agent = await findAgent(db, uuidParam(c, 'id', 'agent'))
    const assignment = await findAssignment(db, agent.id, uuidParam(c, 'assignment_id', 'assignment'))
    const { body, warnings } = await parseLenientBody(c, assignmentPatch, ({ config_override: sent }) =>
      sent === undefined ? [] : checkOverride(assignment, sent),
    )
    const { config_override: override, permissions } = body
    // Clients send `config` here, which their own server takes without effect; the warning says so.
    if (override === undefined && permissions === undefined)
      return c.json({ ...assignment, ...warningsField(warnings) })
    if (override !== undefined && assignment.tool_type === 'builtin') {
      warnings.push(...overrideNotes(assignment.tool_name, override))
    }
    const [row] = unwrap<AssignmentRow[]>(
      await db
        .schema('ai')
        .from('agent_tools')
        .update({
          ...(override === undefined ? {} : { config_override: override }),
          ...(permissions === undefined ? {} : { permissions }),
        })
        .eq('id', assignment.id)
        .select(COLUMNS)
        .returns<AssignmentRow[]>(),
    )
    if (!row) throw new AppError('forbidden', NOT_ALLOWED)
    return c.json({ ...row, ...warningsField(warnings) })
  })
  .delete('/:id/tools/:assignment_id', actsOn('agent'), async (c) => {
    const { db } = c.var
    const agent = await findAgent(db, uuidParam(c, 'id', 'agent'))
    const assignment = await findAssignment(db, agent.id, uuidParam(c, 'assignment_id', 'assignment'))
    const deleted = unwrap<unknown[]>(
      await db.schema('ai').from('agent_tools').delete().eq('id', assignment.id).select('id'),
    )
    if (deleted.length === 0) throw new AppError('forbidden', NOT_ALLOWED)
    return c.json({ deleted: true })
  })
