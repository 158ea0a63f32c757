import type { Bar } from '../search/bars.ts'
import type { AgentResult } from './results.ts'

const FIRST_TOKEN_MS = 15
const EVENT_MS = 1

/** Every bar, with what was measured. Those of time are for the loop alone: the rest depends on database and network. */
export function barsOf({ loop, streams }: AgentResult): Bar[] {
  const atMost = (name: string, value: number, limit: number): Bar => ({
    name,
    value,
    limit,
    atLeast: false,
    // A figure that could not be measured is no number, and falls short.
    holds: value <= limit,
  })
  return [
    atMost('loop: added to first token, ms', loop.first.added, FIRST_TOKEN_MS),
    atMost('loop: added per event p50, ms', loop.event.p50, EVENT_MS),
    atMost('loop: slower per event p50, ms', loop.rest.added / (loop.deltas - 1), EVENT_MS),
    atMost('streams that did not finish', streams.streams - streams.finished, 0),
  ]
}
