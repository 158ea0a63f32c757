import { Hono } from 'hono'
import { z } from 'zod'
import { actsOn } from '../../_shared/context.ts'
import type { Db } from '../../_shared/context.ts'
import { missing, unwrap } from '../../_shared/errors.ts'
import type { PostgrestFailure } from '../../_shared/errors.ts'
import { pageOf, parseLenientBody, parseQuery, uuid, uuidParam, warningsField } from '../../_shared/http.ts'
import type { ApiEnv } from '../env.ts'

/** Body of `POST /api/approvals/{id}/decide`. */
export const decisionRequest = z.object({
  approved: z.boolean('approved is required and must be true or false'),
  reason: z.string().max(2000, 'reason may have 2000 characters').nullish(),
  /** Of the call that was seen: what has another one is not decided about. */
  input_hash: z
    .string()
    .regex(/^[0-9a-f]{64}$/, 'input_hash has 64 hex digits')
    .nullish(),
})

/** Body of `POST /api/agents/runs/{run_id}/approve`; without an approval it is about the call that waits longest. */
export const approvalRequest = decisionRequest.extend({ approval_id: uuid.nullish() })

const STATUSES = ['pending', 'approved', 'denied', 'expired'] as const
/** Query of `GET /api/approvals`. */
export const approvalsQuery = z.object({
  status: z.enum(STATUSES, `status must be one of ${STATUSES.join(', ')}`).default('pending'),
})

const COLUMNS =
  'id,agent_id,user_id,call_id,tool_name,tool_input,input_hash,message,status,decider_role,decider_group_id,four_eyes,quorum,decided_by,reason,expires_at,created_at,decided_at'

/** What came of a decision: `resumed`, or `waiting` while more people have to approve. */
type Decided = { status: 'resumed' | 'waiting'; approval_id: string; approvals: number; quorum: number }

async function decide(db: Db, args: Record<string, unknown>): Promise<Decided> {
  return unwrap<Decided>(await db.schema('ai').rpc('decide_approval', args))
}

/** Decisions about tool calls that wait for a person. Who may decide, and what, is the database's to say. */
export const runApprovals = new Hono<ApiEnv>().post('/runs/:run_id/approve', actsOn('run', 'run_id'), async (c) => {
  const runId = c.req.param('run_id')
  if (!/^run_[0-9a-f]{12}$/.test(runId)) throw missing('approval')
  const { body, warnings } = await parseLenientBody(c, approvalRequest)
  const decided = await decide(c.var.db, {
    run_id: runId,
    approved: body.approved,
    reason: body.reason ?? null,
    approval_id: body.approval_id ?? null,
    input_hash: body.input_hash ?? null,
  })
  return c.json({ ...decided, ...warningsField(warnings) })
})

/** The approvals themselves: those that wait for the caller, those that were decided, and deciding about one. */
export const approvals = new Hono<ApiEnv>()
  .get('/', actsOn(), async (c) => {
    const { status } = parseQuery(c, approvalsQuery)
    const { limit, offset } = pageOf(c, 50, 200)
    const ai = c.var.db.schema('ai')
    const last = offset + limit - 1
    const answer: { data: unknown; error: PostgrestFailure | null } =
      status === 'pending'
        ? await ai
            .rpc('approvals_to_decide', { max_rows: offset + limit })
            .select(COLUMNS)
            .range(offset, last)
        : await ai
            .from('approvals')
            .select(COLUMNS)
            .eq('status', status)
            .order('created_at', { ascending: false })
            .order('id')
            .range(offset, last)
    return c.json({ approvals: unwrap(answer), limit, offset })
  })
  .post('/:id/decide', actsOn(), async (c) => {
    const id = uuidParam(c, 'id', 'approval')
    const { body, warnings } = await parseLenientBody(c, decisionRequest)
    const decided = await decide(c.var.db, {
      approval_id: id,
      approved: body.approved,
      reason: body.reason ?? null,
      input_hash: body.input_hash ?? null,
    })
    return c.json({ ...decided, ...warningsField(warnings) })
  })
