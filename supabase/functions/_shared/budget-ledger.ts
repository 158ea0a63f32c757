/** The part of the ledger that executors of runs need to use tokens: held back before a call to a model, settled after it. */
import type { Usage } from './ledger.ts'

/** Tokens held back for one call. */
export type TokenReservation = {
  id: string
  /** Tokens the answer may have; null: no budget applies and no limit was asked for. */
  max_tokens: number | null
}

/** What a call to a model is expected to need. */
export type TokenRequest = {
  runId: string
  leaseToken: string
  step: number
  model: string
  /** Tokens of the prompt, estimated. */
  promptTokens: number
  /** Tokens the answer may have; null: no limit. */
  maxTokens: number | null
}

type Call = <T>(name: string, args: Record<string, unknown>) => Promise<T>

/** The calls, made with `call`. All throw AppError as `fromPostgrest` makes it. */
export function budgetCalls(call: Call) {
  return {
    /**
     * Null when the lease is lost.
     * @throws AppError `budget_exceeded` (402) when prompt and one token of answer are more than a budget has left.
     */
    reserveTokens: (want: TokenRequest) =>
      call<TokenReservation | null>('reserve_tokens', {
        run_id: want.runId,
        lease_token: want.leaseToken,
        step: want.step,
        model: want.model,
        prompt_tokens: Math.max(0, Math.ceil(want.promptTokens)),
        max_tokens: want.maxTokens,
      }),
    /**
     * Ends a reservation. `usage` null: nothing was heard of the call, and the estimate of its prompt is counted. False when
     * it is settled already, which it also is once the lease is lost.
     */
    settleTokens: (id: string, leaseToken: string, usage: Usage | null) =>
      call<boolean>('settle_tokens', { id, lease_token: leaseToken, usage }),
  }
}
