import type { Caller, Db } from '../context.ts'
import { AppError, describeError, toAppError } from '../errors.ts'
import { createPrincipal } from '../principal.ts'
import type { ClaimedRun } from '../run-ledger.ts'
import { stopError } from '../runs.ts'
import type { ResumedStep } from '../agent/journal.ts'
import type { NumberedEvent } from './event-log.ts'
import { executeRun } from './execution.ts'
import { completeWithoutLog, farewell } from './last-events.ts'
import type { Farewell } from './last-events.ts'
import { createLogReader } from './log-reader.ts'
import type { Execution } from './outcome.ts'
import { resumeExecution, runOf } from './prepare.ts'
import type { Opened, RunDeps } from './prepare.ts'

/** Milliseconds between two looks at a log, and between two tries to take a run up. */
export const LOOK_MS = 250
const CLAIM_MS = 500
/** Milliseconds between two looks for decisions that came too late. */
const EXPIRE_MS = 1000
/** Milliseconds before a stream's end at which a run is handed over: a step of it may take as long. */
const HAND_OVER_BEFORE_MS = 30_000

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** A run that cannot be prepared, as an execution that fails with the reason. */
function failing(deps: RunDeps, claim: ClaimedRun, failure: AppError): Execution {
  const run = runOf(claim)
  const caller: Caller = { userId: claim.principal_id, token: '', tenantId: claim.tenant_id }
  return {
    run,
    resumed: {
      lastSeq: claim.last_seq,
      steps: claim.steps as unknown as ResumedStep[],
      usage: claim.usage,
      events: [],
    },
    request: { system: '', messages: [], context: [], citations: false },
    principal: createPrincipal(deps, caller, run, claim.agent_id ?? ''),
    equip: () => Promise.reject(failure),
    maxSteps: 1,
    fallbackModel: null,
    isTainted: true,
    contextHandlerId: claim.context_handler_id,
    knownTexts: [],
    reasoningRequested: false,
    isBuffered: false,
    timeoutMs: 10_000,
    warnings: [],
    retrievalWarning: null,
  }
}

/**
 * Takes up a run that waits, or whose executor died. One that cannot be read any more is ended by the execution it is given.
 * @param caller the person, where they are here themselves.
 * @returns null when there is nothing to take up, or what it needs cannot be reached just now: then its lease runs out.
 */
export async function takeUp(deps: RunDeps, runId: string, caller?: Caller): Promise<Execution | null> {
  const claim = await claimRun(deps, runId)
  return claim && prepareClaimed(deps, claim, caller)
}

/** Takes the lease of a run that waits, or whose executor died; null when there is nothing to take up. */
export async function claimRun(deps: RunDeps, runId: string): Promise<ClaimedRun | null> {
  const { executor, leaseSeconds } = deps.runs
  const claim = await deps.ledger.claimRun(runId, executor, leaseSeconds)
  if (claim === null) return null
  deps.log.info('run_taken_up', { run_id: claim.run_id, attempt: claim.attempts, is_resumed: claim.is_resumed })
  return claim
}

/**
 * What is needed to carry out a run that has been claimed; null when it cannot be reached just now: then its lease runs out.
 * One that cannot be read any more is ended by the execution it is given.
 */
export async function prepareClaimed(deps: RunDeps, claim: ClaimedRun, caller?: Caller): Promise<Execution | null> {
  try {
    return await resumeExecution(deps, claim, caller)
  } catch (error) {
    const failure = toAppError(error)
    deps.log.error('run_not_prepared', { run_id: claim.run_id, code: failure.code, error: describeError(error) })
    return failure.status >= 500 ? null : failing(deps, claim, failure)
  }
}

/** Who waits for a run, and how long. */
export type Viewer = {
  db: Db
  caller: Caller
  /** Gets the events in order, each once, as they are stored, and where its stream ends without the run, a farewell. */
  send: (event: NumberedEvent | Farewell) => void
  /** When the wait ends, by `performance.now()`: a clock that nobody sets. */
  until: number
}

/** Lets a decision that nobody has made in time come to its end, where no worker does it. */
async function expireApprovals(deps: RunDeps, runId: string): Promise<void> {
  try {
    await deps.ledger.expireApprovals(runId)
  } catch (error) {
    deps.log.error('approvals_not_expired', { run_id: runId, error: describeError(error) })
  }
}

/** Takes a run up, where that is possible just now: a database that is away may be back at the next try. */
async function tryToTakeUp(deps: RunDeps, runId: string, caller: Caller): Promise<Execution | null> {
  try {
    return await takeUp(deps, runId, caller)
  } catch (error) {
    deps.log.error('run_not_taken_up', { run_id: runId, error: describeError(error) })
    return null
  }
}

/** What is told where a run cannot be read any more: whether it is there is not for this viewer to know. */
export const goneError = (): AppError => new AppError('not_found', 'The run cannot be read any more.')

/**
 * Why a drive ended. `complete`: with the run. `gone`: the viewer may not read the run any more, and was told so by an `error`
 * and a `complete` of their own. `time_limit`, `unread`: the run goes on, and can be read on after what was sent; with `unread`
 * under another token, because theirs has expired.
 */
export type DriveEnd = 'complete' | 'time_limit' | 'unread' | 'gone'

/**
 * Carries out a run for somebody who waits for it, and stays with it to its end: while another executor is at it or a person
 * has to decide, its events come from the log, and when it can be taken up again it goes on here.
 * @throws whatever is not expected, after the viewer was told of it as they are with `gone`.
 */
export async function driveRun(deps: RunDeps, opened: Opened, viewer: Viewer): Promise<DriveEnd> {
  let isOver = false
  const send: Viewer['send'] = (event) => {
    isOver ||= event.event === 'complete'
    viewer.send(event)
  }
  const leave = (failure: AppError): 'gone' => {
    farewell(opened.run, failure).forEach(viewer.send)
    return 'gone'
  }
  try {
    return await stayWith(deps, opened, { ...viewer, send }, leave)
  } catch (error) {
    if (!isOver) {
      leave(toAppError(error))
      throw error
    }
    // The viewer has all of the run: what failed after that is nothing to them.
    deps.log.error('run_crashed', { run_id: opened.run.run_id, error: describeError(error) })
    return 'complete'
  }
}

async function stayWith(
  deps: RunDeps,
  { run, execution }: Opened,
  viewer: Viewer,
  leave: (failure: AppError) => 'gone',
): Promise<DriveEnd> {
  let seq = 0
  let isOver = false
  let isRevoked = false
  let claimedAt = performance.now()
  let movedAt = performance.now()
  let expiredAt = performance.now()
  const deliver = (event: NumberedEvent) => {
    if (event.seq <= seq) return
    seq = event.seq
    movedAt = performance.now()
    // Who is no longer a member gets no more of it; the last events would hold the whole run once more.
    if (isRevoked) return
    viewer.send(event)
    isOver ||= event.event === 'complete'
  }
  const isTimeToHandOver = () =>
    performance.now() > viewer.until - Math.min(HAND_OVER_BEFORE_MS, deps.runs.streamLimitMs / 4)
  const reader = createLogReader({ db: viewer.db, runId: run.id, after: () => seq, deliver, log: deps.log })
  let next = execution
  for (;;) {
    if (next !== null) {
      const onStop = (reason: string) => void (isRevoked ||= reason === 'membership_lost')
      const end = await executeRun(deps, next, { deliver, isTimeToHandOver, onStop })
      next = null
      movedAt = performance.now()
      // What it was to wait for may have been decided meanwhile.
      claimedAt = end === 'pending' ? -Infinity : movedAt
      if (isOver) return 'complete'
      if (isRevoked) return leave(stopError('membership_lost'))
    }
    const standing = await reader.look()
    if (isOver) return 'complete'
    if (standing === 'over') {
      const complete = await completeWithoutLog(viewer.db, run, seq)
      if (complete !== null) viewer.send(complete)
      return 'complete'
    }
    if (standing === 'gone') return leave(goneError())
    if (standing === 'unread') return 'unread'
    const now = performance.now()
    if (now >= viewer.until) return 'time_limit'
    if (standing === 'waiting' && now - expiredAt >= EXPIRE_MS) {
      expiredAt = now
      await expireApprovals(deps, run.id)
    }
    // An executor that has died is not seen from here; one that lives is not disturbed by the question.
    const isStill = standing === 'running' && now - movedAt > (deps.runs.leaseSeconds + 1) * 1000
    if ((standing === 'pending' || isStill) && now - claimedAt >= CLAIM_MS && !isTimeToHandOver()) {
      claimedAt = now
      if (isStill) movedAt = now
      next = await tryToTakeUp(deps, run.id, viewer.caller)
      if (next !== null) continue
    }
    await sleep(LOOK_MS)
  }
}
