/** The part of the ledger that runs with tools need: what an agent was given, who it acts for, what it did, who allowed it. */
import type { ToolCallRecord } from './agent/records.ts'
import type { ApprovalRule } from './hooks/permissions.ts'
import type { HookRow } from './hooks/types.ts'
import { storable } from './storable.ts'

/** A tool of an agent. The last five are null for a built-in one. */
export type AssignedTool = {
  assignment_id: string
  config_override: Record<string, unknown>
  /** Name the model calls it by. */
  tool_name: string
  /** Who may call it, `ToolPermissions`. */
  permissions: Record<string, unknown>
} & (
  | {
      tool_type: 'builtin'
      tool_id: null
      name: null
      description: null
      input_schema: null
      config: null
      secret_headers: null
    }
  | {
      tool_type: 'custom'
      tool_id: string
      /** Name of the definition. */
      name: string
      description: string
      input_schema: Record<string, unknown>
      config: Record<string, unknown>
      /** Ciphertext of a secret box. */
      secret_headers: string | null
    }
)

/** An enabled MCP server of an agent. */
export type AssignedMcpServer = {
  id: string
  name: string
  url: string
  config: Record<string, unknown>
  /** Ciphertext of a secret box. */
  secret_headers: string | null
  /** Definitions that an admin has accepted; null: none yet. */
  pinned_tools: unknown[] | null
  /** Who may call its tools, `ToolPermissions` with single ones in `tools`. */
  permissions: Record<string, unknown>
}

/** A knowledge base of an agent. Whether the person may read what is in it, search decides. */
export type AssignedKnowledgeBase = {
  id: string
  name: string
  description: string | null
  config: Record<string, unknown>
}

/** What the agent of a run has been given; enabled servers and hooks only, in their order. */
export type RunConfiguration = {
  /** Of the person the run acts for, right now: viewer, member, admin, owner, or backend; null: not in the tenant any more. */
  principal_role: string | null
  tools: AssignedTool[]
  mcp_servers: AssignedMcpServer[]
  hooks: HookRow[]
  knowledge_bases: AssignedKnowledgeBase[]
}

/** Whose token may be minted for a run: `sub` is the person, or the tenant's backend principal. */
export type RunDelegation = {
  sub: string
  tenant_id: string
  /** Null once the agent has been deleted. */
  agent_id: string | null
  /** Public id, `run_...`. */
  run_id: string
}

export type RunTraceRecord = {
  runId: string
  leaseToken: string
  steps: object[]
  events: Record<string, unknown>[]
  reasoningSteps: object[]
  toolCalls: ToolCallRecord[]
}

/** The trace as the functions of the database take it. */
export const traceArgs = ({
  steps,
  events,
  reasoningSteps,
  toolCalls,
}: Omit<RunTraceRecord, 'runId' | 'leaseToken'>) => ({
  steps: storable(steps),
  events: storable(events),
  reasoning_steps: storable(reasoningSteps),
  tool_calls: storable(toolCalls),
})

export type ApprovalQuestion = {
  runId: string
  leaseToken: string
  /** Unique in the run. */
  callId: string
  toolName: string
  toolInput: Record<string, unknown>
  message: string
  /** Who decides, and how long it waits: a week unless it says otherwise. */
  rule: ApprovalRule
}

/** A question that was asked. */
export type AskedApproval = {
  approval_id: string
  expires_at: string
  /** SHA-256 (hex) of tool and arguments. */
  input_hash: string
  /** Whether the log of the run tells of it. */
  is_announced: boolean
}

/** `used`: it let the call begin before, which may not begin again. */
export type ApprovalOutcome = {
  status: 'pending' | 'approved' | 'denied' | 'expired' | 'used'
  reason: string | null
}

/** The calls, on top of one that calls a function of the schema `ai` by name. */
export function agentCalls(call: <T>(name: string, args: Record<string, unknown>) => Promise<T>) {
  return {
    /** Null when the lease is lost. */
    runConfiguration: (runId: string, leaseToken: string) =>
      call<RunConfiguration | null>('run_configuration', { run_id: runId, lease_token: leaseToken }),
    /** The sealed headers of an MCP server, or null. */
    mcpServerSecrets: (serverId: string, tenantId: string) =>
      call<string | null>('mcp_server_secrets', { server_id: serverId, tenant_id: tenantId }),
    /** Null when the lease is lost. @throws AppError `forbidden` once the person has left the tenant. */
    delegateRun: (runId: string, leaseToken: string) =>
      call<RunDelegation | null>('delegate_run', { run_id: runId, lease_token: leaseToken }),
    /** Stores what has happened in a run so far, in place of what was stored before. False when the lease is lost. */
    recordRunTrace: (trace: RunTraceRecord) =>
      call<boolean>('record_run_trace', {
        run_id: trace.runId,
        lease_token: trace.leaseToken,
        ...traceArgs(trace),
      }),
    /** Lets a call wait for a person; the same answer when asked again. Null when the lease is lost. */
    requestApproval: (question: ApprovalQuestion) =>
      call<AskedApproval | null>('request_approval', {
        run_id: question.runId,
        lease_token: question.leaseToken,
        call_id: question.callId,
        tool_name: question.toolName,
        tool_input: storable(question.toolInput),
        message: storable(question.message),
        rule: question.rule,
      }),
    /** Takes the answer: an approval lets the call begin once. Null when the lease of its run is lost. */
    approvalOutcome: (approvalId: string, leaseToken: string) =>
      call<ApprovalOutcome | null>('approval_outcome', { approval_id: approvalId, lease_token: leaseToken }),
    /** Ends approvals whose time is over, of one run or of any, and wakes what waits for them; returns how many. */
    expireApprovals: (runId?: string) => call<number>('expire_approvals', runId === undefined ? {} : { run_id: runId }),
    /** Uses a token up. False when it was used before or has expired. */
    burnToolCallToken: (jti: string, expiresAt: Date) =>
      call<boolean>('burn_tool_call_token', { jti, expires_at: expiresAt.toISOString() }),
  }
}
