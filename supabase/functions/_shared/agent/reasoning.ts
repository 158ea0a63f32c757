import type { ChatRequest } from '../providers/index.ts'

/** How long a model has reasoned: from each first piece of it to the text that follows, or to its last piece. */
export type ThinkingTime = {
  /** A piece of reasoning has come. */
  thought(): void
  /** A piece of the answer has come. */
  spoke(): void
  /** Whole milliseconds so far. */
  ms(): number
}

/** Makes one for an answer. @param now milliseconds of a clock that only goes forward. */
export function thinkingTime(now: () => number = () => performance.now()): ThinkingTime {
  let total = 0
  let began: number | null = null
  let last = 0
  return {
    thought() {
      last = now()
      began ??= last
    },
    spoke() {
      if (began === null) return
      total += now() - began
      began = null
    },
    ms: () => Math.round(total + (began === null ? 0 : last - began)),
  }
}

/** What a model reasoned in a step, as it is stored. `duration_ms` is absent in runs of earlier versions. */
export type Thoughts = { step: number; content: string; duration_ms?: number }

/** The thoughts of a turn; none when it had none. */
export const thoughtsOf = (turn: { step: number; reasoning: string; reasoning_ms?: number }): Thoughts[] =>
  turn.reasoning === ''
    ? []
    : [
        {
          step: turn.step,
          content: turn.reasoning,
          ...(turn.reasoning_ms === undefined ? {} : { duration_ms: turn.reasoning_ms }),
        },
      ]

/** The field of a step's record that says its model was asked to reason. */
export const reasoningField = ({ reasoningEffort }: Pick<ChatRequest, 'reasoningEffort'>) =>
  reasoningEffort === undefined ? {} : { reasoning_requested: true as const }
