import type { LoopInput } from './types.ts'
import type { UntrustedPolicy } from './taint.ts'

/** Settings of the loop beyond its input. Each has a default that is the safe one. */
export type LoopOptions = {
  /** What a run that has read untrusted text may still do; `refuse` unless an admin chose otherwise. */
  untrusted?: UntrustedPolicy
  /** The conversation has read untrusted text already, in an earlier run of the session for instance. */
  isTainted?: boolean
  /** Milliseconds before each new try of a model call that failed; as many tries as there are numbers. */
  retryDelaysMs?: readonly number[]
  /**
   * One answer outside the loop, whose reader knows no steps: a try is repeated only while the reader has seen nothing of it,
   * because nothing can be taken back.
   */
  isSingleAnswer?: boolean
}

/** Waits before the new tries of a failed model call, in milliseconds. */
export const RETRY_DELAYS_MS: readonly number[] = [300, 1000, 3000]

/** All a run of the loop is given. */
export type LoopSetup = LoopInput & LoopOptions
