import { describeError } from '../errors.ts'
import type { ToolDefinition, Usage } from '../providers/index.ts'
import { CHARS_PER_TOKEN, fixedTokens, messageTokens, promptBudget } from './context-size.ts'
import { editPrompt } from './prompt-edits.ts'
import { askModel } from './provider-call.ts'
import type { RunState } from './run-state.ts'
import { providerOf, stepFields } from './run-state.ts'
import { summarise } from './summary.ts'
import { NO_USAGE } from './usage.ts'

/** Turns at the end of a conversation that compaction leaves alone. */
const KEPT_TURNS = 3
/** Compactions in a row that may fail before no more are tried. */
const MAX_FAILURES = 3

type Sizes = { total: () => number; budget: number; fixed: number }

function sizesOf(run: RunState, tools: readonly ToolDefinition[]): Sizes {
  const fixed = fixedTokens({ ...run.request, tools: [...tools] })
  return {
    total: () => fixed + messageTokens(run.request.messages),
    budget: promptBudget(run.setup.chat, run.request),
    fixed,
  }
}

/** Lets the model summarise what went before. @returns the tokens used. @throws only when the run is stopped. */
async function summariseInto(run: RunState, step: number, keepTurns: number, sizes: Sizes): Promise<Usage> {
  try {
    const summarised = await summarise({
      ask: (request, take) => askModel(providerOf(run), step, request, take),
      request: run.request,
      messages: run.request.messages,
      keepTurns,
      question: run.question,
      maxPromptTokens: Math.floor(sizes.budget / 2),
    })
    if (summarised === null) return NO_USAGE
    const [first, ...tail] = summarised.messages
    if (first && messageTokens(summarised.messages) < messageTokens(run.request.messages)) {
      editPrompt(run, { op: 'summary', first, kept: tail.length })
      run.setup.emit('compaction', { ...stepFields(step), message_count: summarised.messages.length })
    }
    return summarised.usage
  } catch (error) {
    if (run.signal.aborted) throw error
    run.setup.call.log.error('compaction_failed', { step, error: describeError(error) })
    return NO_USAGE
  }
}

/**
 * Makes room before a model call when the prompt is estimated not to fit: old results of tools are taken out, and if that is
 * not enough, what went before is summarised. Gives up for good after it has failed three times in a row.
 * @returns the tokens used. @throws only when the run is stopped.
 */
export async function compactIfNeeded(run: RunState, step: number, tools: readonly ToolDefinition[]): Promise<Usage> {
  const sizes = sizesOf(run, tools)
  const before = sizes.total()
  if (before <= sizes.budget || run.compactionFailures >= MAX_FAILURES) return NO_USAGE
  editPrompt(run, { op: 'drop_results', turns: KEPT_TURNS })
  const usage = sizes.total() <= sizes.budget ? NO_USAGE : await summariseInto(run, step, KEPT_TURNS, sizes)
  const after = sizes.total()
  const succeeded = after <= sizes.budget
  run.compactionFailures = succeeded ? 0 : run.compactionFailures + 1
  run.setup.emit('proactive_compact', { ...stepFields(step), tokens_before: before, tokens_after: after, succeeded })
  return usage
}

/**
 * Makes room after the provider has refused a prompt as too long, whatever the estimate says.
 * @returns the tokens used. @throws only when the run is stopped.
 */
export async function compactAfterRefusal(
  run: RunState,
  step: number,
  tools: readonly ToolDefinition[],
): Promise<Usage> {
  editPrompt(run, { op: 'drop_results', turns: 1 })
  const mayTry = run.compactionFailures < MAX_FAILURES
  const usage = mayTry ? await summariseInto(run, step, 1, sizesOf(run, tools)) : NO_USAGE
  run.setup.emit('reactive_compact', stepFields(step))
  return usage
}

/** The last resort when a prompt is too long: shortens it without a model, to half of what it was or to the budget. */
export function truncate(run: RunState, step: number, tools: readonly ToolDefinition[]): void {
  const sizes = sizesOf(run, tools)
  const before = sizes.total()
  const target = Math.min(sizes.budget, Math.floor(before / 2)) - sizes.fixed
  editPrompt(run, { op: 'truncate', chars: Math.max(0, target) * CHARS_PER_TOKEN })
  run.setup.emit('reactive_truncate', { ...stepFields(step), before, after: sizes.total() })
}
