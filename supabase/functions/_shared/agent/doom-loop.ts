import type { ToolCall } from '../providers/index.ts'

/** Identical calls in a row that end a run. */
const MAX_REPEATS = 3

/** What a run fails with that calls the same tool with the same arguments over and over. */
export const DOOM_LOOP = `Doom loop detected: ${MAX_REPEATS} identical tool calls in a row`

/** Sees every call of a run, in order, whatever came of it. */
export type DoomLoopDetector = {
  /** Notes one call. @returns whether it and the calls right before it, in this step or earlier, are all the same. */
  isLooping(call: Pick<ToolCall, 'name' | 'arguments'>): boolean
}

/** Makes a detector for one run. Calls are the same when name and the raw text of the arguments are. */
export function createDoomLoopDetector(): DoomLoopDetector {
  let last: Pick<ToolCall, 'name' | 'arguments'> | null = null
  let repeats = 0
  return {
    isLooping({ name, arguments: args }) {
      repeats = last !== null && last.name === name && last.arguments === args ? repeats + 1 : 1
      last = { name, arguments: args }
      return repeats >= MAX_REPEATS
    },
  }
}
