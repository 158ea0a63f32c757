import { RunSuspended } from '../agent/suspend.ts'
import { AppError } from '../errors.ts'
import type { Ledger } from '../ledger.ts'
import { runLost } from '../runs.ts'
import type { StartedRun } from '../runs.ts'
import type { Emit } from '../sse.ts'
import type { ApprovalRule } from './permissions.ts'

export type ApprovalRequest = {
  callId: string
  toolName: string
  toolInput: Record<string, unknown>
  message: string
  /** Who decides, and how long it waits. */
  rule: ApprovalRule
}

export type ApprovalDeps = {
  ledger: Pick<Ledger, 'requestApproval' | 'approvalOutcome'>
  run: StartedRun
  emit: Emit
  signal: AbortSignal
}

/**
 * Asks people whether a call may be made. The question is a row bound to the run, the call and a hash of tool and arguments;
 * who may answer it, the database decides. Nothing waits here: without an answer the run is suspended, and whoever goes on
 * with it asks again.
 * @returns null when it was approved, else why not, for the model. An approval is used up by that.
 * @throws RunSuspended while nobody has decided; the reason of `signal` when that has fired; AppError when the lease is lost.
 */
export async function askForApproval(deps: ApprovalDeps, request: ApprovalRequest): Promise<string | null> {
  const { ledger, run, emit, signal } = deps
  signal.throwIfAborted()
  let asked: Awaited<ReturnType<typeof ledger.requestApproval>>
  try {
    asked = await ledger.requestApproval({
      runId: run.id,
      leaseToken: run.lease_token,
      callId: request.callId,
      toolName: request.toolName,
      toolInput: request.toolInput,
      message: request.message,
      rule: request.rule,
    })
  } catch (error) {
    // What was shown is what is decided about: with other arguments it is another call.
    if (error instanceof AppError && error.code === 'conflict')
      return 'The call is not the one a person was asked about'
    throw error
  }
  if (asked === null) throw runLost()
  if (!asked.is_announced) {
    emit('approval_requested', {
      run_id: run.run_id,
      approval_id: asked.approval_id,
      call_id: request.callId,
      tool_name: request.toolName,
      tool_input: request.toolInput,
      input_hash: asked.input_hash,
      message: request.message,
      expires_at: asked.expires_at,
    })
  }
  const outcome = await ledger.approvalOutcome(asked.approval_id, run.lease_token)
  if (outcome === null) throw runLost()
  switch (outcome.status) {
    case 'approved':
      return null
    case 'denied':
      return `Denied by user: ${outcome.reason ?? 'no reason given'}`
    case 'expired':
      return 'Approval timed out'
    case 'used':
      return 'The approval of this call was used before'
    case 'pending':
      throw new RunSuspended('approval', request.callId)
  }
}
