import type { Budget } from '../agent/budget.ts'
import { resumedContextItems } from '../agent/journal.ts'
import type { Journal, TokensUsed } from '../agent/journal.ts'
import { RunSuspended } from '../agent/suspend.ts'
import type { Waiting } from '../agent/suspend.ts'
import { answer, answerWithTools } from './answers.ts'
import type { Work } from './answers.ts'
import { createAnswerFilter } from '../answer-filter.ts'
import { citationOf } from '../citations.ts'
import { startClock } from '../clock.ts'
import type { Deps } from '../context.ts'
import { AppError, describeError, toAppError } from '../errors.ts'
import type { ChatProvider, WithChat } from '../providers/index.ts'
import type { StopReason } from '../run-ledger.ts'
import { stopError } from '../runs.ts'
import type { Emit } from '../sse.ts'
import { endRun } from './ending.ts'
import { createEventLog } from './event-log.ts'
import type { EventLog, NumberedEvent } from './event-log.ts'
import { failed, nothing } from './outcome.ts'
import type { Equipment, Execution, RunOutcome } from './outcome.ts'
import { formatProblem } from './response-format.ts'
import { recordEvents } from './run-trace.ts'
import type { WithRuns } from './settings.ts'

/** How an executor leaves a run: ended; given back, for a person or another executor; or taken away by one. */
export type RunEnd = 'ended' | 'waiting' | 'pending' | 'lost'

/** What watches over the work on a run. */
export type RunControl = {
  /** Gets its events once they are stored, in order. */
  deliver: (event: NumberedEvent) => void
  /** Asked before each step: whether another executor is to go on. */
  isTimeToHandOver?: () => boolean
  /** Aborted when this process has to let go of the run at once. What is in progress is lost, what was stored is not. */
  signal?: AbortSignal
  /** Hears why the database stopped the run. */
  onStop?: (reason: StopReason) => void
}

/** Reason of an abort that hands the run over. */
const HANDED_OVER = new AppError('conflict', 'The run was handed over.')

/** The provider, whose pieces wait while too many events wait to be stored. */
const paced = (chat: ChatProvider, log: EventLog): ChatProvider => ({
  name: chat.name,
  model: chat.model,
  modelFor: (requested) => chat.modelFor(requested),
  contextWindow: (model) => chat.contextWindow(model),
  imageTokens: (request) => chat.imageTokens?.(request) ?? 0,
  async *stream(request, signal) {
    for await (const event of chat.stream(request, signal)) {
      await log.ready()
      yield event
    }
  },
})

/**
 * Carries out one run, or goes on with it, under a lease: filtered, logged and stored. It never throws: whatever happens ends
 * in the events of the agent API, `complete` last, and in the stored run; or in the run being given back.
 */
export async function executeRun(
  deps: Deps & WithChat & WithRuns,
  execution: Execution,
  control: RunControl,
): Promise<RunEnd> {
  const { run, resumed } = execution
  const startedAt = performance.now()
  const stop = new AbortController()
  let isCancelled = false
  const log = createEventLog({
    run,
    ledger: deps.ledger,
    leaseSeconds: deps.runs.leaseSeconds,
    from: {
      seq: resumed?.lastSeq ?? 0,
      offset:
        resumed?.steps.reduce((sum, { turn }) => sum + (turn?.state === 'made' ? turn.content.length : 0), 0) ?? 0,
    },
    deliver: control.deliver,
    onStop(reason) {
      if (reason instanceof AppError) return stop.abort(reason)
      isCancelled = reason === 'cancelled'
      control.onStop?.(reason)
      stop.abort(stopError(reason))
    },
    log: deps.log,
  })
  // What is said by work that was cut off is no part of the run: the next executor does that part again.
  const isCutOff = () => stop.signal.reason === HANDED_OVER
  const letGo = () => {
    log.hold()
    stop.abort(HANDED_OVER)
  }
  if (control.signal?.aborted) letGo()
  control.signal?.addEventListener('abort', letGo, { once: true })
  const { emit, events } = recordEvents((event, fields) => {
    if (isCutOff() || (execution.isBuffered && event === 'content_delta')) return
    log.emit(event, fields)
  }, resumed?.events)
  const journal: Journal = {
    note: (entry) => {
      if (!isCutOff()) log.journal.note(entry)
    },
    commit: () => (isCutOff() ? Promise.reject(HANDED_OVER) : log.journal.commit()),
  }
  const budget: Budget = {
    // The next call is granted by what is known of the last one: a provider may have used more than was held back for it.
    reserve: log.reserve,
    // Settled in the transaction that stores what it was used for, and counts whatever becomes of that.
    settle(id, usage) {
      if (id !== null) log.journal.note({ op: 'tokens_used', reservation_id: id, usage } satisfies TokensUsed)
      return Promise.resolve()
    },
  }
  const clock = startClock(execution.timeoutMs, () =>
    stop.abort(new AppError('upstream_timeout', 'The run took too long.')),
  )
  const beforeStep = () => {
    if (control.isTimeToHandOver?.()) throw new RunSuspended('handover')
  }
  if ((resumed?.lastSeq ?? 0) === 0) tellStart(execution, emit)
  let end: RunEnd = 'lost'
  let outcome = nothing(execution)
  let heldAt: number | null = null
  const hold = () => {
    log.hold()
    heldAt = log.lastSeq()
  }
  try {
    const work = { emit, journal, budget, signal: stop.signal, beforeStep, hold }
    const chat = execution.asking?.(deps.chat) ?? deps.chat
    const given = await carryOut({ ...deps, chat: paced(chat, log) }, execution, work)
    outcome = isCancelled ? { ...given.outcome, status: 'cancelled', error: null, errorCode: null } : given.outcome
    const waiting = isCutOff() ? HANDOVER : given.waiting
    if (waiting !== null) {
      if (heldAt !== null) log.rewind(heldAt)
      end = await giveBack(deps, execution, log, waiting)
    } else if (!log.isLost()) end = (await endRun(deps, execution, outcome, log, events)) === null ? 'lost' : 'ended'
  } catch (error) {
    deps.log.error('run_not_stored', { run_id: run.run_id, error: describeError(error) })
  } finally {
    control.signal?.removeEventListener('abort', letGo)
    clock.stop()
    log.abandon()
  }
  deps.log.info(end === 'ended' ? 'run_finished' : 'run_let_go', {
    run_id: run.run_id,
    end,
    status: outcome.status,
    code: outcome.errorCode,
    duration_ms: Math.round(performance.now() - startedAt),
    steps: outcome.steps.length,
    tool_calls: outcome.toolCalls.length,
    total_tokens: outcome.usage.total_tokens,
  })
  return end
}

const HANDOVER: Waiting = { reason: 'handover', callId: null }

async function giveBack(deps: Deps, { run }: Execution, log: EventLog, waiting: Waiting): Promise<RunEnd> {
  const status = await log.end(
    (rest) =>
      deps.ledger.suspendRun({
        runId: run.id,
        leaseToken: run.lease_token,
        waitReason: waiting.reason === 'handover' ? null : waiting.reason,
        ...rest,
      }),
    (answer) => answer !== null,
  )
  return status ?? 'lost'
}

function tellStart({ run, request, contextHandlerId, reasoningRequested }: Execution, emit: Emit): void {
  emit('start', {
    run_id: run.run_id,
    session_id: run.session_id,
    context_handler_id: contextHandlerId,
    reasoning_requested: reasoningRequested,
    ...(request.citations ? { citation_candidates: request.context.map(citationOf) } : {}),
  })
}

type Outset = Pick<Work, 'emit' | 'journal' | 'budget' | 'signal' | 'beforeStep'> & {
  /** From here on events are kept back for the transaction that ends the run. */
  hold: () => void
}

/** Equips the run, answers, and lets the hooks of its beginning and end act. */
async function carryOut(
  deps: Deps & WithChat,
  execution: Execution,
  { hold, ...given }: Outset,
): Promise<{ outcome: RunOutcome; waiting: Waiting | null }> {
  const { run, request, principal } = execution
  const { emit, signal } = given
  const steps = execution.resumed?.steps ?? []
  let key = Math.max(0, ...[...request.context, ...resumedContextItems(steps)].map((item) => item.key))
  let equipment: Equipment | null = null
  let outcome = nothing(execution)
  try {
    equipment = await execution.equip({ run, principal, emit, signal, nextKey: () => ++key })
    const work: Work = { ...given, deps, execution, equipment }
    if (steps.length === 0) {
      const start = await equipment.hooks.run({
        event: 'OnRunStart',
        tool_name: null,
        data: { message: request.messages.at(-1)?.content ?? '' },
      })
      if (start.blocked !== null) throw new AppError('forbidden', start.blocked)
    }
    // Tools that were taken away meanwhile do not undo what they were called for.
    const isLoop = equipment.tools.length > 0 || steps.some(({ turn }) => turn?.state === 'made')
    const answered = isLoop ? await answerWithTools(work) : await answer(work)
    outcome = { ...answered.outcome, warnings: [...execution.warnings, ...equipment.warnings] }
    if (answered.waiting !== null) return { outcome, waiting: answered.waiting }
    const problem = outcome.status === 'completed' ? formatProblem(request.responseFormat, outcome.content) : null
    if (problem !== null) outcome.warnings.push(problem)
    // Told with the end or not at all: whoever might take over before it tells it again.
    hold()
    outcome = await beforeResponse(work, outcome)
    tell(work, outcome, answered.thoughts, isLoop)
    await afterRun(work, outcome)
    return { outcome, waiting: null }
  } catch (error) {
    const failure = toAppError(signal.aborted && signal.reason instanceof AppError ? signal.reason : error)
    deps.log.error('run_failed', { run_id: run.run_id, code: failure.code, error: describeError(error) })
    // What hooks have not let through is not given out.
    const citations = outcome.citations === null ? null : []
    return { outcome: failed({ ...outcome, content: '', citations }, failure), waiting: null }
  } finally {
    await equipment?.close()
  }
}

/** The whole answer at the end of its pieces, and what was reasoned for it. */
function tell({ emit }: Work, outcome: RunOutcome, thoughts: string, isLoop: boolean): void {
  if (outcome.content !== '' || outcome.status === 'completed' || isLoop) {
    emit('chunk', { content: outcome.content })
  }
  if (thoughts !== '') {
    emit('reasoning', { step: 1, step_number: 1, source: 'thinking', content: thoughts, text: thoughts })
  }
}

/** Tells hooks, and the reader of a run that has any, that it is over; they change nothing any more. */
async function afterRun({ deps, emit, equipment, execution }: Work, outcome: RunOutcome): Promise<void> {
  if (equipment.hooks.count === 0) return
  const data = { status: outcome.status, steps: outcome.steps.length }
  try {
    await equipment.hooks.run({ event: 'OnRunComplete', tool_name: null, data })
  } catch (error) {
    deps.log.error('hook_failed', { run_id: execution.run.run_id, error: describeError(error) })
  }
  emit('on_run_complete', data)
}

/** Lets PreResponse hooks change or replace a finished answer. Deltas that were streamed are out; the stored text is this. */
async function beforeResponse({ equipment, execution }: Work, outcome: RunOutcome): Promise<RunOutcome> {
  if (outcome.status !== 'completed' || !equipment.hooks.has('PreResponse')) return outcome
  const verdict = await equipment.hooks.run({
    event: 'PreResponse',
    tool_name: null,
    data: { content: outcome.content },
  })
  const replaced = verdict.blocked ?? verdict.modifiedOutput
  if (replaced === null) return outcome
  const filter = createAnswerFilter({ keys: null, knownTexts: execution.knownTexts })
  return {
    ...outcome,
    content: filter.push(replaced) + filter.end(),
    citations: outcome.citations === null ? null : [],
  }
}
