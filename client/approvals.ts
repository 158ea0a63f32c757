import { tablesOf } from './connection.ts'
import type { Connection } from './connection.ts'
import { BulkheadError } from './errors.ts'

/** A tool call that waits, or waited, for a person. */
export type Approval = {
  id: string
  tenant_id: string
  /** `agent_runs.id`. */
  run_id: string
  agent_id: string | null
  /** The person the run acts for; null for the tenant's backend. */
  user_id: string | null
  call_id: string
  tool_name: string
  tool_input: Record<string, unknown>
  /** Send it back with the decision: then exactly this call is decided about. */
  input_hash: string
  message: string | null
  status: 'pending' | 'approved' | 'denied' | 'expired'
  /** Least role of who decides; without it and a group, the person of the run or an admin. */
  decider_role: string | null
  decider_group_id: string | null
  /** The person of the run does not decide. */
  four_eyes: boolean
  /** People who have to approve. */
  quorum: number
  decided_by: string | null
  reason: string | null
  expires_at: string
  created_at: string
  decided_at: string | null
}

/** What one person has said. */
export type ApprovalVote = {
  approval_id: string
  user_id: string | null
  approved: boolean
  reason: string | null
  created_at: string
}

/** What came of a decision: the run goes on (`resumed`), or more people have to approve (`waiting`). */
export type Decided = { status: 'resumed' | 'waiting'; approval_id: string; approvals: number; quorum: number }

const COLUMNS =
  'id,tenant_id,run_id,agent_id,user_id,call_id,tool_name,tool_input,input_hash,message,status,decider_role,decider_group_id,four_eyes,' +
  'quorum,decided_by,reason,expires_at,created_at,decided_at'

/** Calls of tools that wait for a person's word. */
export function approvalMethods(connection: Connection) {
  const ai = () => tablesOf(connection, 'ai')
  return {
    /** What waits for the decision of the signed-in person, the oldest first; `limit` 1 to 500, default 50. */
    async approvalsToDecide(limit = 50): Promise<Approval[]> {
      return await connection.rpc<Approval[]>('ai', 'approvals_to_decide', { max_rows: limit })
    },

    /** The approvals the caller may read, the newest first: of their own runs, those they may decide about, for admins all. */
    async listApprovals(
      filter: { status?: Approval['status']; limit?: number; offset?: number } = {},
    ): Promise<Approval[]> {
      const offset = filter.offset ?? 0
      let query = ai().from('approvals').select(COLUMNS)
      if (filter.status) query = query.eq('status', filter.status)
      return await connection.query<Approval[]>(
        query
          .order('created_at', { ascending: false })
          .order('id')
          .range(offset, offset + (filter.limit ?? 50) - 1),
      )
    },

    /** Who has said what about an approval. Nothing for one that the caller may not read. */
    async approvalVotes(approvalId: string): Promise<ApprovalVote[]> {
      return await connection.query<ApprovalVote[]>(
        ai()
          .from('approval_decisions')
          .select('approval_id,user_id,approved,reason,created_at')
          .eq('approval_id', approvalId)
          .order('created_at'),
      )
    },

    /**
     * Says yes or no to a call. Throws `approval_not_found` when it does not wait (any more) for the caller, and `conflict` for a
     * second decision or another `inputHash`.
     */
    async decideApproval(
      approvalId: string,
      decision: { approved: boolean; reason?: string; inputHash?: string },
    ): Promise<Decided> {
      return await connection.rpc<Decided>('ai', 'decide_approval', {
        approval_id: approvalId,
        approved: decision.approved,
        reason: decision.reason,
        input_hash: decision.inputHash,
      })
    },

    /**
     * Decides about a call that was interrupted and may not simply be repeated: `retry`, `skip` (the model is told) or `fail` (the
     * run ends). Throws `not_found` when none waits for the caller, and `forbidden` for a retry that others had to approve.
     */
    async decideInterruptedCall(
      runId: string,
      callId: string,
      decision: 'retry' | 'skip' | 'fail',
    ): Promise<{ run_id: string; status: string }> {
      const decided = await connection.rpc<{ run_id: string; status: string } | null>('ai', 'decide_interrupted_call', {
        run_id: runId,
        call_id: callId,
        decision,
      })
      if (decided === null) throw new BulkheadError('No call waits.', { code: 'not_found', status: 404 })
      return decided
    },
  }
}
