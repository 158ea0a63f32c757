import type { Usage } from '../providers/index.ts'

/** What one provider call wants. */
export type BudgetRequest = {
  step: number
  model: string
  /** Tokens of the prompt, estimated. */
  promptTokens: number
  /** Tokens the answer may have; null: no limit was asked for. */
  maxTokens: number | null
}

/** What is granted. */
export type BudgetGrant = {
  /** Of the reservation, to settle it by; null: there is none. */
  id: string | null
  /** Tokens the answer may have at most; null: no limit. */
  maxTokens: number | null
}

/** Where tokens are reserved before every provider call, and paid for after it. */
export type Budget = {
  /** @throws AppError `budget_exceeded` when too little is left. */
  reserve(want: BudgetRequest): Promise<BudgetGrant>
  /** Called exactly once for each grant that has an id. `usage` null: nothing came; estimated when an answer broke off. */
  settle(id: string | null, usage: Usage | null): Promise<void>
}
