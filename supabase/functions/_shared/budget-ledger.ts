/** The part of the ledger that whoever asks a model needs to use tokens: held back before a call, settled after it. */
import type { Usage } from './ledger.ts'

/** Tokens held back for one call. */
export type TokenReservation = {
  id: string
  /** Tokens the answer may have; null: no budget applies and no limit was asked for. */
  max_tokens: number | null
}

/** What a call of a run to a model is expected to need. */
export type TokenRequest = {
  /** Of the reservation, a UUID: it is made once. */
  id: string
  step: number
  model: string
  /** Tokens of the prompt, estimated. */
  promptTokens: number
  /** Tokens the answer may have; null: no limit. */
  maxTokens: number | null
}

/** Whose tokens a search uses: a person's (null: the backend's), and those of the agent and the run that search for them. */
export type Spender = {
  tenantId: string
  userId: string | null
  agentId?: string | null | undefined
  runId?: string | null | undefined
}

/** What a call to a model outside of runs is expected to need, in tokens; the prompt is estimated. */
export type ModelCallRequest = { model: string; provider: string; promptTokens: number; maxTokens: number }

/** What was used of a model that no budget counts. */
export type UncountedUse = {
  kind: 'embedding' | 'rerank'
  model: string
  provider: string | null
  promptTokens: number
  /** Whether the provider's own count never came. */
  isEstimate: boolean
}

const spenderArgs = ({ tenantId, userId, agentId = null, runId = null }: Spender) => ({
  tenant_id: tenantId,
  user_id: userId,
  agent_id: agentId,
  run_id: runId,
})
export const wholeTokens = (tokens: number): number => Math.max(0, Math.ceil(tokens))
/** A limit of tokens as the database counts it; null: none. */
export const wholeLimit = (tokens: number | null): number | null =>
  tokens === null ? null : Math.max(1, Math.floor(tokens))
/** What the functions of the ledger call a request. */
export const requestArgs = ({ model, provider, promptTokens, maxTokens }: ModelCallRequest) => ({
  model,
  provider,
  prompt_tokens: wholeTokens(promptTokens),
  max_tokens: wholeLimit(maxTokens),
})

type Call = <T>(name: string, args: Record<string, unknown>) => Promise<T>

/** The calls, made with `call`. All throw AppError as `fromPostgrest` makes it. */
export function budgetCalls(call: Call) {
  return {
    /**
     * For a call that indexing a source makes, on behalf of whoever had it indexed; settled with the lease's token. Null when the
     * lease is lost.
     * @throws AppError `budget_exceeded` (402) when prompt and answer are more than a budget has left.
     */
    reserveIndexingTokens: (lease: { indexed_source_id: string; lease_token: string }, want: ModelCallRequest) =>
      call<TokenReservation | null>('reserve_indexing_tokens', {
        indexed_source_id: lease.indexed_source_id,
        lease_token: lease.lease_token,
        ...requestArgs(want),
      }),
    /**
     * For a call that a search makes. `token` is the caller's own, a UUID to settle it with; what nobody settles is closed
     * after ten minutes.
     * @throws AppError `budget_exceeded` (402) when prompt and answer are more than a budget has left; `forbidden` unless the
     * person is a member of the tenant and agent and run are its own.
     */
    reserveSearchTokens: (spender: Spender, { token, ...want }: ModelCallRequest & { token: string }) =>
      call<TokenReservation>('reserve_search_tokens', { ...spenderArgs(spender), token, ...requestArgs(want) }),
    /** Writes down what a search used of models that no budget counts. @throws AppError `forbidden` as above. */
    recordUsage: (spender: Spender, { kind, model, provider, promptTokens, isEstimate }: UncountedUse) =>
      call<null>('record_usage', {
        ...spenderArgs(spender),
        kind,
        model,
        provider,
        prompt_tokens: wholeTokens(promptTokens),
        is_estimate: isEstimate,
      }),
    /**
     * Ends a reservation. `usage` null: nothing was heard of the call, and the estimate of its prompt is counted. False when
     * it is settled already, which it also is once the lease is lost.
     */
    settleTokens: (id: string, leaseToken: string, usage: Usage | null) =>
      call<boolean>('settle_tokens', { id, lease_token: leaseToken, usage }),
  }
}
