import { thinkingTime } from './reasoning.ts'
import type { RunState } from './run-state.ts'
import { stepFields } from './run-state.ts'
import type { TextFilter } from './types.ts'

/** Where the text of one try of a step goes: through the filters to the reader, and into the records. */
export type StepOutput = {
  text(piece: string): void
  think(piece: string): void
  /** Gives out what the filters hold back, and the event `reasoning`. */
  end(): void
  /** What the reader got so far, filtered. */
  content(): string
  reasoning(): string
  /** Milliseconds that the model reasoned. */
  reasoningMs(): number
  /** Marks in the text that name no passage. */
  invalidCitations(): number
}

/**
 * Between the texts of two steps. Each step has filters of its own, and a blank line is what no link, image or address of
 * Markdown can reach across, so that nothing harmful can be put together from the texts of several steps.
 */
export const STEP_SEPARATOR = '\n\n'

/** Holds back the first half of a character until the second comes: each event is stored on its own. */
function wholeCharacters(): TextFilter {
  let half = ''
  return {
    push(text) {
      const joined = half + text
      half = /[\ud800-\udbff]$/.exec(joined)?.[0] ?? ''
      return half === '' ? joined : joined.slice(0, -1)
    },
    end: () => half,
  }
}

/** Makes the output of one try. */
export function createStepOutput(run: RunState, step: number): StepOutput {
  const { emit } = run.setup
  const textFilter = run.setup.textFilter()
  const reasoningFilter = run.setup.reasoningFilter()
  const wholeText = wholeCharacters()
  const wholeReasoning = wholeCharacters()
  const clock = thinkingTime()
  let content = ''
  let reasoning = ''
  const give = (filtered: string) => {
    if (filtered === '') return
    const delta = content === '' && run.content !== '' ? STEP_SEPARATOR + filtered : filtered
    content += delta
    emit('content_delta', { delta })
  }
  const thinkAloud = (filtered: string) => {
    if (filtered === '') return
    reasoning += filtered
    emit('reasoning_delta', { ...stepFields(step), source: 'thinking', delta: filtered })
  }
  return {
    text(piece) {
      clock.spoke()
      give(wholeText.push(textFilter.push(piece)))
    },
    think(piece) {
      clock.thought()
      thinkAloud(wholeReasoning.push(reasoningFilter.push(piece)))
    },
    end() {
      thinkAloud(wholeReasoning.push(reasoningFilter.end()) + wholeReasoning.end())
      give(wholeText.push(textFilter.end()) + wholeText.end())
      if (reasoning !== '') {
        emit('reasoning', { ...stepFields(step), source: 'thinking', content: reasoning, text: reasoning })
      }
    },
    content: () => content,
    reasoning: () => reasoning,
    reasoningMs: clock.ms,
    invalidCitations: () => textFilter.invalidCount?.() ?? 0,
  }
}
