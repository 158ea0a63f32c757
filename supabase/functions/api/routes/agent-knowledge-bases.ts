import { Hono } from 'hono'
import { z } from 'zod'
import { actsOn } from '../../_shared/context.ts'
import { AppError, fromPostgrest, missing, unwrap } from '../../_shared/errors.ts'
import { jsonObject, parseLenientBody, uuid, uuidParam, warningsField } from '../../_shared/http.ts'
import { findAgent } from '../../_shared/execution/agent.ts'
import { RETRIEVAL_METHODS } from '../../_shared/search/hits.ts'
import type { ApiEnv } from '../env.ts'

/** Body of `POST /api/agents/{id}/knowledge-bases`. */
export const assignmentRequest = z.object({
  knowledge_base_id: z.string('knowledge_base_id is required').pipe(uuid),
  config: jsonObject.nullish(),
})

/** What the search of a run reads of `config`; anything else is stored, has no effect, and that is said. */
const READ_SETTINGS: Record<string, z.ZodType> = {
  top_k: z.number().min(1),
  retrieval_method: z.enum(RETRIEVAL_METHODS),
  max_context_tokens: z.number().min(1),
}

const configWarnings = (config: Record<string, unknown>): string[] =>
  Object.entries(config)
    .filter(([key, value]) => !(Object.hasOwn(READ_SETTINGS, key) && READ_SETTINGS[key]?.safeParse(value).success))
    .slice(0, 20)
    .map(([key]) => `config.${key.slice(0, 60)} is stored but has no effect.`)

type AssignmentRow = { id: string; agent_id: string; knowledge_base_id: string; config: Record<string, unknown> }

/** Which knowledge bases an agent draws on. Linking grants nothing: search runs with the rights of whoever asks. */
export const agentKnowledgeBases = new Hono<ApiEnv>()
  .post('/:id/knowledge-bases', actsOn('agent'), async (c) => {
    const { body, warnings } = await parseLenientBody(c, assignmentRequest, ({ config }) =>
      configWarnings(config ?? {}),
    )
    const { db } = c.var
    const agent = await findAgent(db, uuidParam(c, 'id', 'agent'))
    const { data, error } = await db
      .schema('ai')
      .from('agent_knowledge_bases')
      .insert({
        tenant_id: agent.tenant_id,
        agent_id: agent.id,
        knowledge_base_id: body.knowledge_base_id,
        config: body.config ?? {},
      })
      .select('id,agent_id,knowledge_base_id,config')
      .single<AssignmentRow>()
    if (error) {
      const failure = fromPostgrest(error)
      if (failure.code === 'conflict')
        throw new AppError('conflict', 'Knowledge base already assigned', { cause: error })
      // The composite foreign key: no such knowledge base in the agent's tenant.
      if (failure.code === 'not_found') throw missing('knowledge_base', error)
      throw failure
    }
    return c.json({ ...data, ...warningsField(warnings) }, 201)
  })
  .get('/:id/knowledge-bases', actsOn('agent'), async (c) => {
    const agent = await findAgent(c.var.db, uuidParam(c, 'id', 'agent'))
    const rows = unwrap(
      await c.var.db
        .schema('ai')
        .from('agent_knowledge_bases')
        .select('id,knowledge_base_id,config')
        .eq('agent_id', agent.id)
        .order('created_at'),
    )
    return c.json({ knowledge_bases: rows })
  })
  .delete('/:id/knowledge-bases/:assignment_id', actsOn('agent'), async (c) => {
    const { db } = c.var
    const agent = await findAgent(db, uuidParam(c, 'id', 'agent'))
    const assignmentId = uuidParam(c, 'assignment_id', 'assignment')
    const table = () => db.schema('ai').from('agent_knowledge_bases')
    const deleted = unwrap(await table().delete().eq('id', assignmentId).eq('agent_id', agent.id).select('id'))
    if (deleted.length > 0) return c.json({ deleted: true })
    const left = unwrap(await table().select('id').eq('id', assignmentId).eq('agent_id', agent.id))
    throw left.length > 0
      ? new AppError('forbidden', 'Only its creator and admins can change an agent.')
      : missing('assignment')
  })
