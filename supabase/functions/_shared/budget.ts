import type { Budget } from './agent/budget.ts'
import { describeError } from './errors.ts'
import type { Log } from './errors.ts'
import type { Ledger } from './ledger.ts'
import { repeated } from './repeat.ts'
import { runLost } from './runs.ts'

/**
 * The budget of a run, held in the database: nothing is sent to a model before all budgets that apply (of tenant, person,
 * agent and run) have held back what the call may use at most.
 * @throws from `reserve`: AppError `budget_exceeded`; what `runLost` makes when the lease is lost.
 */
export function createRunBudget(
  ledger: Pick<Ledger, 'reserveTokens' | 'settleTokens'>,
  { runId, leaseToken }: { runId: string; leaseToken: string },
  log: Log,
): Budget {
  return {
    async reserve({ step, model, promptTokens, maxTokens }) {
      // A reservation whose answer is lost stands until the run is over, and then counts as a call that nobody heard of.
      const granted = await repeated(
        () => ledger.reserveTokens({ runId, leaseToken, step, model, promptTokens, maxTokens }),
        (error, attempt) => log.error('reservation_failed', { run_id: runId, attempt, error: describeError(error) }),
      )
      if (granted === null) throw runLost()
      return { id: granted.id, maxTokens: granted.max_tokens }
    },
    async settle(id, usage) {
      if (id !== null) await ledger.settleTokens(id, leaseToken, usage)
    },
  }
}
