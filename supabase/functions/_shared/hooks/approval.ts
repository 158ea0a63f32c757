import type { Ledger } from '../ledger.ts'
import { runLost } from '../runs.ts'
import type { StartedRun } from '../runs.ts'
import type { Emit } from '../sse.ts'

/** Seconds a decision is waited for unless the hook says otherwise, and at most. */
const DEFAULT_TIMEOUT_SECONDS = 300
const MAX_TIMEOUT_SECONDS = 3600
/** Milliseconds between two looks at a decision. */
const POLL_MS = 400

export type ApprovalRequest = {
  callId: string
  toolName: string
  toolInput: Record<string, unknown>
  message: string
  timeoutSeconds?: number
}

export type ApprovalDeps = {
  ledger: Pick<Ledger, 'requestApproval' | 'approvalOutcome'>
  run: StartedRun
  emit: Emit
  signal: AbortSignal
  /** Stops the clock of the run while a person thinks; returns what starts it again. */
  pauseClock: () => () => void
}

const sleep = (ms: number, signal: AbortSignal) =>
  new Promise<void>((resolve, reject) => {
    const onAbort = () => {
      clearTimeout(timer)
      reject(signal.reason as Error)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    }, ms)
    signal.addEventListener('abort', onAbort, { once: true })
  })

/**
 * Asks people whether a call may be made, and waits. The question is a row bound to the run, the call and a hash of its
 * arguments; who may answer it, the database decides.
 * @returns null when it was approved, else why not, for the model.
 * @throws the reason of `signal` when that fires, or AppError when the lease is lost.
 */
export async function askForApproval(deps: ApprovalDeps, request: ApprovalRequest): Promise<string | null> {
  const { ledger, run, emit, signal } = deps
  const seconds = Math.min(Math.max(request.timeoutSeconds ?? DEFAULT_TIMEOUT_SECONDS, 1), MAX_TIMEOUT_SECONDS)
  const asked = await ledger.requestApproval({
    runId: run.id,
    leaseToken: run.lease_token,
    callId: request.callId,
    toolName: request.toolName,
    toolInput: request.toolInput,
    message: request.message,
    timeoutSeconds: seconds,
  })
  if (asked === null) throw runLost()
  emit('approval_requested', {
    run_id: run.run_id,
    approval_id: asked.approval_id,
    call_id: request.callId,
    tool_name: request.toolName,
    tool_input: request.toolInput,
    message: request.message,
    expires_at: asked.expires_at,
  })
  const resume = deps.pauseClock()
  try {
    for (;;) {
      signal.throwIfAborted()
      const outcome = await ledger.approvalOutcome(asked.approval_id, run.lease_token)
      if (outcome === null) throw runLost()
      if (outcome.status === 'approved') return null
      if (outcome.status === 'denied') return `Denied by user: ${outcome.reason ?? 'no reason given'}`
      if (outcome.status === 'expired') return 'Approval timed out'
      await sleep(POLL_MS, signal)
    }
  } finally {
    resume()
  }
}
