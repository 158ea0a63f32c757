import { Hono } from 'hono'
import { z } from 'zod'
import { actsOn } from '../../_shared/context.ts'
import { missing, unwrap } from '../../_shared/errors.ts'
import { parseLenientBody, warningsField } from '../../_shared/http.ts'
import type { ApiEnv } from '../env.ts'

/** Body of `POST /api/agents/runs/{run_id}/approve`. */
export const approvalRequest = z.object({
  approved: z.boolean('approved is required and must be true or false'),
  reason: z.string().max(2000, 'reason may have 2000 characters').nullish(),
})

/** Decisions about tool calls that wait for a person. Who may decide, and what, is the database's to say. */
export const approvals = new Hono<ApiEnv>().post('/runs/:run_id/approve', actsOn('run', 'run_id'), async (c) => {
  const runId = c.req.param('run_id')
  if (!/^run_[0-9a-f]{12}$/.test(runId)) throw missing('approval')
  const { body, warnings } = await parseLenientBody(c, approvalRequest)
  const decided = unwrap<{ status: 'resumed'; approval_id: string }>(
    await c.var.db
      .schema('ai')
      .rpc('decide_approval', { run_id: runId, approved: body.approved, reason: body.reason ?? null }),
  )
  return c.json({ status: decided.status, approval_id: decided.approval_id, ...warningsField(warnings) })
})
