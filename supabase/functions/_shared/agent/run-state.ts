import type { AppError } from '../errors.ts'
import { toAppError } from '../errors.ts'
import type { ChatMessage, ChatRequest, ContextItem, Usage } from '../providers/index.ts'
import { storable } from '../storable.ts'
import { untilAborted } from './abort.ts'
import type { DoomLoopDetector } from './doom-loop.ts'
import { createDoomLoopDetector } from './doom-loop.ts'
import type { JournalEntry, PromptEdit } from './journal.ts'
import type { LoopSetup } from './options.ts'
import type { ProviderAccess } from './provider-call.ts'
import type { Thoughts } from './reasoning.ts'
import type { Taint } from './taint.ts'
import { createTaint } from './taint.ts'
import type { StepRecord, ToolCallRecord } from './types.ts'
import { NO_USAGE, addUsage } from './usage.ts'

/** A run in progress: what its parts share and change. */
export type RunState = {
  /** `emit` is silent once the run is lost. */
  readonly setup: LoopSetup
  readonly signal: AbortSignal
  /** The request of the next model call, without tools; messages grow and are compacted. */
  request: Omit<ChatRequest, 'tools'>
  /** The last message of the person, word for word. */
  readonly question: string
  isOnFallback: boolean
  /** Compactions in a row that did not help. */
  compactionFailures: number
  /** How the prompt was shortened in the present step. */
  promptEdits: PromptEdit[]
  readonly taint: Taint
  readonly doomLoop: DoomLoopDetector
  /** Ids of calls so far. */
  readonly callIds: Set<string>
  /** Text of all finished steps, as the reader got it. */
  content: string
  readonly steps: StepRecord[]
  readonly toolCalls: ToolCallRecord[]
  readonly reasoning: Thoughts[]
  usage: Usage
  readonly contextItems: ContextItem[]
  /** Marks in the text so far that name no passage. */
  invalidCitations: number
  /** Why the journal can be written no more: somebody else has the run, or will have. Nothing counts from then on. */
  lost: AppError | null
}

/** The state of a run that is about to begin. */
export function createRunState(setup: LoopSetup): RunState {
  const { request } = setup
  const messages: ChatMessage[] = [...request.messages]
  const run: RunState = {
    setup: {
      ...setup,
      emit(event, fields) {
        if (run.lost === null) setup.emit(event, fields)
      },
    },
    signal: setup.call.signal,
    request: { ...request, messages },
    question: messages.findLast((message) => message.role === 'user')?.content ?? '',
    isOnFallback: false,
    compactionFailures: 0,
    promptEdits: [],
    taint: createTaint(request, setup.isTainted ?? false),
    doomLoop: createDoomLoopDetector(),
    callIds: new Set(),
    content: '',
    steps: [],
    toolCalls: [],
    reasoning: [],
    usage: setup.usedBefore ?? NO_USAGE,
    contextItems: [],
    invalidCitations: 0,
    lost: null,
  }
  return run
}

/** Notes an entry of the journal: a copy, as it can be stored. What is emitted before the next `await` belongs to it. */
export function note(run: RunState, entry: JournalEntry): void {
  if (run.lost === null) run.setup.journal?.note(storable(entry))
}

/** Waits until everything so far is durable. @throws AppError when the run is lost, or the reason of a stop. */
export async function commit(run: RunState): Promise<void> {
  if (run.lost !== null) throw run.lost
  if (!run.setup.journal) return
  const committed = run.setup.journal.commit().catch((error: unknown) => {
    run.lost ??= toAppError(error)
    throw run.lost
  })
  await untilAborted(committed, run.signal)
}

/** What model calls are made with. */
export const providerOf = ({ setup, signal }: RunState): ProviderAccess => ({
  chat: setup.chat,
  budget: setup.budget,
  signal,
  log: setup.call.log,
})

/** The field `step` under both its names. */
export const stepFields = (step: number): { step: number; step_number: number } => ({ step, step_number: step })

/** Adds tokens to those of the run and returns the sum with those of the step. */
export function countUsage(run: RunState, ofStep: Usage, used: Usage): Usage {
  run.usage = addUsage(run.usage, used)
  return addUsage(ofStep, used)
}
