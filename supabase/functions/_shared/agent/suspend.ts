/**
 * What a run is suspended for. `approval`: a person has to say whether a call may be made. `unsafe_call`: a call was
 * interrupted, may have taken effect, and must not be repeated on nobody's word. `handover`: another executor is to go on.
 */
export type SuspendReason = 'approval' | 'unsafe_call' | 'handover'

/** What a suspended run waits for. */
export type Waiting = {
  reason: SuspendReason
  /** The call that has to be decided about; null for a handover. */
  callId: string | null
}

/**
 * Thrown by a gate, or by `LoopInput.beforeStep`, to end the work on a run without ending the run: no executor waits for a
 * person. Whoever goes on later is given what was journalled, and the gate is asked again.
 */
export class RunSuspended extends Error {
  readonly reason: SuspendReason
  readonly callId: string | null

  constructor(reason: SuspendReason, callId: string | null = null) {
    super(`The run is suspended: ${reason}`)
    this.name = 'RunSuspended'
    this.reason = reason
    this.callId = callId
  }
}
