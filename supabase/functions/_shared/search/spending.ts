import type { Budget } from '../agent/budget.ts'
import type { ProviderAccess } from '../agent/provider-call.ts'
import type { Spender, UncountedUse } from '../budget-ledger.ts'
import { AppError, describeError, toAppError } from '../errors.ts'
import type { Log } from '../errors.ts'
import { withTimeout } from '../fetch.ts'
import type { Ledger } from '../ledger.ts'
import type { ChatProvider } from '../providers/index.ts'
import { hasLanguageModel } from '../providers/offline-answerer.ts'
import { background } from '../runtime.ts'

/** What searches write down of the models they use. */
export type SearchLedger = Pick<Ledger, 'reserveSearchTokens' | 'settleTokens' | 'recordUsage'>

/** Milliseconds a model may take for one answer: somebody is waiting for the results. */
export const MODEL_TIMEOUT_MS = 25_000

/** What asking a model takes. */
export type SearchModels = { chat: ChatProvider; ledger: SearchLedger; log: Log; modelTimeoutMs: number }

/** The budget of the calls that one search makes: nothing is sent before the tokens are held back. */
function createSearchBudget({ chat, ledger }: SearchModels, spender: Spender): Budget {
  const token = crypto.randomUUID()
  return {
    async reserve({ model, promptTokens, maxTokens }) {
      if (maxTokens === null) throw new Error('A search asks for answers of limited length only.')
      const held = await ledger.reserveSearchTokens(spender, {
        token,
        model,
        provider: chat.name,
        promptTokens,
        maxTokens,
      })
      return { id: held.id, maxTokens: held.max_tokens }
    },
    async settle(id, usage) {
      if (id !== null) await ledger.settleTokens(id, token, usage)
    },
  }
}

/** What came of asking a model, or why nothing did, as a clause. */
export type Asked<T> = { answer: T; problem: null } | { answer: null; problem: string }

/** No answer, and why, as a clause. */
export const unanswered = (problem: string): Asked<never> => ({ answer: null, problem })

/**
 * Asks a model on behalf of `spender`. Fails open: what goes wrong is told, and the search goes on without.
 * @throws AppError `budget_exceeded`; the reason of `signal` when that fires.
 */
export async function askForSearch<T>(
  models: SearchModels,
  spender: Spender,
  signal: AbortSignal | undefined,
  ask: (access: ProviderAccess) => Promise<Asked<T>>,
): Promise<Asked<T>> {
  const { chat, log } = models
  if (!hasLanguageModel(chat)) return unanswered('this project has no language model')
  const bounded = withTimeout(signal, models.modelTimeoutMs)
  try {
    return await ask({ chat, budget: createSearchBudget(models, spender), signal: bounded, log })
  } catch (error) {
    signal?.throwIfAborted()
    if (bounded.aborted) return unanswered('the model did not answer in time')
    const failure = toAppError(error)
    if (failure instanceof AppError && failure.code === 'budget_exceeded') throw failure
    log.error('search_model_failed', { code: failure.code, error: describeError(error) })
    return unanswered(clause(failure.message))
  }
}

/** A sentence as part of another one. */
export const clause = (sentence: string): string => sentence.replace(/\.$/, '')

/** Writes down what was used of models that no budget counts, beside the search: a failure is logged and costs no answer. */
export function usageRecorder(
  { ledger, log }: Pick<SearchModels, 'ledger' | 'log'>,
  spender: Spender,
): (kind: UncountedUse['kind'], use: { model: string; tokens: number; isEstimate: boolean }) => void {
  return (kind, { model, tokens, isEstimate }) => {
    const recorded = ledger.recordUsage(spender, { kind, model, provider: null, promptTokens: tokens, isEstimate })
    void background(recorded, (error) => log.error('usage_not_recorded', { kind, error: describeError(error) }))
  }
}
