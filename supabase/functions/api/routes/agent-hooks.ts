import { Hono } from 'hono'
import { actsOn } from '../../_shared/context.ts'
import { AppError, missing, unwrap } from '../../_shared/errors.ts'
import { parseLenientBody, uuidParam, warningsField } from '../../_shared/http.ts'
import { findAgent } from '../../_shared/execution/agent.ts'
import type { ApiEnv } from '../env.ts'
import { checkHook, hookRequest } from '../hook-config.ts'
import { written } from '../rows.ts'

const HOOK_COLUMNS = 'id,agent_id,event,matcher,type,config,enabled,position,created_at'

type HookRow = {
  id: string
  agent_id: string
  event: string
  matcher: string | null
  type: string
  config: Record<string, unknown>
  enabled: boolean
  position: number
  created_at: string
}

const NOT_ALLOWED =
  'Only its creator and admins can change the hooks of an agent, and only admins those that send data out.'

/** Hooks of an agent: what stands between its runs and the world. They are made and removed, not changed. */
export const agentHooks = new Hono<ApiEnv>()
  .post('/:id/hooks', actsOn('agent'), async (c) => {
    const { db } = c.var
    const agent = await findAgent(db, uuidParam(c, 'id', 'agent'))
    const { body, warnings } = await parseLenientBody(c, hookRequest, (hook) => checkHook(hook).warnings)
    const { config } = checkHook(body)
    const row = written<HookRow>(
      await db
        .schema('ai')
        .from('hooks')
        .insert({
          tenant_id: agent.tenant_id,
          agent_id: agent.id,
          event: body.event,
          type: body.type,
          config,
          matcher: body.matcher || null,
          enabled: body.enabled ?? true,
          position: body.position ?? 0,
        })
        .select(HOOK_COLUMNS)
        .single<HookRow>(),
      { forbidden: NOT_ALLOWED },
    )
    return c.json({ ...row, ...warningsField(warnings) }, 201)
  })
  .get('/:id/hooks', actsOn('agent'), async (c) => {
    const agent = await findAgent(c.var.db, uuidParam(c, 'id', 'agent'))
    const hooks = unwrap<HookRow[]>(
      await c.var.db
        .schema('ai')
        .from('hooks')
        .select(HOOK_COLUMNS)
        .eq('agent_id', agent.id)
        .order('position')
        .order('created_at')
        .order('id')
        .returns<HookRow[]>(),
    )
    return c.json({ hooks })
  })
  .delete('/:id/hooks/:hook_id', actsOn('agent'), async (c) => {
    const { db } = c.var
    const agent = await findAgent(db, uuidParam(c, 'id', 'agent'))
    const id = uuidParam(c, 'hook_id', 'hook')
    const table = () => db.schema('ai').from('hooks')
    const deleted = unwrap<unknown[]>(await table().delete().eq('id', id).eq('agent_id', agent.id).select('id'))
    if (deleted.length > 0) return c.json({ deleted: true })
    const left = unwrap<unknown[]>(await table().select('id').eq('id', id).eq('agent_id', agent.id))
    throw left.length > 0 ? new AppError('forbidden', NOT_ALLOWED) : missing('hook')
  })
