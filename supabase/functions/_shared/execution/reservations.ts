import type { BudgetGrant, BudgetRequest } from '../agent/budget.ts'
import type { TokenRequest } from '../budget-ledger.ts'
import { AppError, fromPostgrest } from '../errors.ts'
import type { ReservingAnswer } from '../run-ledger.ts'
import { stopError } from '../runs.ts'

/** Calls of models that wait for their tokens, first come first served: one goes with each write of the log. */
export type Reservations = {
  /** @throws AppError `budget_exceeded` when a budget has too little left; why the run is stopped; what `refuse` was given. */
  ask(want: BudgetRequest): Promise<BudgetGrant>
  isWaiting(): boolean
  /** The one that goes with the next write; null: none waits. Its id stays the same however often the write is sent. */
  send(): TokenRequest | null
  /** The write that the last one sent went with was answered. */
  answer(answer: ReservingAnswer): void
  /** The write that the last one sent went with failed for good. */
  fail(error: unknown): void
  /** Refuses those that wait; with `isSentToo` also the one on its way. */
  refuse(error: AppError, isSentToo?: boolean): void
}

type Asked = TokenRequest & { resolve: (grant: BudgetGrant) => void; reject: (error: unknown) => void }

/** Why there is neither a grant nor a refusal. */
const unanswered = ({ stop }: ReservingAnswer): AppError =>
  stop === null ? new AppError('internal', 'No tokens were reserved.') : stopError(stop)

export function createReservations(): Reservations {
  let waiting: Asked[] = []
  let sent: Asked | null = null
  return {
    ask: (want) =>
      new Promise((resolve, reject) => waiting.push({ ...want, id: crypto.randomUUID(), resolve, reject })),
    isWaiting: () => waiting.length > 0,
    send() {
      sent = waiting.shift() ?? null
      return sent
    },
    answer(answer) {
      const { grant, refusal } = answer
      if (grant) sent?.resolve({ id: grant.id, maxTokens: grant.max_tokens })
      else sent?.reject(refusal ? fromPostgrest(refusal) : unanswered(answer))
      sent = null
    },
    fail(error) {
      sent?.reject(error)
      sent = null
    },
    refuse(error, isSentToo = false) {
      for (const { reject } of waiting) reject(error)
      waiting = []
      if (isSentToo) sent?.reject(error)
    },
  }
}
