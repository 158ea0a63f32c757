import type { Connection } from './connection.ts'

/** Tokens of a day, person, agent and model. */
export type UsageRow = {
  tenant_id: string
  /** UTC, `2026-11-21`. */
  day: string
  user_id: string | null
  agent_id: string | null
  kind: 'chat' | 'embedding'
  model: string | null
  provider: string | null
  calls: number
  prompt_tokens: number
  completion_tokens: number
  reasoning_tokens: number
  cached_tokens: number
  total_tokens: number
}

export type BudgetScope = 'tenant' | 'user' | 'agent' | 'run'
export type BudgetPeriod = 'day' | 'month' | 'total'

/** How a budget stands. */
export type BudgetState = {
  budget_id: string
  tenant_id: string
  scope: BudgetScope
  period: BudgetPeriod
  /** Whose; null in both: of the tenant, or the limit for each. */
  user_id: string | null
  agent_id: string | null
  max_tokens: number
  /** Null for a limit for each person, agent or run: what they used stands in rows of their own. */
  used_tokens: number | null
  /** Held back for calls under way. */
  reserved_tokens: number | null
  remaining_tokens: number | null
  period_start: string
  /** Null: never. */
  renews_at: string | null
}

/** Tokens used, and limits to them. */
export function usageMethods(connection: Connection) {
  return {
    /** Tokens by day (UTC), of the tenant for admins, of oneself for others. Default: the last 30 days. Days as `2026-11-21`. */
    async usageByDay(range: { fromDay?: string; toDay?: string } = {}): Promise<UsageRow[]> {
      return await connection.rpc<UsageRow[]>('ai', 'usage_by_day', { from_day: range.fromDay, to_day: range.toDay })
    },

    /** The budgets with what is left of them: all of the tenant for admins, the limits on themselves for others. */
    async budgetState(): Promise<BudgetState[]> {
      return await connection.rpc<BudgetState[]>('ai', 'budget_state')
    },

    /**
     * Sets a limit, or changes it. Throws `forbidden` for who is no admin, `tenant_required`, `not_found` for a subject of another
     * tenant, `invalid_request`.
     * @param budget `subjectId`: a person or an agent; without it a limit for each. Runs have `total` only.
     */
    async setBudget(budget: {
      scope: BudgetScope
      period: BudgetPeriod
      maxTokens: number
      subjectId?: string
    }): Promise<{ id: string }> {
      return await connection.rpc('ai', 'set_budget', {
        scope: budget.scope,
        period: budget.period,
        max_tokens: budget.maxTokens,
        subject_id: budget.subjectId,
      })
    },

    /** Takes a limit away. Throws `not_found`. */
    async deleteBudget(id: string): Promise<void> {
      await connection.rpc('ai', 'delete_budget', { budget_id: id })
    },
  }
}
